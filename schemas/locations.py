"""What a location means: a local path, `file://` or `s3://bucket/key`. Pure functions."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from schemas.errors import LocationRefused, UsageError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_STEPS = frozenset({".", ".."})


def is_s3(uri: str) -> bool:
    """Say whether `uri` is on S3.

    Raises:
        UsageError: The scheme is neither `s3`, `file` nor none, or what no name should have stands
            in it: control characters, `..` in a key, a chain of file systems (`a::b`).
    """
    scheme, separator, key = uri.partition("://")
    if _CONTROL.search(uri):
        raise UsageError(f"{uri!r} has control characters")
    if separator and "::" in scheme:
        raise UsageError(f"{uri}: file systems cannot be chained, write the last URI alone")
    if separator and _SCHEME.fullmatch(scheme):
        if scheme not in ("s3", "file"):
            raise UsageError(
                f"{uri}: unknown scheme {scheme!r}, use a local path, file:// or s3://"
            )
        if scheme == "s3" and not _NO_STEPS.isdisjoint(key.split("/")):
            raise UsageError(f"{uri}: a key is named in full, without . and .. in it")
        return scheme == "s3"
    if uri.startswith(("s3:", "file:")):
        raise UsageError(f"{uri}: write {uri.partition(':')[0]}:// with two slashes")
    return False


def s3_path(uri: str) -> str:
    """Return bucket and key of an `s3://` URI.

    Raises:
        UsageError: It names no bucket, or a version, which s3fs would cut off on its way.
    """
    path = uri.removeprefix("s3://")
    if not path or path.startswith("/"):
        raise UsageError(f"{uri} names no bucket, write s3://bucket/key")
    if "?versionId=" in path:
        raise UsageError(f"{uri}: objects are named by their key alone, without ?versionId=")
    return path


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Return the two parts of an `s3://` URI; the key may be empty."""
    bucket, _, key = s3_path(uri).partition("/")
    return bucket, key


def local_path(uri: str) -> Path:
    """Return the absolute path of a local path or `file://` URI.

    In a URI `%20` is a space; `?` and `#` stand for themselves, as in the patterns of `glob`.

    Raises:
        UsageError: The URI names a file of another host.
    """
    if "\0" in uri or not uri:
        raise UsageError(f"{uri!r} is not a path")
    if not uri.startswith("file://"):
        return Path(uri).expanduser().absolute()
    host, _, path = uri.removeprefix("file://").partition("/")
    if host not in ("", "localhost"):
        raise UsageError(f"{uri} names the host {host!r}, write file:///{host}/{path}")
    return Path("/" + unquote(path))


def canonical(uri: str) -> str:
    """Return the one spelling of a location that is kept in records: absolute, no trailing /."""
    if is_s3(uri):
        return uri.rstrip("/")
    return str(local_path(uri))


def require_allowed(uri: str, allowed: Sequence[str]) -> None:
    """Raise LocationRefused unless `uri` is, or lies below, one of the `allowed` locations.

    Local paths are compared as they are once links and `..` are resolved; no list allows all.
    """
    if not allowed:
        return
    place = _place(uri)
    if not any(place == _place(root) or place.startswith(_place(root) + "/") for root in allowed):
        raise LocationRefused(
            f"{uri} is not below any of the locations in BULKSCORE_ALLOWED_URIS: "
            f"{', '.join(allowed)}"
        )


def _place(uri: str) -> str:
    return uri.rstrip("/") if is_s3(uri) else os.path.realpath(local_path(uri)).rstrip("/")
