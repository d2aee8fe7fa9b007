"""Publishes a model version: its files first, its manifest last, so that it is there or not."""

import hashlib
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas import __version__
from schemas.errors import AccessDenied, BulkError, UsageError, VersionTaken
from schemas.job import ModelPin
from schemas.model_version import Event, Parent, PlainFile, VersionManifest
from schemas.registry import Registry, require_name, whoami

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is to become a version.

    Attributes:
        source: Local folder with exactly the files of `pin`, verified.
        documents: What goes with them, by file name.
        parent: The version that it was made from.
    """

    pin: ModelPin
    source: Path
    documents: Mapping[str, bytes]
    parent: Parent | None = None


def publish(
    registry: Registry, draft: Draft, name: str, version: str | None = None
) -> VersionManifest:
    """Register a draft; the same content under the same version again is the version there is.

    Each attempt has a folder of its own for the files, so that two publishers never write into
    each other's version, and what a killed one left is in nobody's way.

    Args:
        registry: Where it goes.
        draft: What it is.
        name: The model's name.
        version: The version's; made of time and digest when left out.

    Raises:
        VersionTaken: It exists with another content.
        UsageError: A name may not be one, or an alias has the name of the version.
        StorageUnavailable: Storage does not answer or is full; nothing is registered.
    """
    require_name("model", name)
    version = require_name("version", version or _version_of(registry, draft))
    if registry.alias(name, version) is not None:
        raise UsageError(f"version {version}: an alias of {name} has this name")
    manifest = _manifest(registry, draft, name, version)
    there = registry.find(name, version) or _publish(registry, draft, manifest)
    if _content(there) != _content(manifest):
        raise VersionTaken(
            f"{there.ref} exists already, registered by {there.created_by} at "
            f"{there.created_at:%Y-%m-%d %H:%M:%S} with another content; a version never changes: "
            "give another --version"
        )
    return there


def _version_of(registry: Registry, draft: Draft) -> str:
    return f"{registry.clock():%Y%m%d-%H%M%S}-{draft.pin.digest[:8]}"


def _manifest(registry: Registry, draft: Draft, name: str, version: str) -> VersionManifest:
    return VersionManifest(
        name=name,
        version=version,
        created_at=registry.clock(),
        created_by=whoami(),
        bulkscore_version=__version__,
        folder=f"files-{uuid.uuid4().hex[:12]}",
        digest=draft.pin.digest,
        files=tuple(PlainFile(**file.model_dump()) for file in draft.pin.files),
        documents=tuple(
            PlainFile(path=path, size=len(body), sha256=hashlib.sha256(body).hexdigest())
            for path, body in sorted(draft.documents.items())
        ),
        parent=draft.parent,
    )


def _publish(registry: Registry, draft: Draft, manifest: VersionManifest) -> VersionManifest:
    """Write files and manifest; return the version that is there now, ours or who was first's."""
    folder = registry.folder(manifest)
    try:
        for file in draft.pin.files:
            registry.storage.upload(draft.source / file.path, f"{folder}/{file.path}")
        for path, body in draft.documents.items():
            registry.storage.replace(f"{folder}/{path}", body)
    except BulkError:
        _remove(registry, folder)
        there = registry.find(manifest.name, manifest.version)
        if there is None:
            raise
        return there  # who published it took our folder for a leftover
    # When this fails it may have gone through all the same: then the files must stay.
    uri = registry.version_place(manifest.name, manifest.version, "manifest.json")
    registry.storage.create(uri, manifest.model_dump_json(indent=2).encode())
    there = registry.resolve(manifest.ref)
    if there.folder != manifest.folder:
        _remove(registry, folder)
        return there
    _remove_leftovers(registry, there)
    event = Event(
        action="register", at=there.created_at, by=there.created_by, version=there.version
    )
    registry.note(there.name, event)
    return there


def _remove_leftovers(registry: Registry, version: VersionManifest) -> None:
    """Remove what other attempts at the version left, dead ones or such that have lost."""
    for uri in registry.storage.list_folders(registry.version_place(version.name, version.version)):
        if uri.rpartition("/")[2] != version.folder:
            _remove(registry, uri)


def _remove(registry: Registry, folder: str) -> None:
    """Remove files that no manifest names, or leave them where we may not: they harm nobody."""
    try:
        registry.storage.delete_folder(folder)
    except AccessDenied as error:
        logger.warning("leftovers stay: %s", error, extra={"action": "leftovers_stay"})


def _content(version: VersionManifest) -> tuple[object, ...]:
    return version.digest, version.documents, version.parent
