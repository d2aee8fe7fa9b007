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


def blame(
    error: BulkError, probe: Probe, is_input: Callable[[str], bool]
) -> tuple[Fault, BulkError]:
    """Return whose fault it is, and the error that says best what is wrong.

    Args:
        error: What ended the attempt.
        probe: Asks a store.
        is_input: Says whether an object is the input of this chunk.
    """
    if error.job_wide:
        return "job", error
    # Neither a full disk nor a model that could not be fetched has to do with the chunk.
    if isinstance(error, StorageFull | ModelNotReady):
        return "storage", error
    if isinstance(error, StorageUnavailable):
        answer = ask(error, probe)
        return ("storage" if isinstance(answer, StorageUnavailable) else "chunk"), error
    if isinstance(error, AccessDenied | InputMissing) and error.place is not None:
        return _blame_refusal(error, ask(error, probe), is_input(error.place))
    return "chunk", error


def ask(error: BulkError, probe: Probe) -> BulkError | None:
    """Ask the store that `error` is about once; return what it answers, None if it serves."""
    if error.place is None:
        return None
    try:
        probe(error.place, room=ROOM_BYTES if isinstance(error, StorageFull) else 0)
    except BulkError as answer:
        return answer
    return None


def _blame_refusal(
    error: BulkError, answer: BulkError | None, is_input: bool
) -> tuple[Fault, BulkError]:
    """Return whose fault it is that an object is denied or absent, by what its bucket answers."""
    if isinstance(answer, StorageUnavailable):
        return "storage", answer
    # The bucket is gone, or nothing is open to these credentials: a HEAD does not tell that.
    if isinstance(answer, CredentialsRefused | InputMissing):
        return "job", answer
    # That the bucket may not be listed says nothing.
    return ("chunk" if is_input else "job"), error
