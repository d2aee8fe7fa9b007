"""The errors of s3fs, botocore, aiohttp and the operating system, translated into our own tree.

Transient is what may pass by itself: no answer, 5xx, throttling, a full disk. What the store
refuses is permanent, whichever of its many codes it gives. A HEAD is refused without a code: then
the status is all there is to go by.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from http import HTTPStatus

from schemas.errors import (
    AccessDenied,
    BulkError,
    CredentialsRefused,
    InputChanged,
    InputMissing,
    StorageFull,
    StorageUnavailable,
    UsageError,
)

# Whatever is asked for with these credentials, or by this clock, will be refused.
_CREDENTIALS_CODES = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_MISSING_CODES = {"NoSuchKey", "NoSuchBucket"}
# Refusals (4xx) that another try may not meet.
_TRANSIENT_CODES = {
    "BadDigest",
    "BandwidthLimitExceeded",
    "IncompleteBody",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "XAmzContentSHA256Mismatch",
}
_TRANSIENT_STATUS = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
_FULL_CODES = {"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"}
_FULL_NUMBERS = {errno.ENOSPC, errno.EDQUOT}
# Of a local path: nothing there, or nothing there can be.
_NO_SUCH_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_IMPOSSIBLE_PATH = {errno.EEXIST, errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG}


@contextlib.contextmanager
def translated(uri: str, hint: str = "") -> Iterator[None]:
    """Turn the errors of the libraries below into ours, the cause and the place attached."""
    try:
        yield
    except BulkError:
        raise
    except Exception as error:
        ours = _translate(uri, hint, error)
        if ours is None:
            raise
        ours.place = uri
        raise ours from error


def already_exists(error: Exception) -> bool:
    """Say whether a create-once request was refused because the object is there."""
    code, status = _answer(error)
    precondition = code == "PreconditionFailed" or status == HTTPStatus.PRECONDITION_FAILED
    return precondition or isinstance(error, FileExistsError)


def not_implemented(error: Exception) -> bool:
    """Say whether the store does not know a header that it was sent."""
    return _answer(error)[1] == HTTPStatus.NOT_IMPLEMENTED


def may_pass(code: str, status: int) -> bool:
    """Say whether another try may not meet this answer of the store."""
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return False
    return code in _TRANSIENT_CODES or status in _TRANSIENT_STATUS or status >= 500


def _translate(uri: str, hint: str, error: Exception) -> BulkError | None:
    if type(error).__name__ == "FileExpired":
        return InputChanged(f"{uri} was replaced while it was read")
    code, status = _answer(error)
    if code is not None:
        return _refusal(uri, hint, code, status)
    if isinstance(error, _NO_SUCH_FILE):
        reason = "" if isinstance(error, FileNotFoundError) else f" ({error.strerror})"
        return InputMissing(f"{uri} does not exist{reason}{hint}")
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS:
        return AccessDenied(f"{uri}: access denied ({_reason(error)}){hint}")
    if uri.startswith("s3://"):
        return _unanswered(uri, hint, error)
    if isinstance(error, OSError) and error.errno in _IMPOSSIBLE_PATH:
        return UsageError(f"{uri}: {_reason(error)}{hint}")
    if isinstance(error, OSError) and error.errno is not None:
        kind = StorageFull if error.errno in _FULL_NUMBERS else StorageUnavailable
        return kind(f"{uri}: {_reason(error)}{hint}")
    return None


def _refusal(uri: str, hint: str, code: str, status: int) -> BulkError:
    """Return the error for an answer of the store that is not the wanted one."""
    if code in _MISSING_CODES or status == HTTPStatus.NOT_FOUND:
        return InputMissing(f"{uri} does not exist{hint}")
    if status == HTTPStatus.PRECONDITION_FAILED:
        return InputChanged(f"{uri} was replaced while it was read")
    if code in _FULL_CODES or status == HTTPStatus.INSUFFICIENT_STORAGE:
        return StorageFull(f"{uri}: storage is full ({code}){hint}")
    if may_pass(code, status) or status < 400:
        return StorageUnavailable(f"{uri}: storage is not able to serve ({code}){hint}")
    if code in _CREDENTIALS_CODES:
        return CredentialsRefused(f"{uri}: access denied ({code}){hint}")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AccessDenied(f"{uri}: access denied ({code}){hint}")
    return AccessDenied(f"{uri}: storage refuses the request ({code}){hint}")


def _unanswered(uri: str, hint: str, error: Exception) -> BulkError | None:
    """Return the error for a request to S3 that was never answered, or never sent."""
    import asyncio

    import aiohttp
    from botocore import exceptions

    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return CredentialsRefused(
            f"{uri}: no credentials, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY{hint}"
        )
    if isinstance(error, exceptions.ParamValidationError):
        return UsageError(f"{uri} is not a bucket and key that S3 can have{hint}")
    # A bare OSError without number or cause is Arrow speaking of bytes it cannot decode.
    if type(error) is OSError and error.errno is None and error.__cause__ is None:
        return None
    known = (OSError, exceptions.BotoCoreError, aiohttp.ClientError, asyncio.TimeoutError)
    if isinstance(error, known):
        cause = type(_root(error)).__name__
        return StorageUnavailable(f"{uri}: storage does not answer ({cause}){hint}")
    return None


def _answer(error: BaseException | None) -> tuple[str | None, int]:
    """Return S3's error code and HTTP status along the chain of causes; a HEAD has only that."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
            code = response.get("Error", {}).get("Code")
            return str(code or status), status
        error = error.__cause__
    return None, 0


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number is not None else "no permission"


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
