"""The way of a chunk: rows out = rows in, one account of them, and no trace of a failed attempt."""

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from schemas import layout
from schemas.errors import DeviceOutOfMemory, InputCorrupt, LeaseLost, StorageUnavailable
from schemas.job import LongText, Manifest
from schemas.results import MODEL_COLUMNS, ResultAccount, read_account
from schemas.storage import Storage
from schemas.trail import PIECE_ROWS, Trail
from support import bad_corpora, corpora
from support.files import limited_to, open_under
from support.scoring import plan_job, result_of, score, score_all, threads_beside
from support.texts import awkward_texts
from support.word_models import MAX_WORDS, REFUSED, WordEngine, WordTokenizer, word_model
from worker.careful import Notes
from worker.encoded import Encoded
from worker.engine import BetweenBatches
from worker.heartbeat import HandBack
from worker.models import LoadedModel
from worker.reader import FIRST_WINDOW_ROWS, WINDOW_ROWS
from worker.tokenizer import Tokenizer
from worker.writer import ResultWriter

TEXTS: list[str | None] = [
    "a good film",
    None,
    f"an {REFUSED} one",
    " ",
    "thirteen-char",
    "so " * 20,
]
ERRORS = [None, "text_null", "tokenizer_failed", "text_blank", "score_not_finite", None]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder in which temporary files of this test come and go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def job_of(tmp_path: Path, texts: list[str | None], **spec: Any) -> Manifest:
    table = corpora.make_table(texts)
    path = corpora.write_table(tmp_path / "corpus.parquet", table, row_group_rows=1_000)
    return plan_job(Storage(), path, tmp_path / "scored", word_model(), **spec)


def different_texts(count: int) -> list[str | None]:
    """Return texts of two words of which no two have the same tokens."""
    return [f"{'a' * (1 + n // 128)} {'b' * (1 + n % 128)}" for n in range(count)]


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
    storage, rows = Storage(), 2 * WINDOW_ROWS + 100
    manifest = job_of(tmp_path, [TEXTS[n % 6] for n in range(rows)], chunk_rows=WINDOW_ROWS + 500)

    accounts = score_all(storage, manifest, word_model())

    table = result_of(storage, manifest)
    assert manifest.chunks > 1
    assert max(account.rows for account in accounts) > WINDOW_ROWS
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
    storage, rows = Storage(), 2 * WINDOW_ROWS
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


def test_progress_is_told_before_each_window_and_between_batches(tmp_path: Path) -> None:
    told: list[int] = []
    rows = FIRST_WINDOW_ROWS + 10
    manifest = job_of(tmp_path, different_texts(rows), chunk_rows=2 * rows)

    score(Storage(), manifest, word_model(), progress=told.append)

    assert told.count(0) == 2
    assert told[:3] == [0, 32, 64]
    assert told[-2:] == [0, 20]


def test_rows_with_the_same_tokens_are_scored_once_and_all_have_the_score(tmp_path: Path) -> None:
    told: list[int] = []
    texts: list[str | None] = ["a good film", "no", "a  good film", None, "a good film"]
    manifest = job_of(tmp_path, texts * 300, chunk_rows=1_500, all_scores=True)

    account = score(Storage(), manifest, word_model(), progress=told.append)

    rows = result_of(Storage(), manifest).to_pylist()
    windows = 2
    assert told == [0, 3 + 1] * windows
    assert account is not None
    assert account.tokens == sum(row["n_tokens"] for row in rows) == 300 * (3 * 3 + 1)
    assert rows[0]["scores"] != rows[1]["scores"]
    assert {str(row["scores"]) for row in rows[0::5]} == {str(rows[0]["scores"])}
    assert {str(row["scores"]) for row in rows[2::5]} == {str(rows[0]["scores"])}


class Choosy(WordEngine):
    """Refuses rows that begin with a word of three letters."""

    def forward(
        self, token_ids: Sequence[NDArray[np.int32]], between: BetweenBatches | None = None
    ) -> NDArray[np.float32]:
        if any(ids[0] == 3 for ids in token_ids):
            raise RuntimeError("refused")
        return super().forward(token_ids, between)


