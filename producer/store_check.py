"""What a store does with conditions on a PUT, tried on an object that is removed again."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from schemas.errors import BulkError
from schemas.locations import canonical, is_s3, local_path
from schemas.storage import Storage

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found; `essential` ones that fail make the whole fail."""

    check: str
    verdict: Verdict
    detail: str
    essential: bool = False


def check_output(storage: Storage, uri: str) -> Finding:
    """Try whether results can be created under `uri`, and created once."""
    try:
        with _object_in(storage, uri) as place:
            created_once = storage.creates_once(place)
    except BulkError as error:
        return Finding(check="output", verdict="fail", detail=str(error), essential=True)
    if created_once:
        detail = f"{uri}: writable, and refuses to create an object twice"
        return Finding(check="output", verdict="ok", detail=detail, essential=True)
    detail = (
        f"{uri}: writable, but the store knows no conditional PUT (If-None-Match). Workers look "
        "before they write: only two attempts at one chunk that end at the same instant can write "
        "over each other, which leases make rare, and then the same rows"
    )
    return Finding(check="output", verdict="warn", detail=detail, essential=True)


def check_registry(storage: Storage, uri: str) -> Finding:
    """Try whether versions can be created once in the registry, and aliases be swapped."""
    try:
        with _object_in(storage, uri) as place:
            conditions = {
                "If-None-Match": storage.creates_once(place),
                "If-Match": storage.swaps(place),
            }
    except BulkError as error:
        return Finding(check="model registry", verdict="fail", detail=str(error))
    ignored = [name for name, honored in conditions.items() if not honored]
    if not ignored:
        detail = f"{uri}: writable, creates a version once and moves an alias by comparing"
        return Finding(check="model registry", verdict="ok", detail=detail)
    detail = (
        f"{uri}: writable, but the store knows no {' and no '.join(ignored)}. bulkscore looks "
        "before it writes: of two people who publish a version or move an alias at the same "
        "instant, both may believe to be the one"
    )
    return Finding(check="model registry", verdict="warn", detail=detail)


@contextlib.contextmanager
def _object_in(storage: Storage, uri: str) -> Iterator[str]:
    """Create an object under `uri` for as long as the caller tries things on it."""
    storage.probe(uri)
    folder = canonical(uri)
    is_new = not is_s3(folder) and not local_path(folder).exists()
    place = f"{folder}/_doctor-{uuid.uuid4().hex}"
    try:
        if not (storage.create(place, b"1") and storage.read(place) == b"1"):
            raise BulkError(f"{uri}: an object that was just created is not there")
        yield place
    finally:
        storage.delete(place)
        if is_new and local_path(folder).is_dir():
            local_path(folder).rmdir()
