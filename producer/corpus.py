"""Finds the files of a corpus."""

from collections.abc import Sequence

from schemas.errors import InputMissing
from schemas.storage import ObjectStat, Storage, canonical

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
_GLOB_CHARACTERS = "*?["


def find_files(storage: Storage, inputs: Sequence[str]) -> list[ObjectStat]:
    """Return the files under `inputs`, each once, in the order of the inputs and then by name.

    An input is a file, a glob, or a folder of which every Parquet file at any depth is taken;
    names that start with `_` or `.` are left out there, as every dataset reader does.

    Raises:
        InputMissing: An input does not exist or gives no file.
    """
    found: dict[str, ObjectStat] = {}
    for given in inputs:
        files = _files_of(storage, given)
        if not files:
            raise InputMissing(f"{given}: no Parquet file there")
        found.update((file.uri, file) for file in files if file.uri not in found)
    return list(found.values())


def _files_of(storage: Storage, given: str) -> list[ObjectStat]:
    uri = canonical(given)
    if any(character in uri for character in _GLOB_CHARACTERS):
        return storage.glob(uri)
    if storage.is_folder(uri):
        below = storage.list_objects(uri, recursive=True)
        return [file for file in below if _is_corpus_file(file.uri.removeprefix(uri))]
    return [storage.stat(uri)]


def _is_corpus_file(path: str) -> bool:
    parts = path.strip("/").split("/")
    hidden = any(part.startswith(("_", ".")) for part in parts)
    return not hidden and parts[-1].lower().endswith(PARQUET_SUFFIXES)