def test_rows_with_the_same_tokens_share_their_error(tmp_path: Path) -> None:
    texts: list[str | None] = ["odd one", "good", None, "odd one", "fine here", "odd one"]
    manifest = job_of(tmp_path, texts)

    account = score(Storage(), manifest, replace(word_model(), engine=Choosy()))

    errors = result_of(Storage(), manifest)["error"].to_pylist()
    refused = "scoring_failed"
    assert account is not None
    assert account.errors == {refused: 3, "text_null": 1}
    assert errors == [refused, None, "text_null", refused, None, refused]


class PairTokenizer(WordTokenizer):
    """Cuts texts into passages of two words where they are asked for."""

    def encode(self, texts: Sequence[str], long_text: LongText = "truncate") -> Encoded:
        found = super().encode(texts)
        pairs = [[ids[i : i + 2] for i in range(0, len(ids), 2)] for ids in found.ids]
        return replace(
            found,
            ids=[pair for text in pairs for pair in text],
            passages=np.array([len(text) for text in pairs]),
        )


def test_a_passage_that_is_refused_is_the_error_of_its_row_alone(tmp_path: Path) -> None:
    texts: list[str | None] = ["so many fine words", "in here odd one", "odd", None, "a good film"]
    model = replace(word_model(), engine=Choosy(), tokenizer=cast("Tokenizer", PairTokenizer()))
    manifest = job_of(tmp_path, texts, long_text="windows")

    account = score(Storage(), manifest, model)

    rows = result_of(Storage(), manifest).to_pylist()
    assert account is not None
    assert account.errors == {"scoring_failed": 2, "text_null": 1}
    refused = "scoring_failed"
    assert [row["error"] for row in rows] == [None, refused, refused, "text_null", None]
    assert [row["n_tokens"] for row in rows] == [4, 0, 0, 0, 3]


def test_rows_are_written_while_the_engine_works_on_the_next_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = FIRST_WINDOW_ROWS + 10
    manifest = job_of(tmp_path, different_texts(rows), chunk_rows=2 * rows)
    windows: list[int] = []
    in_second = threading.Event()
    write = ResultWriter.write

    def progress(tokens: int) -> None:
        if tokens == 0:
            windows.append(tokens)
        if len(windows) == 2:
            in_second.set()

    def patient_write(writer: ResultWriter, rows: pa.Table) -> None:
        assert in_second.wait(10)
        write(writer, rows)

    monkeypatch.setattr(ResultWriter, "write", patient_write)

    account = score(Storage(), manifest, word_model(), progress=progress)

    assert account is not None
    assert account.rows == rows


def test_a_careful_attempt_writes_each_piece_before_the_next_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = job_of(tmp_path, different_texts(3 * PIECE_ROWS))
    events: list[str] = []
    write = ResultWriter.write

    def slow_write(writer: ResultWriter, rows: pa.Table) -> None:
        time.sleep(0.01)
        write(writer, rows)
        events.append("written")

    monkeypatch.setattr(ResultWriter, "write", slow_write)
    notes = Notes(Trail(), lambda trail: events.append(trail.at.stage if trail.at else "end"))

    score(Storage(), manifest, word_model(), notes=notes)

    steps = [event for event in events if event != "reading"]
    assert steps == [*["scoring", "written"] * 3, "writing"]


def fail_in_batch(number: int, error: BaseException) -> Callable[[int], None]:
    def before_batch(batch: int) -> None:
        if batch == number:
            raise error

    return before_batch


