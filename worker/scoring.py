"""From a tokenized window to its result rows; passages with the same tokens are scored once."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.chunks import Chunk
from schemas.errors import RowError
from schemas.job import Manifest
from worker import isolation
from worker.distinct import distinct
from worker.encoded import Ids
from worker.models import LoadedModel
from worker.result_rows import TokenizedWindow, result_rows
from worker.scores import score_rows

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]

# A text that any model can score: where it fails, the fault is not in the rows.
CONTROL_TEXT = "a"
# Row numbers that a log line gives at most.
ROWS_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredWindow:
    """A window and what the model said of it.

    Attributes:
        window: The rows.
        logits: float32 [passages, labels], NaN where a passage has none.
        failures: Why a row was not scored, by its place among those to score.
    """

    window: TokenizedWindow
    logits: NDArray[np.float32]
    failures: dict[int, RowError]


def score_window(
    window: TokenizedWindow, model: LoadedModel, progress: Progress, control: Ids
) -> ScoredWindow:
    """Let the model score a window.

    Args:
        window: The rows.
        model: The model.
        progress: Called at once and between batches with the tokens scored by then; what it raises
            ends the window.
        control: Token ids of `CONTROL_TEXT`.
    """
    progress(0)
    encoded = window.encoded
    different = distinct(ids.tobytes() for ids in encoded.ids)
    logits, failed = isolation.score(
        model.engine, [encoded.ids[i] for i in different.firsts], progress, control=control
    )
    if logits.shape != (len(different.firsts), len(model.labels)):
        raise AssertionError(
            f"bug: logits of shape {logits.shape} for {len(different.firsts)} rows, "
            f"{len(model.labels)} labels"
        )
    failures = _of_rows(failed, different.kinds, encoded.passages)
    _tell(window, failures)
    return ScoredWindow(window=window, logits=logits[different.kinds], failures=failures)


def rows_of(scored: ScoredWindow, manifest: Manifest, chunk: Chunk, model: LoadedModel) -> pa.Table:
    """Return the result rows of a window."""
    window = scored.window
    return result_rows(
        window,
        score_rows(
            scored.logits,
            manifest.model.problem_type,
            window.encoded.passages,
            manifest.spec.long_text,
        ),
        scored.failures,
        source_file=manifest.files[chunk.file].uri,
        labels=model.labels,
        all_scores=manifest.spec.all_scores,
    )


def _of_rows(
    failed: Mapping[int, RowError], kinds: NDArray[np.int64], passages: NDArray[np.int64]
) -> dict[int, RowError]:
    """Return the error of each row of which a passage failed, the first one's.

    Args:
        failed: Why passages of one kind were not scored, by the kind.
        kinds: The kind of each passage [passages], row by row.
        passages: Passages of each row [rows].
    """
    rows = np.repeat(np.arange(len(passages)), passages)
    failures: dict[int, RowError] = {}
    for passage in np.flatnonzero(np.isin(kinds, list(failed))):
        failures.setdefault(int(rows[passage]), failed[int(kinds[passage])])
    return failures


def _tell(window: TokenizedWindow, failures: Mapping[int, RowError]) -> None:
    """Log which rows were not scored, by their numbers within the file."""
    for code in sorted(set(failures.values())):
        places = [place for place, why in sorted(failures.items()) if why is code]
        rows = [window.row_start + int(window.places[place]) for place in places]
        logger.warning(
            "%d rows were not scored [%s]: %s%s",
            len(rows),
            code,
            ", ".join(map(str, rows[:ROWS_TOLD])),
            ", …" if len(rows) > ROWS_TOLD else "",
            extra={"action": "rows_not_scored", "code": code.value},
        )
