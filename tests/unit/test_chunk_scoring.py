"""How the rows of a chunk are scored: equal ones once, window by window, piece by piece."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from schemas.job import LongText
from schemas.storage import Storage
from schemas.trail import PIECE_ROWS, Trail
from support.chunk_jobs import different_texts, job_of
from support.scoring import result_of, score
from support.word_models import WordEngine, WordTokenizer, word_model
from worker.careful import Notes
from worker.encoded import Encoded, lists_of
from worker.engine import BetweenBatches
from worker.reader import FIRST_WINDOW_ROWS
from worker.tokenizer import Tokenizer
from worker.writer import ResultWriter


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
            rows=lists_of([pair for text in pairs for pair in text]),
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
