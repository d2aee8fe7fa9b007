"""The model registry on S3 or disk: immutable versions, aliases that move, and a history.

ROOT/<name>/versions/<version>/manifest.json    what the version is; created once, written last
ROOT/<name>/versions/<version>/<folder>/        its files, of one attempt to publish it
ROOT/<name>/aliases/<alias>.json                where it points, moved by compare-and-swap
ROOT/<name>/history/<time>-<action>….json       what was done; only ever added to
"""

import getpass
import hashlib
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from schemas.errors import (
    AliasMoved,
    ConfigurationError,
    InputMissing,
    ModelIncompatible,
    UsageError,
)
from schemas.job import ModelFile
from schemas.locations import canonical
from schemas.model_version import NAME_PATTERN, Action, Alias, Event, VersionManifest
from schemas.record import Record, parse_record
from schemas.signature import Signature
from schemas.storage import Storage

SIGNATURE = "signature.json"
METRICS = "metrics.json"
MODEL_CARD = "model_card.md"

# How far back an alias remembers where it was.
REMEMBERED_VERSIONS = 50
_NAME = re.compile(NAME_PATTERN, re.ASCII)
_REF = re.compile(rf"({NAME_PATTERN})@({NAME_PATTERN})", re.ASCII)

RecordT = TypeVar("RecordT", bound=Record)
Clock = Callable[[], datetime]


def is_registry_ref(ref: str) -> bool:
    """Say whether a model is named by `name@version` or `name@alias`; all else is a location."""
    return _REF.fullmatch(ref) is not None


def split_ref(ref: str) -> tuple[str, str]:
    """Return name, and version or alias.

    Raises:
        UsageError: It is not of this form.
    """
    match = _REF.fullmatch(ref)
    if match is None:
        raise UsageError(f"{ref!r}: write NAME@VERSION or NAME@ALIAS")
    return match[1], match[2]


def require_name(kind: str, name: str) -> str:
    """Return the name of a model, a version or an alias when it may be one.

    Raises:
        UsageError: It may not.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{kind} {name!r}: use up to 63 letters, digits, dots, dashes and underscores, a "
            "letter or digit first"
        )
    return name


def whoami() -> str:
    """Return user and host, for the record."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


