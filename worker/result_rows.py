"""From a window of rows and the scores of those that have any, to rows of the result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import RowError
from schemas.job import LongText
from schemas.results import result_schema
from worker.distinct import distinct
from worker.encoded import Encoded
from worker.reader import Window
from worker.scores import NO_LABEL, RowScores
from worker.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedWindow:
    """A window with token ids in the place of its texts.

    Attributes:
        row_start: Number of the first row within the file.
        ids: The id columns as they are in the file.
        errors: Why a row has nothing to score, or None, for every row.
        encoded: Token ids of the rows without an error, in their order.
        places: int64 [rows without an error], where they stand in the window.
    """

    row_start: int
    ids: pa.Table
    errors: list[RowError | None]
    encoded: Encoded
    places: NDArray[np.int64]


def tokenize(window: Window, tokenizer: Tokenizer, long_text: LongText) -> TokenizedWindow:
    """Tokenize the rows of a window that have a text, equal texts once."""
    errors = list(window.texts.errors)
    candidates = [i for i, error in enumerate(errors) if error is None]
    texts = [window.texts.values[i] for i in candidates]
    different = distinct(texts)
    encoded = tokenizer.encode([texts[i] for i in different.firsts], long_text)
    failed = encoded.failed[different.kinds]
    for i in np.flatnonzero(failed):
        errors[candidates[i]] = RowError.TOKENIZER_FAILED
    return TokenizedWindow(
        row_start=window.row_start,
        ids=window.ids,
        errors=errors,
        encoded=encoded.take(different.kinds[~failed]),
        places=np.asarray(candidates, dtype=np.int64)[~failed],
    )


def result_rows(
    tokenized: TokenizedWindow,
    scored: RowScores,
    failures: Mapping[int, RowError],
    *,
    source_file: str,
    labels: tuple[str, ...],
    all_scores: bool,
) -> pa.Table:
    """Return one result row for each row of the window, in order.

    A row that has no score has an error, no label, no tokens and is not truncated.

    Args:
        tokenized: The window.
        scored: Scores of the rows in `tokenized.encoded`, in their order.
        failures: Why one of those rows was not scored, by its place among them.
        source_file: URI of the file the window is from.
        labels: Names of the labels by index.
        all_scores: Whether the `scores` column is wanted.
    """
    rows, row_start = len(tokenized.errors), tokenized.row_start
    if len(scored.finite) != len(tokenized.places):
        raise AssertionError(
            f"bug: {len(scored.finite)} scores for {len(tokenized.places)} rows to score"
        )
    errors = list(tokenized.errors)
    for k in np.flatnonzero(~scored.finite):
        errors[tokenized.places[k]] = failures.get(int(k), RowError.SCORE_NOT_FINITE)
    places = tokenized.places[scored.finite]

    def spread(values: NDArray[Any], fill: Any) -> NDArray[Any]:
        """Return the values of the scored rows at their places, `fill` at the others."""
        spread_out = np.full(rows, fill, dtype=values.dtype)
        spread_out[places] = values[scored.finite]
        return spread_out

    label_index = spread(scored.label_index, NO_LABEL)
    unscored = np.ones(rows, dtype=bool)
    unscored[places] = False
    columns = {name: tokenized.ids.column(name) for name in tokenized.ids.column_names}
    columns |= {
        "source_file": pa.repeat(pa.scalar(source_file), rows),
        "source_row": pa.array(np.arange(row_start, row_start + rows, dtype=np.int64)),
        "label": pa.array(labels, pa.string()).take(
            pa.array(label_index, mask=label_index == NO_LABEL)
        ),
        "score": pa.array(spread(scored.score, 0), mask=unscored),
        "n_tokens": pa.array(spread(tokenized.encoded.tokens(), 0)),
        "truncated": pa.array(spread(tokenized.encoded.truncated, False)),
        "error": pa.array(errors, pa.string()),
    }
    if all_scores:
        columns["scores"] = _lists(scored.scores[scored.finite], unscored)
    schema = result_schema(list(tokenized.ids.schema), all_scores=all_scores)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _lists(scores: NDArray[np.float32], unscored: NDArray[np.bool_]) -> pa.Array:
    """Return one list for each row: the next of `scores` [scored rows, labels], or null."""
    offsets = np.zeros(len(unscored) + 1, dtype=np.int32)
    np.cumsum(~unscored * scores.shape[1], out=offsets[1:])
    nullable = pa.array(offsets, mask=np.append(unscored, False))
    return pa.ListArray.from_arrays(nullable, pa.array(scores.ravel(), pa.float32()))
