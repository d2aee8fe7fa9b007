"""What killed publishers left in the registry: folders of files that no manifest names."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A folder that no manifest names; `written` is when its newest file was [UTC]."""

    uri: str
    size: int
    written: datetime


def find_unfinished(registry: Registry, name: str) -> list[Unfinished]:
    """Return the folders of a model that are of no version, those being written included."""
    found = []
    for place in registry.storage.list_folders(registry.place(name, "versions")):
        folders = {uri: _look(registry, uri) for uri in registry.storage.list_folders(place)}
        # Read after the folders: a version that appears meanwhile names one of these.
        version = registry.find(name, place.rpartition("/")[2]) if folders else None
        kept = version and registry.folder(version)
        found += [left for uri, left in folders.items() if left and uri != kept]
    return found


def remove_unfinished(
    registry: Registry, name: str, *, older_than: timedelta
) -> Iterator[Unfinished]:
    """Remove such folders where nothing was written for so long, and yield each that is gone."""
    before = registry.clock() - older_than
    for left in find_unfinished(registry, name):
        if left.written < before:
            registry.storage.delete_folder(left.uri)
            yield left


def _look(registry: Registry, uri: str) -> Unfinished | None:
    """Return what lies in a folder, None when it is empty."""
    files = list(registry.storage.list_objects(uri, recursive=True))
    written = [file.modified for file in files if file.modified is not None]
    if not written:
        return None
    return Unfinished(uri=uri, size=sum(file.size for file in files), written=max(written))
