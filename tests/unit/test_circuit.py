"""A worker waits for storage that is away: how long, who is asked, and what ends it."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import AccessDenied, BulkError, StorageFull, StorageUnavailable
from worker.circuit import LONGEST_PAUSE_SECONDS, STEP_SECONDS, Circuit, pause_seconds


def highest(_low: float, high: float) -> float:
    return high


def lowest(low: float, _high: float) -> float:
    return low


class World:
    """A store, a clock that only waiting moves, and a worker that may be told to stop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answer: BulkError | None = StorageUnavailable("nobody answers")
        self.asked: list[tuple[float, str, int]] = []
        self.stops_at = float("inf")
        self.steps: list[float] = []
        self.circuit = Circuit(
            self.probe,
            draining=lambda: self.now >= self.stops_at,
            clock=lambda: self.now,
            sleep=self.sleep,
            uniform=highest,
        )

    def probe(self, uri: str, *, room: int = 0) -> None:
        self.asked.append((self.now, uri, room))
        if self.answer is not None:
            raise self.answer

    def sleep(self, seconds: float) -> None:
        self.steps.append(seconds)
        self.now += seconds

    def outage(self, job_id: str = "job", kind: type[BulkError] = StorageUnavailable) -> float:
        error = kind("time-out")
        error.place = "s3://scored/part"
        return self.circuit.open(job_id, error)


def test_pauses_double_up_to_a_cap_and_half_of_each_is_random() -> None:
    assert [pause_seconds(n, highest) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert [pause_seconds(n, lowest) for n in range(1, 8)] == [0.5, 1, 2, 4, 8, 15, 15]


@given(st.integers(1, 100_000))
def test_a_pause_is_bounded_however_long_the_outage(failures: int) -> None:
    assert 0 < pause_seconds(failures) <= LONGEST_PAUSE_SECONDS


def test_a_job_whose_storage_serves_is_begun_at_once_and_nobody_is_asked() -> None:
    world = World()

    assert world.circuit.admits("job")
    assert (world.now, world.asked) == (0, [])


def test_the_store_is_asked_once_after_each_pause_and_each_pause_is_longer() -> None:
    world = World()
    world.outage()

    assert [world.circuit.admits("job") for _ in range(7)] == [False] * 7

    asked = [round(at, 6) for at, _, _ in world.asked]
    assert asked == [1, 3, 7, 15, 31, 61, 91]
    assert {uri for _, uri, _ in world.asked} == {"s3://scored/part"}


def test_a_store_that_answers_again_is_worked_with_again() -> None:
    world = World()
    world.outage()
    world.circuit.admits("job")
    world.answer = None

    assert world.circuit.admits("job")
    world.circuit.close("job")
    began = world.now
    assert world.circuit.admits("job")
    assert world.now == began


def test_a_store_that_answers_and_then_fails_again_is_left_alone_for_longer() -> None:
    world = World()
    world.answer = None
    pauses = []
    for _ in range(4):
        pauses.append(world.outage())
        assert world.circuit.admits("job")

    assert pauses == [1, 2, 4, 8]


def test_an_attempt_that_went_well_makes_the_next_outage_a_first_one() -> None:
    world = World()
    world.outage()
    world.outage()
    world.circuit.close("job")

    assert world.outage() == 1


def test_a_refusal_is_an_answer() -> None:
    world = World()
    world.outage()
    world.answer = AccessDenied("403")

    assert world.circuit.admits("job")


def test_other_jobs_go_on() -> None:
    world = World()
    world.outage("job")

    assert world.circuit.admits("another")
    assert world.now == 0


def test_a_worker_that_shall_stop_does_not_wait() -> None:
    world = World()
    for _ in range(6):
        world.outage()
    world.stops_at = 5.0

    assert not world.circuit.admits("job")
    assert world.now < 5.0 + STEP_SECONDS + 1e-6
    assert world.asked == []
    assert world.circuit.seconds_left("job") > 20
    assert max(world.steps) <= STEP_SECONDS


def test_a_full_disk_is_asked_for_room() -> None:
    world = World()
    world.outage(kind=StorageFull)

    world.circuit.admits("job")

    assert [room for _, _, room in world.asked] == [1 << 20]
