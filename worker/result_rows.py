"""From a window of rows and the scores of those that have any, to rows of the result."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import RowError
from schemas.results import result_schema
from worker.reader import Window
from worker.scores import NO_LABEL, RowScores
from worker.tokenizer import Encoded, Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedWindow:
    """A window whose texts are tokenized.

    Attributes:
        window: The rows.
        errors: Why a row has nothing to score, or None, for every row.
        encoded: Token ids of the rows without an error, in their order.
        positions: int64 [rows without an error], where they stand in the window.
    """

    window: Window
    errors: list[RowError | None]
    encoded: Encoded
    positions: NDArray[np.int64]


def tokenize(window: Window, tokenizer: Tokenizer) -> TokenizedWindow:
    """Tokenize the rows of a window that have a text."""
    errors = list(window.texts.errors)
    candidates = [i for i, error in enumerate(errors) if error is None]
    encoded = tokenizer.encode([window.texts.values[i] for i in candidates])
    for i, failed in zip(candidates, encoded.failed, strict=True):
        if failed:
            errors[i] = RowError.TOKENIZER_FAILED
    kept = np.flatnonzero(~encoded.failed)
    return TokenizedWindow(
        window=window,
        errors=errors,
        encoded=Encoded(
            ids=[encoded.ids[i] for i in kept],
            truncated=encoded.truncated[kept],
            failed=encoded.failed[kept],
        ),
        positions=np.asarray(candidates, dtype=np.int64)[kept],
    )


def result_rows(
    tokenized: TokenizedWindow,
    scored: RowScores,
    *,
    source_file: str,
    labels: tuple[str, ...],
    all_scores: bool,
) -> pa.Table:
    """Return one result row for each row of the window, in order.

    Args:
        tokenized: The window.
        scored: Scores of the rows in `tokenized.encoded`, in their order.
        source_file: URI of the file the window is from.
        labels: Names of the labels by index.
        all_scores: Whether the `scores` column is wanted.
    """
    rows = len(tokenized.window)
    places, finite = tokenized.positions, scored.finite
    errors = list(tokenized.errors)
    for i in places[~finite]:
        errors[i] = RowError.SCORE_NOT_FINITE
    good = np.zeros(rows, dtype=bool)
    good[places] = finite

    ids = tokenized.window.ids
    row_start = tokenized.window.row_start
    schema = result_schema(list(ids.schema), all_scores=all_scores)
    columns: dict[str, Any] = {name: ids.column(name) for name in ids.column_names}
    columns["source_file"] = pa.repeat(pa.scalar(source_file), rows)
    columns["source_row"] = pa.array(np.arange(row_start, row_start + rows))
    label_index = _spread(scored.label_index, places, rows, NO_LABEL)
    names = pa.array(labels, pa.string())
    columns["label"] = names.take(pa.array(label_index, mask=label_index == NO_LABEL))
    columns["score"] = pa.array(_spread(scored.score, places, rows, 0), mask=~good)
    if all_scores:
        columns["scores"] = _scores_column(scored, places, good)
    lengths = np.array([len(ids) for ids in tokenized.encoded.ids], dtype=np.int32)
    columns["n_tokens"] = pa.array(_spread(lengths, places, rows, 0))
    columns["truncated"] = pa.array(_spread(tokenized.encoded.truncated, places, rows, False))
    columns["error"] = pa.array([None if e is None else e.value for e in errors], pa.string())
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _spread(values: NDArray[Any], places: NDArray[np.int64], rows: int, fill: Any) -> NDArray[Any]:
    """Return an array of `rows` values with `values` at `places` and `fill` elsewhere."""
    spread = np.full(rows, fill, dtype=values.dtype)
    spread[places] = values
    return spread


def _scores_column(
    scored: RowScores, places: NDArray[np.int64], good: NDArray[np.bool_]
) -> pa.Array:
    """Return a list of scores for each good row, null for the others."""
    width = scored.scores.shape[1]
    finite = scored.scores[scored.finite]
    offsets = np.zeros(len(good) + 1, dtype=np.int32)
    np.cumsum(good * width, out=offsets[1:])
    nullable = pa.array(offsets, mask=np.append(~good, False))
    return pa.ListArray.from_arrays(nullable, pa.array(finite.ravel(), pa.float32()))
