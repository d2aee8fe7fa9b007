"""What a location means: a local path, `file://` or `s3://bucket/key`. Pure functions."""

import re
from pathlib import Path
from urllib.parse import unquote

from schemas.errors import UsageError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def is_s3(uri: str) -> bool:
    """Say whether `uri` is on S3.

    Raises:
        UsageError: The scheme is neither `s3`, `file` nor none.
    """
    scheme, separator, _ = uri.partition("://")
    if separator and _SCHEME.fullmatch(scheme):
        if scheme not in ("s3", "file"):
            raise UsageError(
                f"{uri}: unknown scheme {scheme!r}, use a local path, file:// or s3://"
            )
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
