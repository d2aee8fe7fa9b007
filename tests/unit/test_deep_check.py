"""A sampled row is held to what the model gives: how far it may be off, and what is sampled."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from producer.deep_check import TOLERANCES, difference
from producer.row_sample import ChunkSample, ResultRow, sample_rows
from schemas import layout
from schemas.chunks import Chunk, ChunkTable
from schemas.errors import RowError
from schemas.job import Manifest, ModelPin, ProblemType
from schemas.rescore import RescoredRow
from schemas.results import result_schema
from schemas.storage import Storage
from support.stored_jobs import account_of, make_manifest, result_bytes

FP32 = TOLERANCES["fp32"]


def model(problem_type: ProblemType = "single_label_classification", *labels: str) -> ModelPin:
    return ModelPin(
        ref="m",
        name="m",
        uri="/m",
        digest="0" * 64,
        files=(),
        model_type="bert",
        problem_type=problem_type,
        labels=labels or ("negative", "positive"),
        max_length=128,
    )


def kept(**changes: Any) -> ResultRow:
    values: dict[str, Any] = {
        "source_row": 7,
        "label": "positive",
        "score": 0.75,
        "n_tokens": 9,
        "truncated": False,
        "error": None,
    }
    return ResultRow(**{**values, **changes})


def again(*scores: float, **changes: Any) -> RescoredRow:
    return RescoredRow(**{"row": 7, "scores": scores, "n_tokens": 9, **changes})


@pytest.mark.parametrize(
    ("row", "given"),
    [
        (kept(), again(0.25, 0.75)),
        (kept(), again(0.24991, 0.75009)),
        (kept(label="negative", score=0.5), again(0.49999, 0.50001)),
        (kept(scores=[0.25, 0.75]), again(0.25, 0.75)),
        (
            kept(label=None, score=None, n_tokens=0, error="text_null"),
            RescoredRow(row=7, error=RowError.TEXT_NULL),
        ),
    ],
    ids=["equal", "a little off", "a tie", "all scores", "the same error"],
)
def test_what_the_model_gives_within_the_tolerance_is_no_difference(
    row: ResultRow, given: RescoredRow
) -> None:
    assert difference(row, given, model(), tolerance=FP32) is None


@pytest.mark.parametrize(
    ("row", "given", "says"),
    [
        (kept(), again(0.2, 0.8), "positive 0.75 instead of positive 0.8"),
        (kept(), again(0.75, 0.25), "positive 0.75 instead of negative 0.75"),
        (kept(score=0.49), again(0.51, 0.49), "positive 0.49 instead of negative 0.51"),
        (kept(label="other"), again(0.25, 0.75), "other 0.75 instead of positive"),
        (kept(label=None), again(0.25, 0.75), "None 0.75 instead of positive"),
        (kept(score=None), again(0.25, 0.75), "positive None instead of positive"),
        (kept(score=float("nan")), again(0.25, 0.75), "positive nan instead of positive"),
        (kept(scores=[0.3, 0.75]), again(0.25, 0.75), "positive 0.75 instead of"),
        (kept(scores=[0.75]), again(0.25, 0.75), "positive 0.75 instead of"),
        (kept(n_tokens=8), again(0.25, 0.75), "8 tokens instead of 9 tokens"),
        (kept(truncated=True), again(0.25, 0.75), "9 tokens, truncated instead of 9 tokens"),
        (
            kept(label=None, score=None, n_tokens=0, error="text_null"),
            again(0.25, 0.75),
            "error text_null instead of 9 tokens",
        ),
        (
            kept(),
            RescoredRow(row=7, error=RowError.TEXT_BLANK),
            "9 tokens instead of error text_blank",
        ),
    ],
)
def test_another_label_score_length_or_error_is_told(
    row: ResultRow, given: RescoredRow, says: str
) -> None:
    assert says in str(difference(row, given, model(), tolerance=FP32))


def test_a_result_in_bf16_may_be_further_off() -> None:
    row, given = kept(), again(0.27, 0.73)

    assert difference(row, given, model(), tolerance=TOLERANCES["bf16"]) is None
    assert difference(row, given, model(), tolerance=TOLERANCES["fp16"])
    assert difference(row, given, model(), tolerance=FP32)


@pytest.mark.parametrize(("value", "differs"), [(1000.05, False), (1000.2, True)])
def test_the_value_of_a_regression_may_be_off_by_so_much_of_itself(
    value: float, differs: bool
) -> None:
    row = kept(label=None, score=value)

    found = difference(row, again(1000.0), model("regression", "value"), tolerance=FP32)

    assert (found is not None) == differs


ROWS = 100


class Sampled:
    """A job of chunks of 100 rows, with results of texts of 3 to 102 tokens."""

    def __init__(self, folder: Path, chunks: int) -> None:
        self.storage = Storage()
        self.chunks = ChunkTable.from_chunks(
            Chunk(index=n, file=0, row_start=n * ROWS, rows=ROWS, text_bytes=1_000)
            for n in range(chunks)
        )
        self.manifest: Manifest = make_manifest(str(folder), self.chunks, "job")

    def store(self, chunk: int, errors: dict[int, str] | None = None, dtype: str = "fp32") -> None:
        error = [(errors or {}).get(row) for row in range(ROWS)]
        scored = [code is None for code in error]
        lengths = np.random.default_rng(chunk).permutation(ROWS) + 3
        first = chunk * ROWS
        columns: dict[str, list[Any]] = {
            "source_file": ["corpus.parquet"] * ROWS,
            "source_row": list(range(first, first + ROWS)),
            "label": ["positive" if fine else None for fine in scored],
            "score": [0.5 if fine else None for fine in scored],
            "n_tokens": np.where(scored, lengths, 0).tolist(),
            "truncated": [False] * ROWS,
            "error": error,
        }
        table = pa.table(columns, schema=result_schema([], all_scores=False))
        account = account_of(chunk, rows=ROWS, rows_scored=sum(scored), dtype=dtype)
        uri = layout.result(self.manifest.spec.output, chunk)
        self.storage.create(uri, result_bytes(table, account))

    def sample(self, results: list[int], rows: int, seed: int = 0) -> list[ChunkSample]:
        found = sample_rows(self.storage, self.manifest, self.chunks, results, rows=rows, seed=seed)
        return list(found)


@pytest.fixture
def scored(tmp_path: Path) -> Sampled:
    job = Sampled(tmp_path, chunks=40)
    for chunk in range(40):
        job.store(chunk, dtype="bf16" if chunk == 39 else "fp32")
    return job


def test_a_sample_is_spread_over_chunks_and_over_lengths(scored: Sampled) -> None:
    sample = scored.sample(list(range(40)), rows=40)

    assert [len(chunk.rows) for chunk in sample] == [4] * 10
    assert [chunk.chunk // 4 for chunk in sample] == list(range(10))
    for chunk in sample:
        shortest, *between, longest = sorted(row.n_tokens for row in chunk.models[0].rows.values())
        assert longest == ROWS + 2
        assert shortest < 3 + ROWS // 3 < between[0] + 1
        assert all(row // ROWS == chunk.chunk for row in chunk.rows)


def test_the_same_seed_samples_the_same_rows_and_another_one_others(scored: Sampled) -> None:
    everything = list(range(40))

    first = scored.sample(everything, rows=30)

    assert sum(len(chunk.rows) for chunk in first) == 30
    assert scored.sample(everything, rows=30) == first
    assert scored.sample(everything, rows=30, seed=1) != first


def test_few_chunks_give_more_rows_each_and_no_more_than_they_have(scored: Sampled) -> None:
    assert [len(chunk.rows) for chunk in scored.sample([3, 39], rows=41)] == [21, 20]
    assert [len(chunk.rows) for chunk in scored.sample([3, 39], rows=900)] == [ROWS, ROWS]
    assert [chunk.models[0].dtype for chunk in scored.sample([3, 39], rows=10)] == ["fp32", "bf16"]
    assert len(scored.sample([3, 39], rows=1)) == 1
    assert scored.sample([], rows=10) == []


def test_only_errors_of_the_text_itself_are_sampled(tmp_path: Path) -> None:
    job = Sampled(tmp_path, chunks=1)
    codes = list(RowError)
    job.store(0, errors=dict(enumerate(codes)))

    (sample,) = job.sample([0], rows=ROWS)

    sampled = {row.error for row in sample.models[0].rows.values()}
    assert sampled == {
        None,
        "text_null",
        "text_blank",
        "text_invalid_utf8",
        "tokenizer_failed",
    }


def test_results_that_cannot_be_used_are_left_out(scored: Sampled, tmp_path: Path) -> None:
    damaged, of_another = (Path(layout.result(str(tmp_path), chunk)) for chunk in (0, 1))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    of_another.write_bytes(Path(layout.result(str(tmp_path), 5)).read_bytes())

    assert [chunk.chunk for chunk in scored.sample([0, 1, 2, 3], rows=16)] == [2, 3]
