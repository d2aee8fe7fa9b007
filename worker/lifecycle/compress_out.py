"""Where a compressed model goes: a folder that appears by a rename, or the registry."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from schemas.errors import StorageFull, UsageError
from schemas.registry import METRICS, Registry, is_registry_ref
from worker.lifecycle.size_table import card, lines
from worker.lifecycle.train_out import CARD, FolderOut, Out, RegistryOut

COMPRESSION = "compression.json"


def document(model: Path, found: Mapping[str, Any]) -> None:
    """Write what was measured beside a model, for programs and for people."""
    metrics = {
        **found["after"]["quality"],
        "intervals": found["after"]["intervals"],
        "data": found["data"],
    }
    for name, content in ((METRICS, metrics), (COMPRESSION, found)):
        (model / name).write_text(_json(content), encoding="utf-8")
    (model / CARD).write_text(card(found), encoding="utf-8")


def deliver(
    out: Out, registry: Registry | None, name: str, model: Path, parent: str, texts: Sequence[str]
) -> str:
    """Put a finished model into its place, whole or not at all, and return its reference.

    Args:
        out: The place, which was free.
        registry: Where a version goes.
        name: What the user called the place.
        model: The model with its documents.
        parent: What it was made from.
        texts: What to compare lower precisions on, for the signature of a version.

    Raises:
        BulkError: As `register`.
    """
    if isinstance(out, RegistryOut) and registry is not None:
        from worker.lifecycle.register import register

        made = register(
            registry,
            str(model),
            name,
            parent=parent if is_registry_ref(parent) else None,
            card=str(model / CARD),
            documents={COMPRESSION: (model / COMPRESSION).read_bytes()},
            texts=texts,
            source=registry.storage.for_own_files,
        )
        return made.ref
    if not isinstance(out, FolderOut):
        raise AssertionError("bug: a name in the registry, and no registry")
    folder = out.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        shutil.copytree(model, unfinished)
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return str(folder)


@contextlib.contextmanager
def on_disk() -> Iterator[None]:
    """Turn a full or forbidden disk into an error of ours."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise StorageFull(
                f"no space left on the disk of {tempfile.gettempdir()} or of --out: make room "
                "(TMPDIR names another place for what is made on the way) and try again"
            ) from error
        if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG):
            where = getattr(error, "filename", None) or "--out"
            raise UsageError(f"{where}: {os.strerror(number)}") from error
        raise


def told(found: Mapping[str, Any], *, as_json: bool) -> str:
    """Return what a command prints."""
    return _json(found) if as_json else "\n".join(lines(found)) + "\n"


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