class Registry:
    """Models under a root location.

    Args:
        storage: The door to objects.
        root: `BULKSCORE_MODELS_URI`.
        clock: Tells the time.

    Raises:
        ConfigurationError: There is no root.
    """

    def __init__(
        self, storage: Storage, root: str | None, *, clock: Clock = lambda: datetime.now(UTC)
    ) -> None:
        if not root:
            raise ConfigurationError(
                "BULKSCORE_MODELS_URI is not set: it names the model registry, a folder or an "
                "s3:// prefix"
            )
        self.storage = storage
        self.root = canonical(root)
        self.clock = clock

    def place(self, name: str, *parts: str) -> str:
        """Return the URI of something of a model."""
        return "/".join((self.root, require_name("model", name), *parts))

    def version_place(self, name: str, version: str, *parts: str) -> str:
        """Return the URI of something of a version."""
        return self.place(name, "versions", require_name("version", version), *parts)

    def names(self) -> list[str]:
        """Return the names of all models, by name."""
        folders = (uri.rpartition("/")[2] for uri in self.storage.list_folders(self.root))
        return [name for name in folders if _NAME.fullmatch(name)]

    def versions(self, name: str) -> list[VersionManifest]:
        """Return the versions of a model, the oldest first."""
        folders = self.storage.list_folders(self.place(name, "versions"))
        found = (self.find(name, uri.rpartition("/")[2]) for uri in folders)
        return sorted((v for v in found if v is not None), key=lambda v: v.created_at)

    def find(self, name: str, version: str) -> VersionManifest | None:
        """Return a version, or None when there is none of this name."""
        manifest = self._read(VersionManifest, self.version_place(name, version, "manifest.json"))
        if manifest is not None and (manifest.name, manifest.version) != (name, version):
            raise ModelIncompatible(f"the manifest of {name}@{version} is that of {manifest.ref}")
        return manifest

    def resolve(self, ref: str) -> VersionManifest:
        """Return the version that `name@version` or `name@alias` means now.

        Raises:
            InputMissing: There is no such version or alias, or it points to nowhere.
            UsageError: `ref` is of another form.
        """
        name, wanted = split_ref(ref)
        alias = self.alias(name, wanted)
        version = self.find(name, wanted if alias is None else alias.version)
        if version is not None:
            return version
        if alias is not None:
            raise InputMissing(
                f"{ref}: the alias points to version {alias.version}, which does not exist; move "
                f"it: bulkscore models promote {name}@VERSION --alias {wanted}"
            )
        raise InputMissing(
            f"{ref}: model {name} has no version or alias {wanted} in {self.root}; see: bulkscore "
            f"models list {name}"
        )

    def read(self, version: VersionManifest, document: str) -> bytes | None:
        """Return a document of a version as it was registered, or None when there is none.

        Raises:
            ModelIncompatible: It was changed or is gone.
        """
        stated = next((d for d in version.documents if d.path == document), None)
        if stated is None:
            return None
        try:
            content = self.storage.read(f"{self.folder(version)}/{document}")
        except InputMissing as error:
            raise ModelIncompatible(f"model {version.ref}: {document} is gone") from error
        if hashlib.sha256(content).hexdigest() != stated.sha256:
            raise ModelIncompatible(f"model {version.ref}: {document} was changed (SHA-256)")
        return content

    def signature(self, version: VersionManifest) -> Signature:
        """Return the signature of a version.

        Raises:
            ModelIncompatible: It was changed or is gone.
        """
        content = self.read(version, SIGNATURE)
        if content is None:
            raise ModelIncompatible(f"model {version.ref} has no {SIGNATURE}")
        return parse_record(Signature, content, f"{self.folder(version)}/{SIGNATURE}")

    def folder(self, version: VersionManifest) -> str:
        """Return the URI of the folder that holds the files of a version."""
        return self.version_place(version.name, version.version, version.folder)

    def aliases(self, name: str) -> list[Alias]:
        """Return the aliases of a model, by name."""
        files = self.storage.list_objects(self.place(name, "aliases"))
        stems = (stat.uri.rpartition("/")[2].removesuffix(".json") for stat in files)
        found = (self.alias(name, stem) for stem in stems if _NAME.fullmatch(stem))
        return [alias for alias in found if alias is not None]

    def alias(self, name: str, alias: str) -> Alias | None:
        """Return where an alias points, or None when there is none."""
        return self._read(Alias, self._alias_place(name, alias))

    def move(
        self,
        name: str,
        alias: str,
        version: str,
        *,
        expected: Alias | None,
        action: Action,
        before: tuple[str, ...],
        reason: str | None = None,
        gate: str | None = None,
    ) -> Alias:
        """Point an alias to a version, if it still is as it was when `expected` was read.

        Raises:
            AliasMoved: Somebody else moved it meanwhile.
            InputMissing: There is no such version.
            UsageError: A version has the name of the alias.
        """
        require_name("alias", alias)
        if self.find(name, version) is None:
            raise InputMissing(f"model {name} has no version {version}")
        if self.find(name, alias) is not None:
            raise UsageError(f"alias {alias}: a version of {name} has this name")
        now = self.clock()
        if expected is not None:
            self._note_move(expected)  # its mover may have died before
            now = max(now, expected.moved_at + timedelta(microseconds=1))  # clocks differ
        moved = Alias(
            name=name,
            alias=alias,
            version=version,
            action=action,
            moved_at=now,
            moved_by=whoami(),
            reason=reason,
            gate=gate,
            before=before[-REMEMBERED_VERSIONS:],
        )
        if not self._swap(moved, expected):
            raise self._lost(moved)
        if self.find(name, version) is None:
            self._take_back(moved, expected)
            raise InputMissing(f"{name}@{version} was removed while {alias} was moved to it")
        self._note_move(moved)
        return moved

    def history(self, name: str) -> list[Event]:
        """Return what was done to a model, the oldest first."""
        files = [s.uri for s in self.storage.list_objects(self.place(name, "history"))]
        events = (self._read(Event, uri) for uri in files if uri.endswith(".json"))
        return sorted((e for e in events if e is not None), key=lambda event: event.at)

    def note(self, name: str, event: Event) -> None:
        """Add an event to the history; the same event twice is one."""
        about = event.alias or event.version
        time = f"{event.at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
        uri = self.place(name, "history", f"{time}-{event.action}-{about}.json")
        self.storage.create(uri, event.model_dump_json(indent=2).encode())

    def _note_move(self, alias: Alias) -> None:
        back = alias.action == "promote" and alias.before
        event = Event(
            action=alias.action,
            at=alias.moved_at,
            by=alias.moved_by,
            version=alias.version,
            alias=alias.alias,
            before=alias.before[-1] if back else None,
            reason=alias.reason,
            gate=alias.gate,
        )
        self.note(alias.name, event)

    def _swap(self, moved: Alias, expected: Alias | None) -> bool:
        uri, body = self._alias_place(moved.name, moved.alias), _body(moved)
        if expected is None:
            return self.storage.create(uri, body) or self.storage.read(uri) == body
        try:
            content, tag = self.storage.read_tagged(uri)
        except InputMissing:
            return False
        if parse_record(Alias, content, uri) != expected:
            return False
        return self.storage.replace_if(uri, body, tag)

    def _take_back(self, moved: Alias, expected: Alias | None) -> None:
        """Let an alias be what it was, unless somebody else has moved it since."""
        if expected is not None:
            self._swap(expected, moved)
        elif self.alias(moved.name, moved.alias) == moved:
            self.storage.delete(self._alias_place(moved.name, moved.alias))

    def _lost(self, wanted: Alias) -> AliasMoved:
        there = self.alias(wanted.name, wanted.alias)
        if there is None:
            return AliasMoved(f"alias {wanted.alias} of {wanted.name} was removed meanwhile")
        return AliasMoved(
            f"alias {wanted.alias} of {wanted.name} was moved to version {there.version} by "
            f"{there.moved_by} at {there.moved_at:%Y-%m-%d %H:%M:%S} while you moved it to "
            f"{wanted.version}: look at it, then try again"
        )

    def _alias_place(self, name: str, alias: str) -> str:
        return self.place(name, "aliases", f"{require_name('alias', alias)}.json")

    def _read(self, kind: type[RecordT], uri: str) -> RecordT | None:
        try:
            return parse_record(kind, self.storage.read(uri), uri)
        except InputMissing:
            return None


def sums(version: VersionManifest) -> dict[str, ModelFile]:
    """Return the files that are loaded, by name."""
    return {f.path: ModelFile(**f.model_dump()) for f in version.files}


def _body(record: Record) -> bytes:
    return record.model_dump_json(indent=2).encode()
