"""The message that travels on the queue: ids and numbers, never text."""

from typing import Final, Literal

from pydantic import Field, ValidationError

from schemas.errors import MessageInvalid, VersionUnknown
from schemas.job import JobId, Priority, Record
from schemas.record import of_later_version

MESSAGE_VERSION: Final = 1
TASK_NAME = "bulkscore.score_chunk"
QUEUE_PREFIX = "bulkscore."
# The queue of lifecycle tasks, beside those of the priorities.
LIFECYCLE = "lifecycle"


class ChunkMessage(Record):
    """Score this chunk of this job; `generation` rises by one at each reprocess.

    A version that adds something reads the one before as well: `Literal[1, 2]`, and a default.
    """

    version: Literal[1] = MESSAGE_VERSION
    job_id: JobId
    chunk: int = Field(ge=0, lt=2**31)
    generation: int = Field(ge=0, lt=2**31)


def parse_message(body: object) -> ChunkMessage:
    """Return the message in `body`.

    Raises:
        MessageInvalid: `body` is not a message of ours.
        VersionUnknown: It is one of a later version.
    """
    try:
        return ChunkMessage.model_validate(body)
    except ValidationError as error:
        if of_later_version(ChunkMessage, error):
            raise VersionUnknown(
                f"a message of a later version than {MESSAGE_VERSION}: upgrade this worker"
            ) from None
        problems = "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors(include_input=False))
        raise MessageInvalid(f"message not understood ({problems})") from None


def queue_name(priority: Priority) -> str:
    """Return the Redis list that carries messages of this priority."""
    return f"{QUEUE_PREFIX}{priority}"
