"""Evaluations of registered versions: objects beside the manifest, created once, never changed.

ROOT/<name>/versions/<version>/evaluation-<time>.json

A version may be evaluated many times, on many data sets, long after it was registered. The last
one counts; of a baseline the last one on the same data, if there is one.
"""

import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from schemas.errors import InputMissing, ManifestMissing, VersionTaken
from schemas.model_version import Event, VersionManifest
from schemas.registry import Registry, whoami

PREFIX = "evaluation-"

Evaluation = dict[str, Any]


def record_evaluation(registry: Registry, version: VersionManifest, evaluation: Evaluation) -> str:
    """Write an evaluation beside a version, and return its URI.

    Raises:
        VersionTaken: Two evaluations of the same microsecond.
        StorageUnavailable: Storage does not answer or is full; nothing is recorded.
    """
    now = registry.clock()
    name = f"{PREFIX}{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.json"
    uri = registry.version_place(version.name, version.version, name)
    body = {"digest": version.digest, "by": whoami(), "evaluation": evaluation}
    if not registry.storage.create(uri, json.dumps(body, indent=1, ensure_ascii=False).encode()):
        raise VersionTaken(f"{uri} exists already: try again")
    event = Event(action="evaluate", at=now, by=whoami(), version=version.version)
    registry.note(version.name, event)
    return uri


def last_evaluation(
    registry: Registry, version: VersionManifest, data_sha256: str | None = None
) -> Evaluation | None:
    """Return the last evaluation of a version, on the same data where there is one.

    Args:
        registry: Where it is.
        version: The version.
        data_sha256: Of the data of another evaluation.

    Raises:
        ManifestMissing: One is damaged.
    """
    found = list(_newest_first(registry, version))
    same = (e for e in found if data_sha256 and (e.get("data") or {}).get("sha256") == data_sha256)
    return next(same, None) or next(iter(found), None)


def _newest_first(registry: Registry, version: VersionManifest) -> Iterator[Evaluation]:
    place = registry.version_place(version.name, version.version)
    uris = sorted((stat.uri for stat in registry.storage.list_objects(place)), reverse=True)
    for uri in uris:
        if not uri.rpartition("/")[2].startswith(PREFIX):
            continue
        try:
            body = json.loads(registry.storage.read(uri))
            digest, evaluation = body["digest"], dict(body["evaluation"])
        except InputMissing:
            continue  # removed meanwhile
        except (ValueError, TypeError, KeyError) as error:
            raise ManifestMissing(f"{uri} is damaged: remove it and evaluate again") from error
        if digest == version.digest:
            yield evaluation
