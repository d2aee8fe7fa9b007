"""What every contender of a run is given: the same model, the same texts, the same threads."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

# Tokens at which every contender cuts a text.
MAX_LENGTH = 512
# Padded tokens in a batch, for those that are given batches: as many as our engine takes.
TOKEN_BUDGET = 4_096


@dataclass(frozen=True)
class Setup:
    """Where a contender finds what it works on.

    Attributes:
        folder: Holds `model/`, the texts, and what rivals make of the model beforehand.
        threads: Of the processor, for each contender.
    """

    folder: str
    threads: int

    @property
    def model(self) -> Path:
        """Folder of the classifier."""
        return Path(self.folder) / "model"

    @cached_property
    def texts(self) -> list[str]:
        """The documents, in the order of the corpus."""
        return _read(Path(self.folder) / "texts.json")

    @cached_property
    def other_texts(self) -> list[str]:
        """Documents of the same corpus that are not scored, to calibrate on."""
        return _read(Path(self.folder) / "other_texts.json")

    def save_texts(self, texts: list[str], others: list[str]) -> None:
        """Write the documents, and those to calibrate on."""
        for name, some in (("texts", texts), ("other_texts", others)):
            path = Path(self.folder) / f"{name}.json"
            path.write_text(json.dumps(some), encoding="utf-8")

    def made(self, name: str) -> Path:
        """Return the path of a file that a rival makes of the model."""
        return Path(self.folder) / name

    def to_json(self) -> str:
        """Return it as an argument for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Setup":
        """Return what `to_json` was given."""
        return cls(**json.loads(text))


def _read(path: Path) -> list[str]:
    texts: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return texts
