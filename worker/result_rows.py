"""From a window of rows and the scores of those that have any, to rows of the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.canary import samples_of
from schemas.chunks import Chunk
from schemas.errors import RowError
from schemas.job import LongText, Manifest
from schemas.results import result_schema
from worker.distinct import Distinct, distinct
from worker.encoded import Encoded, Ids, arrays_of, rows_as_bytes
from worker.reader import Window
from worker.scores import NO_LABEL, RowScores
from worker.texts import Texts
from worker.tokenizer import Tokenizer

# The columns of one model by their names without its suffix, one value for each row of a window.
Columns = Mapping[str, pa.Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedTexts:
    """The texts of a window as a tokenizer has them.

    Attributes:
        errors: Why a row has nothing to score, or None, for every row.
        encoded: Token ids of the rows without an error, in their order.
        places: int64 [rows without an error], where they stand in the window.
        different: Which of the passages have the same tokens.
        ids: int32 [tokens] for each of those that differ, to be scored.
        sample: bool [rows], the rows that the model is asked about; None for all.
    """

    errors: list[RowError | None]
    encoded: Encoded
    places: NDArray[np.int64]
    different: Distinct
    ids: list[Ids]
    sample: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedWindow:
    """A window with token ids in the place of its texts.

    Attributes:
        row_start: Number of the first row within the file.
        rows: How many there are.
        ids: The id columns as they are in the file.
        texts: What each model is given; models with the same tokenizer have the same object.
    """

    row_start: int
    rows: int
    ids: pa.Table
    texts: tuple[TokenizedTexts, ...]


def window_samples(
    manifest: Manifest, chunk: Chunk, window: Window
) -> tuple[NDArray[np.bool_] | None, ...]:
    """Return for each model which rows of a window it is asked about; None for all of them."""
    rows = np.arange(window.row_start, window.row_start + len(window), dtype=np.int64)
    return samples_of(manifest.spec, manifest.files[chunk.file].uri, rows)


def tokenize(
    window: Window,
    tokenizers: Sequence[Tokenizer],
    long_text: LongText,
    samples: Sequence[NDArray[np.bool_] | None] = (),
) -> TokenizedWindow:
    """Tokenize the rows of a window that have a text, equal texts once by each tokenizer.

    Args:
        window: The rows.
        tokenizers: That of each model; one that is there twice does its work once.
        long_text: What becomes of long texts.
        samples: For each model the rows that it is asked about [rows], None for all of them, as
            when left out.
    """
    samples = samples or (None,) * len(tokenizers)
    whole = [t for t, sample in zip(tokenizers, samples, strict=True) if sample is None]
    made = {t: _tokenized(window.texts, t, long_text) for t in dict.fromkeys(whole)}
    return TokenizedWindow(
        row_start=window.row_start,
        rows=len(window),
        ids=window.ids,
        texts=tuple(
            made[tokenizer]
            if sample is None
            else _tokenized(window.texts, tokenizer, long_text, sample)
            for tokenizer, sample in zip(tokenizers, samples, strict=True)
        ),
    )


def _tokenized(
    given: Texts,
    tokenizer: Tokenizer,
    long_text: LongText,
    sample: NDArray[np.bool_] | None = None,
) -> TokenizedTexts:
    asked = np.ones(len(given.errors), dtype=bool) if sample is None else sample
    errors = [error if wanted else None for error, wanted in zip(given.errors, asked, strict=True)]
    places = np.flatnonzero(asked & np.array([error is None for error in errors], dtype=bool))
    texts = given.values.take(pa.array(places))
    different = distinct(texts)
    encoded = tokenizer.encode(texts.take(pa.array(different.firsts)), long_text)
    failed = encoded.failed[different.kinds]
    for place in places[failed]:
        errors[place] = RowError.TOKENIZER_FAILED
    encoded = encoded.take(different.kinds[~failed])
    passages = distinct(rows_as_bytes(encoded.rows))
    return TokenizedTexts(
        errors=errors,
        encoded=encoded,
        places=places[~failed],
        different=passages,
        ids=arrays_of(encoded.rows.take(pa.array(passages.firsts))),
        sample=sample,
    )


def result_rows(
    window: TokenizedWindow,
    models: Mapping[str, Columns],
    *,
    source_file: str,
    all_scores: bool,
) -> pa.Table:
    """Return one result row for each row of the window, in order.

    Args:
        window: The window.
        models: The columns of each model, by the suffix of their names.
        source_file: URI of the file the window is from.
        all_scores: Whether the `scores` columns are wanted.
    """
    row_start, rows = window.row_start, window.rows
    columns = {name: window.ids.column(name) for name in window.ids.column_names}
    columns |= {
        "source_file": pa.repeat(pa.scalar(source_file), rows),
        "source_row": pa.array(np.arange(row_start, row_start + rows, dtype=np.int64)),
    }
    if "" not in models:  # else the error of the row is that of the model with plain names
        columns["error"] = pc.coalesce(*(model["error"] for model in models.values()))
    for suffix, model in models.items():
        columns |= {f"{name}{suffix}": values for name, values in model.items()}
    schema = result_schema(list(window.ids.schema), all_scores=all_scores, suffixes=tuple(models))
    return pa.table([columns[name] for name in schema.names], schema=schema)


def model_columns(
    texts: TokenizedTexts,
    scored: RowScores,
    failures: Mapping[int, RowError],
    *,
    labels: tuple[str, ...],
    all_scores: bool,
) -> Columns:
    """Return what a model says of each row of a window, in order.

    A row that has no score has an error, no label, no tokens and is not truncated; one that the
    model is not asked about has nothing.

    Args:
        texts: What the model was given.
        scored: Scores of the rows in `texts.encoded`, in their order.
        failures: Why one of those rows was not scored, by its place among them.
        labels: Names of the labels by index.
        all_scores: Whether the `scores` column is wanted.
    """
    rows = len(texts.errors)
    if len(scored.finite) != len(texts.places):
        raise AssertionError(
            f"bug: {len(scored.finite)} scores for {len(texts.places)} rows to score"
        )
    errors = list(texts.errors)
    for k in np.flatnonzero(~scored.finite):
        errors[texts.places[k]] = failures.get(int(k), RowError.SCORE_NOT_FINITE)
    places = texts.places[scored.finite]

    def spread(values: NDArray[Any], fill: Any) -> NDArray[Any]:
        """Return the values of the scored rows at their places, `fill` at the others."""
        spread_out = np.full(rows, fill, dtype=values.dtype)
        spread_out[places] = values[scored.finite]
        return spread_out

    label_index = spread(scored.label_index, NO_LABEL)
    unscored = np.ones(rows, dtype=bool)
    unscored[places] = False
    unasked = np.zeros(rows, dtype=bool) if texts.sample is None else ~texts.sample
    columns = {
        "label": pa.array(labels, pa.string()).take(
            pa.array(label_index, mask=label_index == NO_LABEL)
        ),
        "score": pa.array(spread(scored.score, 0), mask=unscored),
        "n_tokens": pa.array(spread(texts.encoded.tokens(), 0), mask=unasked),
        "truncated": pa.array(spread(texts.encoded.truncated, False), mask=unasked),
        "error": pa.array(errors, pa.string()),
    }
    if all_scores:
        columns["scores"] = _lists(scored.scores[scored.finite], unscored)
    return columns


def _lists(scores: NDArray[np.float32], unscored: NDArray[np.bool_]) -> pa.Array:
    """Return one list for each row: the next of `scores` [scored rows, labels], or null."""
    offsets = np.zeros(len(unscored) + 1, dtype=np.int32)
    np.cumsum(~unscored * scores.shape[1], out=offsets[1:])
    nullable = pa.array(offsets, mask=np.append(unscored, False))
    return pa.ListArray.from_arrays(nullable, pa.array(scores.ravel(), pa.float32()))
