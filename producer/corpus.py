"""The files of a corpus: from what the user named to a list of objects, one listing per input."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from posixpath import split

from schemas.errors import InputMissing
from schemas.locations import canonical, is_s3
from schemas.objects import ObjectStat
from schemas.storage import Storage

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
_GLOB_CHARACTERS = "*?["


def find_files(storage: Storage, inputs: Sequence[str]) -> list[ObjectStat]:
    """Return the files that `inputs` name, in the order of the inputs and then by name.

    An input is a file, a folder or a glob of `*`, `?`, `[…]` and `**`; local, `file://` or
    `s3://`. Of a folder every file at any depth is taken that is called like Parquet, and names
    that start with `_` or `.` are left out, as every dataset reader does; a glob leaves them out
    unless it spells such a name, and takes what else it matches whatever the ending. A file that
    is named twice is taken once.

    Raises:
        InputMissing: An input does not exist or gives no file.
    """
    return distinct(file for given in inputs for file in files_of(storage, given))


def distinct(files: Iterable[ObjectStat]) -> list[ObjectStat]:
    """Return the files in their order, each once, whatever names it goes by."""
    found: dict[str, ObjectStat] = {}
    identity = _identity()
    for file in files:
        found.setdefault(identity(file.uri), file)
    return list(found.values())


def files_of(storage: Storage, given: str) -> list[ObjectStat]:
    """Return the files of one input by name; see `find_files`."""
    uri = canonical(given)
    root, pattern = split_glob(uri)
    return _matches(storage, uri, root, pattern) if pattern else _folder_or_file(storage, uri)


def split_glob(uri: str) -> tuple[str, str]:
    """Return the folder that a glob searches and the pattern below it, empty for no glob."""
    parts = uri.split("/")
    for depth, part in enumerate(parts):
        if any(character in part for character in _GLOB_CHARACTERS):
            return "/".join(parts[:depth]), "/".join(parts[depth:])
    return uri, ""


def is_hidden(path: str) -> bool:
    """Say whether a dataset reader passes over this path below a folder."""
    return any(part.startswith(("_", ".")) for part in path.split("/"))


def _folder_or_file(storage: Storage, uri: str) -> list[ObjectStat]:
    listed = list(storage.list_objects(uri, recursive=True))
    if not listed:
        try:
            return [storage.stat(uri)]
        except InputMissing as error:
            raise InputMissing(
                f"{uri} does not exist, or is a folder with nothing in it"
            ) from error
    below = len(uri) + 1
    files = [file for file in listed if _is_corpus_file(file.uri[below:])]
    if not files:
        raise InputMissing(
            f"{uri} holds no Parquet file: none of its {len(listed)} objects is called "
            f"*{', *'.join(PARQUET_SUFFIXES)}, or they start with _ or . and are passed over"
        )
    return files


def _is_corpus_file(path: str) -> bool:
    return path.lower().endswith(PARQUET_SUFFIXES) and not is_hidden(path)


def _matches(storage: Storage, uri: str, root: str, pattern: str) -> list[ObjectStat]:
    below = len(root) + 1
    files = [
        file for file in storage.glob(uri) if is_hidden(pattern) or not is_hidden(file.uri[below:])
    ]
    if not files:
        try:
            return [storage.stat(uri)]  # a name may hold the characters of a glob
        except InputMissing as error:
            raise InputMissing(
                f"no file matches {uri}; a glob names files: for those in folders that match, "
                "end it with /*.parquet"
            ) from error
    return files


def _identity() -> Callable[[str], str]:
    """Return what tells whether two names are one file: local folders may be links."""
    real = lru_cache(maxsize=None)(os.path.realpath)

    def identity(uri: str) -> str:
        if is_s3(uri):
            return uri
        folder, name = split(uri)
        return f"{real(folder)}/{name}"

    return identity