@pytest.mark.parametrize("batch", [0, FIRST_WINDOW_ROWS // 16 + 2], ids=["first", "second window"])
@pytest.mark.parametrize(
    "error", [DeviceOutOfMemory("full"), MemoryError(), KeyboardInterrupt()], ids=repr
)
def test_an_engine_that_fails_leaves_nothing_behind(
    tmp_path: Path, scratch: Path, batch: int, error: BaseException
) -> None:
    manifest = job_of(tmp_path, different_texts(12_000), chunk_rows=20_000)
    model = word_model(before_batch=fail_in_batch(batch, error))

    with pytest.raises(type(error)):
        score(Storage(), manifest, model)

    assert_nothing_is_left(tmp_path, scratch)


@pytest.mark.parametrize("error", [HandBack(), LeaseLost("another has it")], ids=repr)
def test_a_chunk_that_is_given_up_between_batches_leaves_nothing_behind(
    tmp_path: Path, scratch: Path, error: Exception
) -> None:
    manifest = job_of(tmp_path, TEXTS * 2_000, chunk_rows=20_000)
    told: list[int] = []

    def progress(tokens: int) -> None:
        told.append(tokens)
        if told.count(0) == 2 and tokens:
            raise error

    with pytest.raises(type(error)):
        score(Storage(), manifest, word_model(), progress=progress)

    assert_nothing_is_left(tmp_path, scratch)


def test_a_page_that_does_not_decode_leaves_nothing_of_the_rows_before_it(
    tmp_path: Path, scratch: Path
) -> None:
    path = bad_corpora.write_damaged_row_group(tmp_path / "corpus.parquet", row_group=2)
    manifest = plan_job(Storage(), path, tmp_path / "scored", word_model(), chunk_rows=500)

    with pytest.raises(InputCorrupt) as raised:
        score(Storage(), manifest, word_model())

    assert raised.value.row_group == 2
    assert_nothing_is_left(tmp_path, scratch)


def test_a_disk_that_is_full_is_trouble_that_may_pass_and_leaves_nothing_behind(
    tmp_path: Path, scratch: Path
) -> None:
    manifest = job_of(tmp_path, TEXTS * 2_000, chunk_rows=20_000)

    with limited_to(20_000), pytest.raises(StorageUnavailable, match="File too large"):
        score(Storage(), manifest, word_model())

    assert_nothing_is_left(tmp_path, scratch)


def test_an_engine_that_gives_too_few_logits_is_a_bug_and_no_result(
    tmp_path: Path, scratch: Path
) -> None:
    manifest = job_of(tmp_path, TEXTS)

    with pytest.raises(AssertionError, match=r"logits of shape \(3, 2\) for 3 rows, 3 labels"):
        score(Storage(), manifest, word_model(label_count=2))

    assert_nothing_is_left(tmp_path, scratch)


def test_a_second_attempt_returns_nothing_and_leaves_the_result_as_it_is(tmp_path: Path) -> None:
    manifest = job_of(tmp_path, TEXTS * 10)
    result = Path(layout.result(manifest.spec.output, 0))
    score(Storage(), manifest, word_model(), attempt=1)
    before = result.read_bytes(), result.stat().st_mtime_ns

    again = score(Storage(), manifest, word_model(), attempt=2)

    assert again is None
    assert (result.read_bytes(), result.stat().st_mtime_ns) == before


def test_two_attempts_at_once_make_one_result_and_one_account(tmp_path: Path) -> None:
    manifest = job_of(tmp_path, TEXTS * 100)
    together = threading.Barrier(2)
    accounts: list[ResultAccount | None] = []

    def attempt(number: int) -> None:
        model = word_model(before_batch=lambda batch: batch or together.wait(10))
        accounts.append(score(Storage(), manifest, model, attempt=number))

    threads = [threading.Thread(target=attempt, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (created,) = [account for account in accounts if account is not None]
    assert len(accounts) == 2
    assert read_account(Storage(), layout.result(manifest.spec.output, 0)) == created


def assert_nothing_is_left(tmp_path: Path, scratch: Path) -> None:
    results = list((tmp_path / "scored").glob("**/*.parquet"))
    assert [path for path in results if not path.name.startswith("chunks-")] == []
    assert list(scratch.iterdir()) == []
    assert threads_beside() == []
    assert open_under(tmp_path) == []


def named(name: str, **changes: Any) -> LoadedModel:
    """Return a word model with a digest of its own; its engine is made with `changes`."""
    model = word_model(**changes)
    pin = model.pin.model_copy(update={"ref": name, "name": name, "digest": name * 8})
    return replace(model, pin=pin)


def two_models(
    tmp_path: Path, texts: list[str | None], first: LoadedModel, second: LoadedModel, **spec: Any
) -> tuple[Manifest, ResultAccount]:
    path = corpora.write_table(tmp_path / "corpus.parquet", corpora.make_table(texts))
    output = tmp_path / "scored" / "two"
    manifest = plan_job(
        Storage(), path, output, first, [second], model_names=("old", "new"), **spec
    )
    account = score(Storage(), manifest, first, beside=[second])
    assert account is not None
    return manifest, account


def columns_of(table: pa.Table, suffix: str) -> list[dict[str, Any]]:
    """Return the columns of a model as they would be if it were the only one."""
    names = {f"{name}{suffix}": name for name in MODEL_COLUMNS}
    shared = ["id", "source_file", "source_row"]
    kept = table.select([n for n in table.column_names if n in shared or n in names])
    return kept.rename_columns([names.get(n, n) for n in kept.column_names]).to_pylist()


def test_each_of_several_models_has_the_columns_that_it_has_alone(tmp_path: Path) -> None:
    first, second = named("a"), named("b", labels=("bad", "good"))

    manifest, account = two_models(tmp_path, TEXTS * 10, first, second, all_scores=True)

    table = result_of(Storage(), manifest)
    for model, suffix in ((first, "_old"), (second, "_new")):
        alone = plan_job(
            Storage(),
            tmp_path / "corpus.parquet",
            tmp_path / "scored" / suffix,
            model,
            all_scores=True,
        )
        assert score(Storage(), alone, model) is not None
        assert columns_of(table, suffix) == result_of(Storage(), alone).to_pylist()
    assert table["error"].to_pylist() == ERRORS * 10
    assert (account.model, account.model_digest) == ("a, b", manifest.model_digest)
    assert account.model_digest not in (first.pin.digest, second.pin.digest)
    assert (account.rows_scored, account.tokens) == (20, 2 * 10 * (3 + MAX_WORDS))
    assert (account.truncated_rows, account.unknown_tokens) == (10, 2 * 20)
    assert [
        (m.name, m.model, m.rows_scored, m.tokens, m.unknown_tokens) for m in account.models
    ] == [
        ("old", "a", 20, 10 * (3 + MAX_WORDS), 20),
        ("new", "b", 20, 10 * (3 + MAX_WORDS), 20),
    ]


@dataclass
class Refusing(WordEngine):
    """Refuses rows of exactly two words, whatever they are together with."""

    def forward(
        self, token_ids: Sequence[NDArray[np.int32]], between: BetweenBatches | None = None
    ) -> NDArray[np.float32]:
        if any(len(ids) == 2 for ids in token_ids):
            raise RuntimeError("two words")
        return super().forward(token_ids, between)


@pytest.mark.parametrize("refusing", [0, 1])
def test_a_row_that_one_model_refuses_is_scored_by_the_other(tmp_path: Path, refusing: int) -> None:
    models = [named("a"), named("b")]
    models[refusing] = replace(models[refusing], engine=Refusing())

    manifest, account = two_models(tmp_path, ["one", "two words", "three words here"], *models)

    rows = result_of(Storage(), manifest).to_pylist()
    refused, other = (("old", "new"), ("new", "old"))[refusing]
    assert [row["error"] for row in rows] == [None, "scoring_failed", None]
    assert [row[f"error_{refused}"] for row in rows] == [None, "scoring_failed", None]
    assert rows[1][f"score_{refused}"] is None
    assert rows[1][f"score_{other}"] is not None
    assert rows[1][f"error_{other}"] is None
    assert (account.rows_scored, account.errors) == (2, {"scoring_failed": 1})
    assert [m.rows_scored for m in account.models] == ([2, 3] if refusing == 0 else [3, 2])


def test_models_with_the_same_tokenizer_read_texts_once(tmp_path: Path) -> None:
    class Counting(WordTokenizer):
        def __init__(self, fingerprint: bytes) -> None:
            self.fingerprint = fingerprint
            self.texts: list[str] = []

        def encode(self, texts: Sequence[str], long_text: LongText = "truncate") -> Encoded:
            self.texts += texts
            return super().encode(texts, long_text)

    def read(*fingerprints: bytes) -> list[int]:
        tokenizers = [Counting(fingerprint) for fingerprint in fingerprints]
        first, second = (
            replace(named(name), tokenizer=cast("Tokenizer", tokenizer))
            for name, tokenizer in zip("ab", tokenizers, strict=True)
        )
        folder = tmp_path / b"-".join(fingerprints).decode()
        two_models(folder, ["one text", "another"], first, second)
        return [tokenizer.texts.count("another") for tokenizer in tokenizers]

    assert read(b"x", b"x") == [1, 0]
    assert read(b"x", b"y") == [1, 1]


def test_progress_over_several_models_never_goes_back(tmp_path: Path) -> None:
    told: list[int] = []
    first, second = named("a"), named("b")
    path = corpora.write_table(
        tmp_path / "corpus.parquet", corpora.make_table(different_texts(100))
    )
    manifest = plan_job(
        Storage(), path, tmp_path / "scored", first, [second], model_names=("old", "new")
    )

    account = score(Storage(), manifest, first, beside=[second], progress=told.append)

    assert account is not None
    assert told == sorted(told)
    assert told[-1] == account.tokens == 400
