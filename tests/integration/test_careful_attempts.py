"""Careful attempts against a real ledger; the death of a process is a KeyboardInterrupt here.

Like a death it passes through everything that could tell the ledger how the attempt ended.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
import redis
from numpy.typing import NDArray

from schemas import layout
from schemas.dead_letter import DeadLetter
from schemas.errors import DeviceFailed, DeviceOutOfMemory
from schemas.ledger import Ledger
from schemas.message import ChunkMessage
from schemas.settings import ScheduleSettings, WorkerSettings
from schemas.states import ChunkState
from schemas.storage import Storage
from schemas.trail import MAX_LOST, Place, Trail
from support.corpora import make_table, write_table
from support.scoring import plan_job, score
from support.word_models import WordEngine, word_model
from worker.engine import BetweenBatches
from worker.models import LoadedModel, ModelCache
from worker.runner import ChunkRunner

pytestmark = pytest.mark.integration

ROWS = 150
ROW_GROUP_ROWS = 60
MAX_ATTEMPTS = 2
SCHEDULE = ScheduleSettings(max_attempts=MAX_ATTEMPTS, retry_base_seconds=0.01)
# A first word of so many letters makes a row one that kills, breaks the device, or is refused.
KILLER, BREAKER, REFUSED = 17, 18, 19


class DangerousEngine(WordEngine):
    """Does what the first word of a row says."""

    def forward(
        self, token_ids: Sequence[NDArray[np.int32]], between: BetweenBatches | None = None
    ) -> NDArray[np.float32]:
        first_words = {int(ids[0]) for ids in token_ids}
        if KILLER in first_words:
            raise KeyboardInterrupt
        if BREAKER in first_words:
            raise DeviceFailed("cuda:0 failed")
        if REFUSED in first_words:
            raise RuntimeError("refused")
        return super().forward(token_ids, between)


class OneModel:
    """Stands for the cache of models: always has this one."""

    def __init__(self, **engine: Any) -> None:
        self.model = word_model()
        object.__setattr__(self.model, "engine", DangerousEngine(**engine))

    def get(self, *_args: object, **_options: object) -> LoadedModel:
        return self.model


class Bench:
    """A job of one chunk and a worker whose deaths are survived."""

    def __init__(self, folder: Path, ledger: Ledger, words: dict[int, int]) -> None:
        self.folder, self.ledger = folder, ledger
        self.storage = Storage()
        texts = ["a good film"] * ROWS
        for row, letters in words.items():
            texts[row] = "x" * letters
        corpus = write_table(
            folder / "corpus.parquet", make_table(texts), row_group_rows=ROW_GROUP_ROWS
        )
        self.manifest = plan_job(self.storage, corpus, folder / "scored", word_model())
        ledger.open(
            "job",
            output=self.manifest.spec.output,
            priority="normal",
            chunks=self.manifest.chunks,
            rows=ROWS,
        )
        self.ended: list[str] = []
        self.deaths = 0

    def runner(self, models: OneModel | None = None, **options: Any) -> ChunkRunner:
        """Return the runner of a process that has just started."""
        given: dict[str, Any] = {
            "storage": self.storage,
            "draining": lambda: False,
            "end_process": lambda: self.ended.append("process"),
            **options,
        }
        return ChunkRunner(
            ledger=self.ledger,
            models=cast("ModelCache", models or OneModel()),
            schedule=SCHEDULE,
            settings=WorkerSettings(),
            worker="w@test",
            **given,
        )

    def attempt(self, models: OneModel | None = None, **options: Any) -> str:
        """Make one attempt in a process of its own."""
        message = ChunkMessage(job_id="job", chunk=0, generation=0)
        try:
            return self.runner(models, **options).run(message)
        except KeyboardInterrupt:
            self.deaths += 1
            return "died"

    def attempts(self, models: OneModel | None = None, **options: Any) -> list[str]:
        """Make attempts until the chunk is done, and return how each ended."""
        outcomes: list[str] = []
        while outcomes[-1:] not in (["succeeded"], ["dead"]):
            outcome = self.attempt(models, **options)
            if outcome == "busy":
                time.sleep(0.01)
            else:
                outcomes.append(outcome)
        return outcomes

    @property
    def errors(self) -> dict[int, str]:
        rows = pq.read_table(layout.result(self.manifest.spec.output, 0))
        assert rows["source_row"].to_pylist() == list(range(ROWS))
        return {row: error for row, error in enumerate(rows["error"].to_pylist()) if error}

    def letter(self) -> DeadLetter:
        uri = layout.dead_letter(self.manifest.spec.output, 0, 0)
        return DeadLetter.model_validate_json(self.storage.read(uri))


Make = Callable[[dict[int, int]], Bench]


@pytest.fixture
def bench(tmp_path: Path, ledger: Ledger) -> Make:
    return lambda words: Bench(tmp_path, ledger, words)


def trail_of(server: redis.Redis) -> Trail:
    return Trail.model_validate_json(cast("str", server.hget("bulkscore:trails:job", "0")))


@pytest.mark.parametrize("killers", [[0], [149], [59, 60], [31, 32, 33], [5, 70, 71, 148]], ids=str)
def test_rows_that_kill_are_found_and_all_others_scored(
    bench: Make, killers: list[int], server: redis.Redis
) -> None:
    job = bench(dict.fromkeys(killers, KILLER))

    outcomes = job.attempts()

    assert outcomes[-1] == "succeeded"
    assert set(outcomes[:-1]) == {"died"}
    assert job.errors == dict.fromkeys(killers, "killed_worker")
    assert job.deaths <= MAX_ATTEMPTS + 3 * len(killers)
    assert server.exists("bulkscore:trails:job") == 0


def test_a_careful_attempt_gives_every_row_what_an_ordinary_one_gives(
    bench: Make, tmp_path: Path
) -> None:
    job = bench({n: n % 12 + 1 for n in range(ROWS)})
    result = Path(layout.result(job.manifest.spec.output, 0))
    score(job.storage, job.manifest, word_model())
    ordinary = pq.read_table(result)
    result.unlink()
    for number in range(MAX_ATTEMPTS):
        begin(job.ledger, f"t{number}")

    assert job.attempts() == ["succeeded"]

    assert pq.read_table(result).equals(ordinary)


def test_a_row_that_breaks_the_device_is_found_by_processes_that_end_themselves(
    bench: Make,
) -> None:
    job = bench({77: BREAKER})

    outcomes = job.attempts()

    assert outcomes == ["retrying"] * (MAX_ATTEMPTS + 3) + ["succeeded"]
    assert job.ended == ["process"] * (MAX_ATTEMPTS + 3)
    assert job.errors == {77: "killed_worker"}


def test_rows_that_are_refused_are_told_from_rows_that_kill(bench: Make) -> None:
    job = bench({0: REFUSED, 3: KILLER, 100: REFUSED})

    job.attempts()

    assert job.errors == {0: "scoring_failed", 3: "killed_worker", 100: "scoring_failed"}


def test_an_attempt_that_is_handed_back_is_no_death_and_keeps_what_is_known(
    bench: Make, server: redis.Redis
) -> None:
    job = bench({40: KILLER})
    for _ in range(MAX_ATTEMPTS + 1):
        job.attempt()

    outcome = job.attempt(draining=lambda: True)

    assert outcome == "handed_back"
    assert trail_of(server).model_dump(include={"at", "deaths", "suspects"}) == {
        "at": None,
        "deaths": 1,
        "suspects": ((32, 60),),
    }
    assert server.hget("bulkscore:attempts:job", "0") == str(MAX_ATTEMPTS + 1)
    job.attempts()
    assert job.errors == {40: "killed_worker"}
    assert job.deaths == MAX_ATTEMPTS + 3


def test_errors_in_careful_attempts_are_tried_again_as_often_as_in_any_other(
    bench: Make, server: redis.Redis
) -> None:
    job = bench({40: KILLER})
    for _ in range(MAX_ATTEMPTS + 1):
        job.attempt()

    def full(_batch: int) -> None:
        raise DeviceOutOfMemory("full")

    outcomes = job.attempts(OneModel(before_batch=full))

    assert outcomes == ["retrying"] * (MAX_ATTEMPTS - 1) + ["dead"]
    assert job.letter().code == "device_out_of_memory"


def test_a_chunk_that_kills_before_any_row_is_buried_after_a_few_deaths(bench: Make) -> None:
    class KillingModel(OneModel):
        def get(self, *_args: object, **_options: object) -> LoadedModel:
            raise KeyboardInterrupt

    job = bench({})

    outcomes = job.attempts(KillingModel())

    assert outcomes == ["died"] * (MAX_ATTEMPTS + MAX_LOST) + ["dead"]
    letter = job.letter()
    assert (letter.code, letter.first_bad_row, letter.row_group) == ("poison", None, None)
    assert "3 careful attempts killed it, the last one while opening" in letter.message
    assert job.ledger.state_of("job", 0) is ChunkState.DEAD


def test_a_page_that_kills_is_named_by_its_row_group(bench: Make) -> None:
    class KillingStorage(Storage):
        """Dies when the corpus is opened for the third time: for its second row group."""

        opened = 0

        def open(self, uri: str, **options: Any) -> Any:
            self.opened += uri.endswith("corpus.parquet")
            if self.opened == 3:
                raise KeyboardInterrupt
            return super().open(uri, **options)

    job = bench({})
    for number in range(MAX_ATTEMPTS):
        begin(job.ledger, f"t{number}")

    outcomes = [job.attempt(storage=KillingStorage()) for _ in range(MAX_LOST)]
    outcomes += job.attempts()

    assert outcomes == ["died"] * MAX_LOST + ["dead"]
    assert job.letter().row_group == 1
    assert "reading row group 1, rows 60 to 119" in job.letter().message


def test_a_dead_letter_says_which_rows_are_known_to_kill(bench: Make) -> None:
    job = bench({})
    for number in range(MAX_ATTEMPTS):
        begin(job.ledger, f"t{number}")
    place = Place(stage="scoring", start=140, stop=141)
    trail = Trail(at=place, deaths=47, lost=1, bad=(90, 12))
    job.ledger.note("job", 0, token=f"t{MAX_ATTEMPTS - 1}", trail=trail.model_dump_json())

    assert job.attempts() == ["dead"]

    assert job.letter().first_bad_row == 12
    assert "48 careful attempts killed it, the last one while scoring" in job.letter().message
    assert "rows that kill it: 12, 90" in job.letter().message


def begin(ledger: Ledger, token: str) -> None:
    ledger.begin("job", 0, token=token, worker="w@test", lease_ms=60_000, max_attempts=MAX_ATTEMPTS)
