"""Where a trained model goes: a folder, or a new version in the registry."""

import contextlib
import json
from pathlib import Path

from schemas.errors import UsageError
from schemas.registry import METRICS, Registry
from schemas.settings import RegistrySettings, load
from schemas.storage import Storage
from worker.lifecycle.train_data import say
from worker.lifecycle.train_work import SUFFIX, Work, read_record

CARD = "README.md"
CURVES = "training_curves.svg"


class FolderOut:
    """A folder that appears by a rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work_folder = folder.with_name(f"{folder.name}{SUFFIX}")

    def require_free(self) -> None:
        """Refuse to write over anything.

        Raises:
            UsageError: The folder exists and is not empty.
        """
        out = self.folder
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out} exists already: give another --out")

    def delivered(self) -> Path | None:
        """Return where the model is if it is in its place, and just its work folder was left."""
        try:
            made = json.loads((self.folder / METRICS).read_bytes())["run"]
            return self.folder if made == read_record(self.work_folder)["digest"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def deliver(self, work: Work, _parent: str | None) -> None:
        """Move the finished model to its place."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.folder.rmdir()
        work.finished.rename(self.folder)


class RegistryOut:
    """A model in the registry, of which this becomes a version."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry, self._name = registry, name
        self.work_folder = Path(f"{name}{SUFFIX}").absolute()

    def require_free(self) -> None:
        """Refuse a name that may not be one."""
        self._registry.place(self._name)

    def delivered(self) -> None:
        """Return None: to register again what is registered does no harm."""

    def deliver(self, work: Work, parent: str | None) -> None:
        """Register the finished model, as the same version when it is done again."""
        from worker.lifecycle.register import register

        made = register(
            self._registry,
            str(work.finished),
            self._name,
            version=work.version,
            parent=parent,
            card=str(work.finished / CARD),
            documents={CURVES: (work.finished / CURVES).read_bytes()},
            source=self._registry.storage.for_own_files,
        )
        say(f"registered {made.ref}")


Out = FolderOut | RegistryOut


def choose_out(out: str) -> Out:
    """Return what `--out` means: with a registry set, a plain name is a name in it.

    Plain is what has no slash and does not begin with a dot or `~`; write `./name` for a folder.
    """
    root = load(RegistrySettings).models_uri
    if root is None or "/" in out or out.startswith((".", "~")):
        return FolderOut(Path(out))
    from schemas.settings import StorageSettings

    return RegistryOut(Registry(Storage(load(StorageSettings)), root), out)
