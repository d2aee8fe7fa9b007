"""Every row of a chunk has one row in its result, and one account adds them up."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from schemas import layout
from schemas.results import ResultAccount, read_account
from schemas.storage import Storage
from support import corpora
from support.chunk_jobs import ERRORS, TEXTS, job_of
from support.scoring import plan_job, result_of, score, score_all
from support.texts import awkward_texts
from support.word_models import MAX_WORDS, word_model
from worker.reader import CPU_WINDOW


def test_the_account_adds_up_and_lies_in_the_footer_of_the_result(tmp_path: Path) -> None:
    manifest = job_of(tmp_path, TEXTS * 10, chunk_rows=100)

    account = score(Storage(), manifest, word_model(), attempt=3)

    assert account == read_account(Storage(), layout.result(manifest.spec.output, 0))
    assert account is not None
    assert account.model_copy(update={"seconds": 0.0, "stages": {}}) == ResultAccount(
        job_id="job",
        chunk=0,
        generation=2,
        attempt=3,
        model="words",
        model_digest="0" * 64,
        rows=60,
        rows_scored=20,
        errors={
            "score_not_finite": 10,
            "text_blank": 10,
            "text_null": 10,
            "tokenizer_failed": 10,
        },
        tokens=10 * 3 + 10 * MAX_WORDS,
        truncated_rows=10,
        unknown_tokens=10 * 2,  # "good film"
        seconds=0.0,
        worker="w@test",
        device="cpu",
        dtype="fp32",
        libraries={"words": "1"},
    )


def test_rows_of_many_windows_and_chunks_come_out_in_the_order_they_came_in(
    tmp_path: Path,
) -> None:
    storage, rows = Storage(), 2 * CPU_WINDOW.rows + 100
    manifest = job_of(
        tmp_path, [TEXTS[n % 6] for n in range(rows)], chunk_rows=CPU_WINDOW.rows + 500
    )

    accounts = score_all(storage, manifest, word_model())

    table = result_of(storage, manifest)
    assert manifest.chunks > 1
    assert max(account.rows for account in accounts) > CPU_WINDOW.rows
    assert table["id"].to_pylist() == [f"doc-{n:06}" for n in range(rows)]
    assert table["source_row"].to_pylist() == list(range(rows))
    assert table["error"].to_pylist() == [ERRORS[n % 6] for n in range(rows)]
    assert sum(account.rows_scored for account in accounts) == table["score"].drop_null().length()
    assert sum(account.tokens for account in accounts) == sum(table["n_tokens"].to_pylist())


def test_a_chunk_without_a_single_row_to_score_is_a_result_like_any_other(tmp_path: Path) -> None:
    manifest = job_of(tmp_path, [None, "", " "] * 5, all_scores=True)

    account = score(Storage(), manifest, word_model())

    assert account is not None
    assert (account.rows, account.rows_scored, account.tokens) == (15, 0, 0)
    assert result_of(Storage(), manifest)["scores"].null_count == 15


@pytest.mark.parametrize(
    "write",
    [
        corpora.write_awkward_texts,
        corpora.write_empty_row_groups,
        corpora.write_one_row_row_groups,
        corpora.write_nested_columns,
        corpora.write_duplicate_ids,
        corpora.write_invalid_utf8,
    ],
)
def test_unusual_files_have_a_result_row_for_every_row(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    storage, path = Storage(), write(tmp_path / "corpus.parquet")
    manifest = plan_job(storage, path, tmp_path / "scored", word_model(), chunk_rows=15)

    accounts = score_all(storage, manifest, word_model())

    rows = result_of(storage, manifest).num_rows
    assert rows == manifest.rows == sum(account.rows for account in accounts)
    for account in accounts:
        assert account.rows == account.rows_scored + sum(account.errors.values())


def test_every_awkward_text_has_its_code_or_a_score(tmp_path: Path) -> None:
    storage, path = Storage(), corpora.write_awkward_texts(tmp_path / "corpus.parquet")
    manifest = plan_job(storage, path, tmp_path / "scored", word_model())

    score_all(storage, manifest, word_model())

    rows = {row["id"]: row for row in result_of(storage, manifest).to_pylist()}
    blank = {name: "text_blank" for name in ("empty", "spaces", "white_space")}
    expected = {"null": "text_null", **blank}
    assert list(rows) == list(awkward_texts())
    assert {name: row["error"] for name, row in rows.items() if row["error"]} == expected
    assert all((row["score"] is None) == (row["error"] is not None) for row in rows.values())


def test_ids_in_dictionaries_and_nested_ids_keep_type_and_values(tmp_path: Path) -> None:
    storage, rows = Storage(), 2 * CPU_WINDOW.rows
    ids = {
        "kind": pa.array([["a", None, f"k{n % 700}"][n % 3] for n in range(rows)]),
        "place": pa.array([{"x": [n], "y": None} if n % 2 else None for n in range(rows)]),
    }
    table = pa.table({**ids, "text": ["good"] * rows})
    table = table.set_column(0, "kind", table["kind"].dictionary_encode())
    path = corpora.write_table(tmp_path / "corpus.parquet", table, row_group_rows=900)
    manifest = plan_job(
        storage, path, tmp_path / "scored", word_model(), id_columns=tuple(ids), chunk_rows=rows
    )

    score_all(storage, manifest, word_model())

    found = result_of(storage, manifest)
    assert manifest.chunks == 1
    assert found.schema.field("kind").type == table.schema.field("kind").type
    assert found.schema.field("place").type == table.schema.field("place").type
    assert found.select(list(ids)).to_pylist() == table.select(list(ids)).to_pylist()
