"""What a worker counts. Labels are codes, outcomes, stages and models: never a job, file or row."""

from collections.abc import Mapping, Sequence

from schemas.exposition import Counter, Gauge, Histogram
from schemas.job import ModelPin
from schemas.s3_connection import WATCHERS

SECONDS = (1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1800, 3600)
# A model with more labels than this has them counted together.
LABELS_COUNTED = 64

ATTEMPTS = Counter(
    "bulkscore_chunk_attempts", "Attempts at a chunk, by how they ended.", ["outcome"]
)
RETRIES = Counter("bulkscore_chunk_retries", "Chunks set aside for another attempt.", ["code"])
DEAD = Counter("bulkscore_dead_letters", "Chunks buried.", ["code"])
CHUNK_SECONDS = Histogram(
    "bulkscore_chunk_seconds", "Time of attempts that scored a chunk.", buckets=SECONDS
)
STAGE_SECONDS = Counter(
    "bulkscore_stage_seconds", "Time spent on a stage of chunks; stages overlap.", ["stage"]
)
ROWS = Counter("bulkscore_rows_scored", "Rows with a score in a result created here.")
ROW_ERRORS = Counter("bulkscore_row_errors", "Rows with an error in such a result.", ["code"])
TRUNCATED = Counter("bulkscore_rows_truncated", "Rows of such results whose text was cut.")
TOKENS = Counter("bulkscore_tokens", "Tokens of rows that were scored, padding left out.")
PADDED = Counter("bulkscore_batch_tokens", "Tokens of batches that were scored, padding included.")
BUDGET = Counter("bulkscore_batch_budget_tokens", "Token budgets of the batches that were scored.")
BATCHES = Counter("bulkscore_batches", "Batches that were scored.")
OOM_STEPS = Counter("bulkscore_oom_steps", "Batches that did not fit the memory and were cut.")
LOADS = Counter("bulkscore_model_loads", "Models loaded into memory.", ["model"])
LOAD_SECONDS = Histogram("bulkscore_model_load_seconds", "Time to load a model.", buckets=SECONDS)
MODEL_INFO = Gauge(
    "bulkscore_model_info",
    "1 for each model in memory; a path counts as model `unregistered`.",
    ["model", "dtype", "device"],
    multiprocess_mode="livemostrecent",
)
DEVICE_MEMORY = Gauge(
    "bulkscore_device_memory_bytes",
    "Memory of the GPU that PyTorch holds (reserved), and the most that tensors took (peak).",
    ["kind"],
    multiprocess_mode="livemostrecent",
)
LABELS = Counter("bulkscore_labels", "Rows by the label they were given.", ["model", "label"])
CHILD_STARTS = Counter("bulkscore_child_starts", "Processes started to do the work.")
S3_REQUESTS = Counter(
    "bulkscore_s3_requests",
    "Requests to the object store by the class of the answer, none where there was none.",
    ["operation", "status"],
)
S3_RETRIES = Counter("bulkscore_s3_retries", "Requests that were sent again.", ["operation"])


def model_label(pin: ModelPin) -> str:
    """Return what stands for a model: `name@version`, or that it is not registered."""
    return pin.ref if pin.version is not None else "unregistered"


def count_batch(*, tokens: int, padded: int, budget: int) -> None:
    """Count a batch that was scored: its tokens without and with padding, and its budget."""
    BATCHES.inc()
    TOKENS.inc(tokens)
    PADDED.inc(padded)
    BUDGET.inc(budget)


def count_labels(pin: ModelPin, counts: Mapping[str, int]) -> None:
    """Count rows by label."""
    many = len(pin.labels) > LABELS_COUNTED
    for label, rows in counts.items():
        LABELS.labels(model_label(pin), "(any)" if many else label).inc(rows)


def count_stage(stage: str, seconds: float) -> None:
    """Count the time of a stage; see `worker.stages`."""
    STAGE_SECONDS.labels(stage).inc(seconds)


def count_request(operation: str, status: int | None, attempts: int) -> None:
    """Count a request to the object store; see `schemas.s3_connection.WATCHERS`."""
    S3_REQUESTS.labels(operation, f"{status // 100}xx" if status else "none").inc()
    if attempts > 1:
        S3_RETRIES.labels(operation).inc()


def show_models(models: Sequence[tuple[ModelPin, str, str]]) -> None:
    """Show which models are in memory now, each with dtype and device."""
    for labels in _shown:
        MODEL_INFO.labels(*labels).set(0)
    _shown.clear()
    for pin, dtype, device in models:
        _shown.add((model_label(pin), dtype, device))
    for labels in _shown:
        MODEL_INFO.labels(*labels).set(1)


_shown: set[tuple[str, str, str]] = set()

WATCHERS.append(count_request)
