"""Every error bulkscore raises, in one tree.

    BulkError                   .code is stable and goes into dead letters and --json output
    ├─ TransientError           try again later
    │  ├─ StorageUnavailable    time-out, 5xx, throttling, connection reset
    │  │  └─ StorageFull        disk, quota or bucket takes no more
    │  ├─ BrokerUnavailable     Redis does not answer or is full
    │  │  └─ BrokerRefused      login, certificate or rights: until somebody changes them
    │  ├─ ModelNotReady         the model's files could not be fetched completely
    │  ├─ DeviceOutOfMemory     the model or every row of a batch did not fit the device
    │  ├─ DeviceFailed          the device is of no more use to this process
    │  ├─ ChunkTimedOut         the chunk ran past its time limit
    │  ├─ TaskTimedOut          an attempt at a lifecycle task ran past its time limit
    │  ├─ ProcessKilled         the process of a lifecycle task was ended from outside
    │  ├─ LeaseLost             another attempt owns the chunk now
    │  ├─ VersionUnknown        a message or record of a later release: for a later worker
    │  └─ UnexpectedError       anything outside this tree, wrapped at the task boundary
    ├─ PermanentError           bury at once, trying again cannot help
    │  ├─ MessageInvalid        not a message we wrote, or of a version we do not know
    │  ├─ ManifestMissing       the job's manifest or another of its records is gone or damaged
    │  ├─ InputMissing          no such file, empty glob, bucket or column gone
    │  ├─ InputChanged          size or ETag differ from the plan
    │  ├─ InputCorrupt          not Parquet, damaged footer or page, encrypted
    │  ├─ SchemaMismatch        column absent or of a wrong type, files that disagree
    │  ├─ ModelIncompatible     unknown architecture, missing head, unsafe or changed files
    │  ├─ AccessDenied          storage answers, but does not let us at an object
    │  │  └─ CredentialsRefused expired, unknown or missing: nothing will be let through
    │  ├─ LocationRefused       outside the locations that this deployment allows
    │  └─ Poison                the chunk ends its worker, and no row could be found that does
    └─ UsageError               shown without a traceback, exit code 2
       ├─ OutputTaken           the output already holds another job
       ├─ JobUnknown            no such job in the ledger, no manifest under that URI
       ├─ VersionTaken          the model version exists with another content
       ├─ AliasMoved            somebody else moved the alias meanwhile
       ├─ GateFailed            the model is not as good as its gate asks, exit code 6
       └─ ConfigurationError    a setting is missing or makes no sense, exit code 78

The parent class is the retry decision, the class says why. `exit_code` is what a command that
ends with the error returns: an input that is bad when a job is planned is bad usage there.
"""

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """What `bulkscore` returns to the shell."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    DEAD_CHUNKS = 3
    ROW_ERRORS = 4
    WAIT_TIMED_OUT = 5
    GATE_FAILED = 6
    UNAVAILABLE = 69
    CONFIGURATION = 78
    INTERRUPTED = 130


class RowError(StrEnum):
    """Why a row has no score; the value of a result's `error` column."""

    TEXT_NULL = "text_null"
    TEXT_BLANK = "text_blank"
    TEXT_INVALID_UTF8 = "text_invalid_utf8"
    TOKENIZER_FAILED = "tokenizer_failed"
    SCORE_NOT_FINITE = "score_not_finite"
    SCORING_FAILED = "scoring_failed"
    OUT_OF_MEMORY = "out_of_memory"
    KILLED_WORKER = "killed_worker"


class BulkError(Exception):
    """Base of every error we raise.

    Args:
        message: What happened, with which object, and what to do. Never the text of a row.

    Attributes:
        place: URI of the object that storage failed at, None for an error of another kind.
    """

    code = "bulk_error"
    exit_code = ExitCode.UNEXPECTED
    # True when every chunk of the job would meet the same error: it is told once, the job halts.
    job_wide = False
    place: str | None = None


class TransientError(BulkError):
    """May succeed when tried again."""

    code = "transient"
    exit_code = ExitCode.UNAVAILABLE


class StorageUnavailable(TransientError):
    """Storage timed out, throttled, reset the connection or answered 5xx."""

    code = "storage_unavailable"


class StorageFull(StorageUnavailable):
    """The disk, its quota or the bucket takes no more."""

    code = "storage_full"


