"""The work folder of a training: what it has done so far, so that it can go on after it died.

OUT.training/training.json      which training it is, written first
OUT.training/lock               held by the process that trains
OUT.training/checkpoints/       of Trainer; whole ones have a trainer_state.json, written last
OUT.training/finished/          the model with its documents, appears by a rename
"""

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.errors import UsageError

SUFFIX = ".training"
STATE = "trainer_state.json"
_RECORD, _LOCK = "training.json", "lock"


class Work:
    """A work folder that this process holds.

    Args:
        folder: Where it is.
        record: What `training.json` says.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record
        self.checkpoints = folder / "checkpoints"
        self.finished = folder / "finished"
        self.scratch = folder / "scratch"

    @property
    def version(self) -> str:
        """The name that the model gets as a version: the same however often this is resumed."""
        return f"{self.record['created']}-{self.record['digest'][:8]}"

    def checkpoint(self) -> Path | None:
        """Return the last whole checkpoint, and remove those that were cut short."""
        whole = {}
        for path in self.checkpoints.glob("checkpoint-*"):
            try:
                whole[int(json.loads((path / STATE).read_bytes())["global_step"])] = path
            except (OSError, ValueError, KeyError):
                shutil.rmtree(path)
        return whole[max(whole)] if whole else None

    def new_scratch(self) -> Path:
        """Return an empty folder for what is half done."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        return self.scratch

    def remove(self) -> None:
        """Remove the folder, when all is delivered."""
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def claim(folder: Path, identity: dict[str, Any]) -> Iterator[Work]:
    """Hold the work folder of the training that `identity` describes, a new one or the one there.

    Raises:
        UsageError: The folder belongs to another training, or another process works there.
    """
    fresh = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "created": f"{datetime.now(UTC):%Y%m%d-%H%M%S}",
        "digest": identity_digest(identity),
        "identity": identity,
    }
    with (folder / _LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder}: another process trains there at this moment") from None
        there = _read(folder)
        if there is not None:
            _require_same(folder, there, record)
            record = there
        elif not fresh and any(
            path.name not in (_LOCK, f"{_RECORD}.new") for path in folder.iterdir()
        ):
            raise UsageError(f"{folder} is there and no work folder of a training: move it away")
        else:
            new = folder / f"{_RECORD}.new"
            new.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            new.rename(folder / _RECORD)
        yield Work(folder, record)


def identity_digest(identity: dict[str, Any]) -> str:
    """Return the SHA-256 of what makes a training the one it is."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def read_record(folder: Path) -> Any:
    """Return what a work folder says of its training, whatever that is."""
    return json.loads((folder / _RECORD).read_bytes())


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        found = read_record(folder)
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("identity"), dict):
        raise UsageError(f"{folder / _RECORD} is damaged: remove {folder} to train from the start")
    return found


def _require_same(folder: Path, there: dict[str, Any], record: dict[str, Any]) -> None:
    if there.get("digest") == record["digest"]:
        return
    before, now = _flat(there["identity"]), _flat(record["identity"])
    differ = [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    raise UsageError(
        f"{folder} holds an unfinished training of another recipe or other data "
        f"({'; '.join(differ)}): go on with that one, give another --out, or remove the folder"
    )


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            found |= _flat(inner, f"{prefix}{name} ")
        else:
            found[f"{prefix}{name}"] = inner
    return found
