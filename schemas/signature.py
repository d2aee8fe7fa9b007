"""What a registered model promises: its labels, and what it makes of a few golden texts."""

from operator import not_
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.record import Record

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class GoldenText(Record):
    """A made-up text, and what the model made of it, alone and in fp32 on a CPU.

    `logits` are [labels]; `token_ids_sha256` is that of the ids as little-endian 32-bit integers.
    """

    text: str
    tokens: int
    token_ids_sha256: Sha256
    logits: tuple[float, ...]


class Agreement(Record):
    """How far a model in a lower precision says of some texts what it says in fp32.

    Attributes:
        texts: How many they were.
        same: Share with the same label; with several labels at once, the same set; of a regression,
            a value less than a hundredth of the spread of all values away.
        largest_difference: Of a score.
        device: What it was computed on.
    """

    texts: Annotated[int, Field(ge=1)]
    same: Annotated[float, Field(ge=0, le=1)]
    largest_difference: float
    device: str


class Signature(Record):
    """What a model version was when it was registered.

    `libraries` are those that made the golden logits, by name; `precisions` say by dtype how far
    the model agrees there with itself in fp32, where that was measured.
    """

    model_type: str
    problem_type: ProblemType
    labels: tuple[str, ...]
    max_length: int
    padding_side: Literal["right", "left"]
    golden: tuple[GoldenText, ...]
    libraries: dict[str, str]
    precisions: dict[str, Agreement] = Field(default_factory=dict, exclude_if=not_)
