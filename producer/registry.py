"""What is done with registered models: promote, roll back, verify, remove."""

import hashlib
import json
from typing import Any

from producer.gate import failures
from schemas.errors import GateFailed, InputMissing, ModelIncompatible, UsageError
from schemas.evaluations import last_evaluation
from schemas.gate import Gate
from schemas.model_files import HASH_READ_BYTES, pin_model
from schemas.model_version import Alias, Event, VersionManifest
from schemas.registry import METRICS, Registry, split_ref, whoami


def metrics_of(registry: Registry, version: VersionManifest) -> dict[str, Any] | None:
    """Return the metrics that were recorded with a version, if any."""
    content = registry.read(version, METRICS)
    return None if content is None else dict(json.loads(content))


def measured(
    registry: Registry, version: VersionManifest, data_sha256: str | None = None
) -> dict[str, Any] | None:
    """Return all that is known of a version: the metrics of its registration, and an evaluation.

    Args:
        registry: Where it is.
        version: The version.
        data_sha256: Prefer its last evaluation on this data.
    """
    metrics, evaluation = (
        metrics_of(registry, version),
        last_evaluation(registry, version, data_sha256),
    )
    if metrics is None and evaluation is None:
        return None
    return {**(metrics or {}), **(evaluation or {})}


def promote(
    registry: Registry,
    ref: str,
    alias: str,
    *,
    gate: Gate | None = None,
    gated: bool = True,
    reason: str | None = None,
) -> Alias:
    """Point an alias to a version that passes the gate.

    Args:
        registry: Where it is.
        ref: The version.
        alias: The alias.
        gate: What is asked of its metrics; None for the default.
        gated: Whether anything is asked.
        reason: For the history.

    Raises:
        GateFailed: It does not pass.
        AliasMoved: Somebody else moved the alias meanwhile.
        InputMissing: There is no such version.
    """
    version = registry.resolve(ref)
    now = registry.alias(version.name, alias)
    if gated:
        there = None if now is None else registry.find(version.name, now.version)
        metrics = measured(registry, version)
        data = ((metrics or {}).get("data") or {}).get("sha256")
        before = None if there is None else (measured(registry, there, data) or {})
        wrong = failures(gate, metrics, before)
        if wrong:
            raise GateFailed(
                f"{version.ref} is not promoted to {alias}: {'; '.join(wrong)} (--no-gate passes "
                "it all the same)"
            )
    trail: tuple[str, ...] = () if now is None else now.before
    if now is not None and now.version != version.version:
        trail = (*trail, now.version)
    return registry.move(
        version.name,
        alias,
        version.version,
        expected=now,
        action="promote",
        before=trail,
        reason=reason,
        gate="passed" if gated else "none",
    )


def rollback(registry: Registry, name: str, alias: str, *, reason: str | None = None) -> Alias:
    """Point an alias back to the version it had before; the gate is not asked.

    Versions that were removed since are passed over.

    Raises:
        UsageError: There is nothing to go back to.
        AliasMoved: Somebody else moved the alias meanwhile.
    """
    now = registry.alias(name, alias)
    if now is None:
        raise InputMissing(f"model {name} has no alias {alias}")
    trail = list(now.before)
    while trail and registry.find(name, trail[-1]) is None:
        trail.pop()
    if not trail:
        raise UsageError(f"alias {alias} of {name} has had no version before {now.version}")
    *rest, version = trail
    return registry.move(
        name,
        alias,
        version,
        expected=now,
        action="rollback",
        before=tuple(rest),
        reason=reason,
    )


def verify(registry: Registry, ref: str) -> VersionManifest:
    """Hash every file of a version.

    Raises:
        ModelIncompatible: A file is not what was registered.
    """
    version = registry.resolve(ref)
    pin_model(registry.storage, version.ref, registry.root)
    folder, wrong = registry.folder(version), []
    for file in (*version.files, *version.documents):
        digest = hashlib.sha256()
        try:
            with registry.storage.open(f"{folder}/{file.path}") as stream:
                while block := stream.read(HASH_READ_BYTES):
                    digest.update(block)
        except InputMissing:
            wrong.append(f"{file.path} is gone")
            continue
        if digest.hexdigest() != file.sha256:
            wrong.append(f"{file.path} was changed (SHA-256)")
    if wrong:
        raise ModelIncompatible(f"model {version.ref}: {'; '.join(wrong)}")
    return version


def remove(registry: Registry, ref: str, *, reason: str | None = None) -> str:
    """Remove a version to which no alias points, or what a killed publisher left of one.

    Raises:
        UsageError: An alias points to it.
        InputMissing: There is nothing of it.
    """
    name, version = split_ref(ref)
    _require_no_alias(registry, name, version)
    place = registry.version_place(name, version)
    if next(registry.storage.list_objects(place, recursive=True), None) is None:
        raise InputMissing(f"model {name} has no version {version}")
    manifest = f"{place}/manifest.json"
    body = registry.storage.read(manifest) if registry.storage.exists(manifest) else None
    registry.storage.delete(manifest)  # from here on nobody can point to it
    try:
        _require_no_alias(registry, name, version)
    except UsageError:
        if body is not None:
            registry.storage.create(manifest, body)
        raise
    registry.storage.delete_folder(place)
    event = Event(action="remove", at=registry.clock(), by=whoami(), version=version, reason=reason)
    registry.note(name, event)
    return f"{name}@{version}"


def _require_no_alias(registry: Registry, name: str, version: str) -> None:
    pointing = [a.alias for a in registry.aliases(name) if a.version == version]
    if pointing:
        raise UsageError(
            f"{name}@{version} is not removed: alias {', '.join(pointing)} points to it; move it "
            "first"
        )
