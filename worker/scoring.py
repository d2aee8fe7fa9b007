"""From a tokenized window to its result rows; passages with the same tokens are scored once."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.chunks import Chunk
from schemas.errors import RowError
from schemas.job import Manifest
from worker import isolation
from worker.encoded import Ids
from worker.models import LoadedModel
from worker.result_rows import TokenizedTexts, TokenizedWindow, model_columns, result_rows
from worker.scores import score_rows

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]

# A text that any model can score: where it fails, the fault is not in the rows.
CONTROL_TEXT = "a"
# Row numbers that a log line gives at most.
ROWS_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTexts:
    """What a model said of the texts it was given.

    Attributes:
        logits: float32 [passages, labels], NaN where a passage has none.
        failures: Why a row was not scored, by its place among those to score.
    """

    logits: NDArray[np.float32]
    failures: dict[int, RowError]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredWindow:
    """A window, and what each model said of its texts."""

    window: TokenizedWindow
    texts: tuple[ScoredTexts, ...]


def score_window(
    window: TokenizedWindow,
    models: Sequence[LoadedModel],
    progress: Progress,
    controls: Sequence[Ids],
) -> ScoredWindow:
    """Let each model score a window, one after the other.

    A row that one model fails at is scored by the others all the same.

    Args:
        window: The rows.
        models: The models.
        progress: Called at once and between batches with the tokens scored by then; what it raises
            ends the window.
        controls: Token ids of `CONTROL_TEXT` for each model.
    """
    progress(0)
    scored: list[ScoredTexts] = []
    tokens = 0
    for model, texts, control in zip(models, window.texts, controls, strict=True):
        found = _score(texts, model, partial(_beyond, progress, tokens), control)
        _tell(window.row_start, texts, found.failures, model)
        scored.append(found)
        tokens += sum(map(len, texts.ids))
    return ScoredWindow(window=window, texts=tuple(scored))


def rows_of(
    scored: ScoredWindow, manifest: Manifest, chunk: Chunk, models: Sequence[LoadedModel]
) -> pa.Table:
    """Return the result rows of a window."""
    spec, window = manifest.spec, scored.window
    by_suffix = zip(spec.suffixes, models, window.texts, scored.texts, strict=True)
    return result_rows(
        window,
        {
            suffix: model_columns(
                texts,
                score_rows(
                    said.logits, model.pin.problem_type, texts.encoded.passages, spec.long_text
                ),
                said.failures,
                labels=model.labels,
                all_scores=spec.all_scores,
            )
            for suffix, model, texts, said in by_suffix
        },
        source_file=manifest.files[chunk.file].uri,
        all_scores=spec.all_scores,
    )


def _beyond(progress: Progress, before: int, tokens: int) -> None:
    """Tell the tokens of the model under way and of those `before` it."""
    progress(before + tokens)


def _score(
    texts: TokenizedTexts, model: LoadedModel, progress: Progress, control: Ids
) -> ScoredTexts:
    """Score the passages that differ, and give each passage its logits."""
    logits, failed = isolation.score(model.engine, texts.ids, progress, control=control)
    if logits.shape != (len(texts.ids), len(model.labels)):
        raise AssertionError(
            f"bug: logits of shape {logits.shape} for {len(texts.ids)} rows, "
            f"{len(model.labels)} labels"
        )
    kinds = texts.different.kinds
    failures = _of_rows(failed, kinds, texts.encoded.passages)
    return ScoredTexts(logits=logits[kinds], failures=failures)


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


def _tell(
    row_start: int, texts: TokenizedTexts, failures: Mapping[int, RowError], model: LoadedModel
) -> None:
    """Log which rows a model did not score, by their numbers within the file."""
    for code in sorted(set(failures.values())):
        places = [place for place, why in sorted(failures.items()) if why is code]
        rows = [row_start + int(texts.places[place]) for place in places]
        logger.warning(
            "%d rows were not scored [%s]: %s%s, by model %s",
            len(rows),
            code,
            ", ".join(map(str, rows[:ROWS_TOLD])),
            ", …" if len(rows) > ROWS_TOLD else "",
            model.pin.name,
            extra={"action": "rows_not_scored", "code": code.value},
        )
