"""What a registered model promises: its labels, and what it makes of a few golden texts."""

from typing import Annotated, Literal

from pydantic import StringConstraints

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


class Signature(Record):
    """What a model version was when it was registered.

    `libraries` are those that made the golden logits, by name.
    """

    model_type: str
    problem_type: ProblemType
    labels: tuple[str, ...]
    max_length: int
    padding_side: Literal["right", "left"]
    golden: tuple[GoldenText, ...]
    libraries: dict[str, str]
