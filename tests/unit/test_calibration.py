"""The token budget is found where that pays, kept, and never at the cost of a job."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.errors import DeviceOutOfMemory, LeaseLost
from worker.engine import RowOutOfMemory, calibrating
from worker.engine.calibrating import WORK_BEFORE, CalibratingEngine
from worker.engine.calibration import (
    GOOD_ENOUGH,
    ROUNDS,
    bytes_per_token,
    choose,
    measure,
    most_tokens,
    rows_of,
    typical_lengths,
    typical_rows,
)
from worker.engine.calibrations import Calibration, CalibrationFile

IDS = np.arange(1, 101, dtype=np.int32)
BUDGETS = (64, 128, 256)
CPU = torch.device("cpu")


class Engine:
    """Takes a time for each token that depends on its budget; no more than `room` tokens fit."""

    label_count, device, dtype = 2, "cpu", "fp32"

    def __init__(self, seconds: dict[int, float], *, room: int = 1 << 30) -> None:
        self.seconds = seconds
        self.room = room
        self.token_budget = 128
        self.now = 0.0
        self.scored = 0

    def forward(self, token_ids: Sequence[np.ndarray], between: object = None) -> np.ndarray:
        tokens = sum(map(len, token_ids))
        while self.token_budget > self.room:
            self.token_budget //= 2
        self.now += tokens * self.seconds.get(self.token_budget, 1.0)
        self.scored += tokens
        return np.zeros((len(token_ids), self.label_count), dtype=np.float32)

    def clock(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "CANDIDATES", {"cpu": BUDGETS})


@pytest.fixture
def file(tmp_path: Path) -> CalibrationFile:
    return CalibrationFile(tmp_path, digest="d", dtype="fp32", device="a processor")


def calibrating_engine(
    engine: Engine,
    file: CalibrationFile,
    monkeypatch: pytest.MonkeyPatch,
    device: torch.device = CPU,
    longest: int = 32,
) -> CalibratingEngine:
    def timed(*args: object, **options: object) -> dict[int, float]:
        return measure(*args, **options, clock=engine.clock)  # type: ignore[arg-type]

    monkeypatch.setattr(calibrating, "measure", timed)
    return CalibratingEngine(engine, file, device=device, longest=longest)  # type: ignore[arg-type]


def work(engine: CalibratingEngine, tokens: int) -> None:
    engine.forward(rows_of([32] * (tokens // 32), IDS))


ENOUGH = WORK_BEFORE * ROUNDS * len(BUDGETS) * BUDGETS[-1]
FASTEST_AT_256 = {64: 2.0, 128: 1.5, 256: 1.0}


def test_the_rows_have_the_lengths_of_a_mixed_corpus() -> None:
    lengths = typical_lengths(512)

    assert 46 <= np.median(lengths) <= 48
    assert 110 <= lengths.mean() <= 120
    assert 370 <= np.quantile(lengths, 0.9) <= 410
    assert typical_lengths(64).max() == 64


def test_the_rows_have_about_the_tokens_that_were_asked_for_and_neighbours_like_lengths() -> None:
    rows = typical_rows(4_096, 512, IDS)

    tokens = [len(row) for row in rows]
    assert 4_096 <= sum(tokens) <= 4_096 + 4 * 512
    assert len(set(tokens)) < len(tokens) / 2
    assert all(set(row.tolist()) <= set(IDS.tolist()) for row in rows)


def test_the_smallest_budget_that_is_about_as_good_as_the_best_is_chosen() -> None:
    just_enough = 100 * GOOD_ENOUGH + 0.01

    assert choose({1: 50, 2: just_enough, 4: 100, 8: 99}) == 2
    assert choose({1: 50, 2: 100 * GOOD_ENOUGH - 0.01, 4: 100}) == 4


def test_what_a_token_takes_leaves_out_what_every_batch_takes() -> None:
    token_bytes = bytes_per_token((8_000, 500_000_000), (16_000, 900_000_000))

    assert token_bytes == 50_000
    assert most_tokens(token_bytes, 10_000_000_000) == 160_000
    assert most_tokens(token_bytes, 10) == 1


def test_other_programs_that_slow_a_round_down_do_not_change_the_rates() -> None:
    engine = Engine(FASTEST_AT_256)
    paused = iter([0, 1_000, 0] + [0] * 20)

    def pause() -> None:
        engine.now += next(paused)  # before the clock is read

    rates = measure(engine, BUDGETS, rows_of([16] * 16, IDS), pause=pause, clock=engine.clock)

    assert rates == {64: 0.5, 128: pytest.approx(1 / 1.5), 256: 1.0}


def test_an_engine_that_has_been_busy_finds_its_budget_for_less_than_a_twentieth_of_the_work(
    file: CalibrationFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = Engine(FASTEST_AT_256)
    engine = calibrating_engine(inner, file, monkeypatch)

    work(engine, ENOUGH - 320)
    work(engine, 320)
    assert (engine.token_budget, inner.scored) == (128, ENOUGH)
    work(engine, 64)

    assert engine.token_budget == 256
    spent = inner.scored - ENOUGH - 64
    assert 0 < spent < 1.6 * ENOUGH / WORK_BEFORE  # tiny bands end with a row too many each
    before = inner.scored
    work(engine, 64)
    assert inner.scored == before + 64


def test_a_calibration_is_kept_for_the_next_engine(
    file: CalibrationFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    work(calibrating_engine(Engine(FASTEST_AT_256), file, monkeypatch), ENOUGH)
    first = calibrating_engine(Engine(FASTEST_AT_256), file, monkeypatch)
    assert first.token_budget == 128  # too little was done for one

    engine = calibrating_engine(Engine(FASTEST_AT_256), file, monkeypatch)
    work(engine, ENOUGH)
    work(engine, 64)

    assert calibrating_engine(Engine({}), file, monkeypatch).token_budget == 256
    other = CalibrationFile(tmp_path, digest="other", dtype="fp32", device="a processor")
    assert calibrating_engine(Engine({}), other, monkeypatch).token_budget == 128
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"{", b'{"token_budget": 0, "rates": {}}', b"\xff"])
def test_a_damaged_calibration_is_made_again(
    content: bytes, file: CalibrationFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file.write(Calibration(token_budget=256, rates={256: 1.0}))
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)

    engine = calibrating_engine(Engine(FASTEST_AT_256), file, monkeypatch)
    assert engine.token_budget == 128
    work(engine, ENOUGH)
    work(engine, 64)

    assert file.read() is not None
    assert engine.token_budget == 256


def test_a_folder_that_cannot_be_written_to_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    file = CalibrationFile(tmp_path / "file", digest="d", dtype="fp32", device="a processor")

    engine = calibrating_engine(Engine(FASTEST_AT_256), file, monkeypatch)
    work(engine, ENOUGH)
    with caplog.at_level(logging.WARNING):
        work(engine, 64)

    assert engine.token_budget == 256
    assert "is not kept" in caplog.text


def test_a_budget_that_does_not_fit_the_memory_is_not_chosen(
    file: CalibrationFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = calibrating_engine(Engine(FASTEST_AT_256, room=128), file, monkeypatch)
    work(engine, ENOUGH)

    work(engine, 64)

    assert engine.token_budget == 128


def test_an_engine_whose_default_did_not_fit_keeps_what_it_has_learnt(
    file: CalibrationFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = calibrating_engine(Engine(FASTEST_AT_256, room=64), file, monkeypatch)
    work(engine, ENOUGH)

    work(engine, 64)

    assert engine.token_budget == 64
    assert list(tmp_path.iterdir()) == []


def test_a_row_of_the_calibration_that_does_not_fit_is_no_row_of_the_job(
    file: CalibrationFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(Engine):
        def forward(self, token_ids: Sequence[np.ndarray], between: object = None) -> np.ndarray:
            if self.token_budget != 128:
                raise DeviceOutOfMemory("a row does not fit")
            return super().forward(token_ids)

    engine = calibrating_engine(Small(FASTEST_AT_256), file, monkeypatch)
    work(engine, ENOUGH)

    work(engine, 64)

    assert engine.token_budget == 128


def test_a_chunk_that_must_be_given_up_ends_the_calibration_and_the_next_one_makes_it(
    file: CalibrationFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = Engine(FASTEST_AT_256)
    engine = calibrating_engine(inner, file, monkeypatch)
    work(engine, ENOUGH)

    def lost(_tokens: int) -> None:
        raise LeaseLost("another attempt owns the chunk now")

    with pytest.raises(LeaseLost):
        engine.forward(rows_of([32], IDS), lost)
    assert (engine.token_budget, inner.scored) == (128, ENOUGH)

    work(engine, 64)
    assert engine.token_budget == 256


class Memory:
    """Stands in for what a GPU says of its memory: each token of a batch takes 1,000 bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, free: int) -> None:
        self.peak = 0
        monkeypatch.setattr(calibrating, "CANDIDATES", {"cuda": BUDGETS})
        monkeypatch.setattr(calibrating, "free_memory", lambda _device: free)
        monkeypatch.setattr(calibrating, "peak_memory", self._measured)

    @contextmanager
    def _measured(self, _device: torch.device) -> Iterator[Callable[[], int]]:
        self.peak = 0
        yield lambda: self.peak + 50_000


