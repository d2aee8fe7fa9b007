"""Workers for a deadline: enough for it, not more than that takes, and a deadline is understood."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.cli.sizing_options import SizingOptions, sizing_facts
from producer.sizing import HEADROOM, Rate, seconds_until, size
from schemas.errors import UsageError

NOW = datetime(2026, 6, 1, 22, 30, tzinfo=timezone(timedelta(hours=2)))
HOUR = 3_600.0


@given(
    st.integers(min_value=0, max_value=10**14),
    st.floats(min_value=1, max_value=1e7),
    st.floats(min_value=1, max_value=1e6),
)
def test_so_many_workers_are_in_time_with_headroom_and_one_less_is_not(
    tokens: int, rate: float, seconds: float
) -> None:
    found = size(tokens=tokens, chunks=1, seconds=seconds, rate=Rate(tokens_per_second=rate))

    assert found.seconds * HEADROOM <= seconds * (1 + 1e-9)
    if found.workers > 1:
        assert HEADROOM * tokens / rate > (found.workers - 1) * seconds * (1 - 1e-9)


def test_the_cost_is_that_of_the_work_however_many_share_it() -> None:
    rate = Rate(tokens_per_second=1_000)
    found = [
        size(tokens=36_000_000, chunks=10, seconds=s, rate=rate, cost_per_hour=2.5)
        for s in (HOUR, 10 * HOUR)
    ]

    assert [f.workers for f in found] == [12, 2]
    assert [f.cost for f in found] == [25.0, 25.0]
    assert [f.short_of_chunks for f in found] == [True, False]
    assert sizing_facts(found[0])["cost"] == "25.00"
    assert "smaller --chunk-rows" in str(sizing_facts(found[0])["workers"])


@pytest.mark.parametrize(
    ("deadline", "seconds"),
    [
        ("8h", 8 * HOUR),
        ("1d12h", 36 * HOUR),
        ("90m", 1.5 * HOUR),
        ("1.5h", 1.5 * HOUR),
        ("23:00", HOUR / 2),
        ("06:00", 7.5 * HOUR),
        ("22:30", 24 * HOUR),
        ("2026-06-02T00:30", 2 * HOUR),
        ("2026-06-01T21:30:00Z", HOUR),
    ],
)
def test_a_deadline_is_a_duration_a_time_or_a_moment(deadline: str, seconds: float) -> None:
    assert seconds_until(deadline, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize("deadline", ["", "8", "tomorrow", "25:00", "8 hours", "0h", "h", "1.2.3h"])
def test_what_is_no_deadline_is_refused_with_an_example(deadline: str) -> None:
    with pytest.raises(UsageError, match=r"--deadline .*(such as 8h|is over)"):
        seconds_until(deadline, NOW)


def test_a_deadline_that_is_over_is_refused() -> None:
    with pytest.raises(UsageError, match="is over"):
        seconds_until("2026-06-01T20:29:00Z", NOW.astimezone(UTC))


@pytest.mark.parametrize(
    "options",
    [
        {"like": "job"},
        {"cost_per_hour": 1.0},
        {"deadline": "8h", "like": "job", "worker_tokens_per_second": 1.0},
    ],
    ids=str,
)
def test_options_that_make_no_sense_together_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SizingOptions(**options).require_sense()  # type: ignore[arg-type]
