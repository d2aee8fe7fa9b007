"""Whose fault a failed attempt is: its chunk's, that of every chunk of the job, or storage's.

What an error means depends on where it happened. An input that is denied is the trouble of its
chunks; an output that is denied is everybody's. A request that was not served may be about one
object, or about a store that serves nobody: the store is asked once to tell these apart.
"""

from collections.abc import Callable
from typing import Literal, Protocol

from schemas.errors import (
    AccessDenied,
    BulkError,
    CredentialsRefused,
    InputMissing,
    ModelNotReady,
    StorageFull,
    StorageUnavailable,
)

Fault = Literal["chunk", "job", "storage"]

# A disk that was full is worth another attempt when it takes this much.
ROOM_BYTES = 1 << 20


class Probe(Protocol):
    """Asks the store behind a place once, as `Storage.probe` does."""

    def __call__(self, uri: str, *, room: int = 0) -> None:
        """Raise when it does not serve or has no room."""


def blame(error: BulkError, probe: Probe, is_input: Callable[[str], bool]) -> Fault:
    """Return whose fault `error` is.

    Args:
        error: What ended the attempt.
        probe: Asks a store.
        is_input: Says whether an object is the input of this chunk.
    """
    if error.job_wide:
        return "job"
    # Neither a full disk nor a model that could not be fetched has to do with the chunk.
    if isinstance(error, StorageFull | ModelNotReady):
        return "storage"
    if isinstance(error, StorageUnavailable):
        return "storage" if isinstance(ask(error, probe), StorageUnavailable) else "chunk"
    if isinstance(error, AccessDenied | InputMissing) and error.place is not None:
        return _blame_refusal(error, probe, is_input(error.place))
    return "chunk"


def ask(error: BulkError, probe: Probe) -> BulkError | None:
    """Ask the store that `error` is about once; return what it answers, None if it serves."""
    if error.place is None:
        return None
    try:
        probe(error.place, room=ROOM_BYTES if isinstance(error, StorageFull) else 0)
    except BulkError as answer:
        return answer
    return None


def _blame_refusal(error: BulkError, probe: Probe, is_input: bool) -> Fault:
    """Return whose fault it is that an object is denied or absent."""
    if not is_input:
        return "job"
    answer = ask(error, probe)
    if isinstance(answer, StorageUnavailable):
        return "storage"
    # The whole bucket is gone, or the token had expired, which a HEAD does not tell. That the
    # bucket may not be listed says nothing.
    return "job" if isinstance(answer, CredentialsRefused | InputMissing) else "chunk"