def gpu_engine(
    memory: Memory, file: CalibrationFile, monkeypatch: pytest.MonkeyPatch, longest: int = 32
) -> CalibratingEngine:
    class Gpu(Engine):
        def forward(self, token_ids: Sequence[np.ndarray], between: object = None) -> np.ndarray:
            if any(len(row) > 32 for row in token_ids):
                raise RowOutOfMemory("a row does not fit", 0)
            memory.peak = max(memory.peak, 1_000 * min(sum(map(len, token_ids)), self.token_budget))
            return super().forward(token_ids)

    inner = Gpu(FASTEST_AT_256)
    engine = calibrating_engine(inner, file, monkeypatch, torch.device("cuda"), longest)
    work(engine, ENOUGH)
    return engine


@pytest.mark.parametrize(("free", "budget"), [(1_000_000, 256), (200_000, 128)])
def test_no_budget_is_chosen_that_the_free_memory_has_no_room_for(
    free: int, budget: int, file: CalibrationFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = gpu_engine(Memory(monkeypatch, free=free), file, monkeypatch)

    work(engine, 64)

    kept = file.read()
    assert kept is not None
    assert (kept.token_budget, kept.token_bytes) == (budget, 1_000)
    assert engine.token_budget == budget


def test_a_kept_budget_is_bounded_by_the_memory_that_is_free_now(
    file: CalibrationFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(Calibration(token_budget=256, rates={256: 1.0}, token_bytes=1_000))

    engine = gpu_engine(Memory(monkeypatch, free=100_000), file, monkeypatch)

    assert engine.token_budget == 80


def test_memory_that_has_no_room_for_the_longest_row_leaves_the_default(
    file: CalibrationFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = gpu_engine(Memory(monkeypatch, free=1_000_000), file, monkeypatch, longest=4_096)

    work(engine, 64)

    assert engine.token_budget == 128
    assert file.read() is None