class BrokerUnavailable(TransientError):
    """Redis does not answer or is out of memory."""

    code = "broker_unavailable"


class BrokerRefused(BrokerUnavailable):
    """Redis refuses the login or a command, or shows a certificate that is not trusted."""

    code = "broker_refused"


class ModelNotReady(TransientError):
    """The model's files could not be fetched completely."""

    code = "model_not_ready"


class DeviceOutOfMemory(TransientError):
    """The model, or every row of a batch, did not fit into the memory of the device."""

    code = "device_out_of_memory"


class DeviceFailed(TransientError):
    """The device is of no more use to this process, as after an illegal access on a GPU."""

    code = "device_failed"


class ChunkTimedOut(TransientError):
    """The chunk ran past its time limit."""

    code = "chunk_timed_out"


class TaskTimedOut(TransientError):
    """An attempt at a lifecycle task ran past its time limit."""

    code = "task_timed_out"


class ProcessKilled(TransientError):
    """The process of a lifecycle task was ended from outside, as where memory runs out."""

    code = "process_killed"


class LeaseLost(TransientError):
    """Another attempt owns the chunk now."""

    code = "lease_lost"


class VersionUnknown(TransientError):
    """A later release wrote this message or record; one that is as late can read it."""

    code = "version_unknown"
    exit_code = ExitCode.USAGE


class UnexpectedError(TransientError):
    """An exception outside this tree, wrapped at the task boundary."""

    code = "unexpected"


class PermanentError(BulkError):
    """Trying again cannot help."""

    code = "permanent"
    exit_code = ExitCode.USAGE


class MessageInvalid(PermanentError):
    """Not a message we wrote, or of a version we do not know."""

    code = "message_invalid"


class ManifestMissing(PermanentError):
    """The job's manifest, chunk table or another of its records is gone or damaged."""

    code = "manifest_missing"
    job_wide = True


class InputMissing(PermanentError):
    """A file, folder, bucket or everything under a glob does not exist."""

    code = "input_missing"


class InputChanged(PermanentError):
    """An input's size or ETag is not what it was when the job was planned."""

    code = "input_changed"


class InputCorrupt(PermanentError):
    """Not Parquet, a damaged footer or page, or encrypted.

    Attributes:
        row_group: The row group that cannot be read, None where it is the whole file.
    """

    code = "input_corrupt"
    row_group: int | None = None


class SchemaMismatch(PermanentError):
    """A column is absent or of a wrong type, or files disagree."""

    code = "schema_mismatch"


class ModelIncompatible(PermanentError):
    """Unknown architecture, missing head, unsafe or changed files."""

    code = "model_incompatible"
    job_wide = True


class AccessDenied(PermanentError):
    """Storage answers, but does not let us at an object."""

    code = "access_denied"
    exit_code = ExitCode.UNAVAILABLE


class CredentialsRefused(AccessDenied):
    """The credentials have expired, are not known or are missing."""

    code = "credentials_refused"
    job_wide = True


class LocationRefused(PermanentError):
    """The location lies outside those that this deployment allows."""

    code = "location_refused"
    job_wide = True


class Poison(PermanentError):
    """The chunk ends its worker, and no row could be found that does.

    Attributes:
        row_group: The row group that was being read at the last time, if it was that.
        first_bad_row: The first row, within the file, that is known to end the worker, if any.
    """

    code = "poison"
    row_group: int | None = None
    first_bad_row: int | None = None


class UsageError(BulkError):
    """The command cannot be carried out as given."""

    code = "usage"
    exit_code = ExitCode.USAGE


class OutputTaken(UsageError):
    """The output already holds another job."""

    code = "output_taken"


class JobUnknown(UsageError):
    """No such job in the ledger, and no manifest under that URI."""

    code = "job_unknown"


class VersionTaken(UsageError):
    """The model version exists already, with another content."""

    code = "version_taken"


class AliasMoved(UsageError):
    """Somebody else moved the alias meanwhile."""

    code = "alias_moved"


class GateFailed(UsageError):
    """The model is not as good as its gate asks."""

    code = "gate_failed"
    exit_code = ExitCode.GATE_FAILED


class ConfigurationError(UsageError):
    """A setting is missing or makes no sense."""

    code = "configuration"
    exit_code = ExitCode.CONFIGURATION
