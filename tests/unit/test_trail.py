"""What deaths teach: any rows that kill are found, all others are scored, in a bounded number."""

from collections.abc import Set

from hypothesis import given
from hypothesis import strategies as st

from schemas.trail import (
    MAX_DEATHS,
    MAX_LOST,
    OPENING,
    PIECE_ROWS,
    Place,
    Trail,
    after_death,
    pieces,
)

ROW_SETS = st.sets(st.integers(0, 299), max_size=MAX_DEATHS // 3 - 1)


def scoring(start: int, stop: int) -> Place:
    return Place(stage="scoring", start=start, stop=stop)


def died(trail: Trail, place: Place) -> Trail:
    return after_death(trail.model_copy(update={"at": place}))


def attempt(trail: Trail, rows: int, killers: Set[int]) -> tuple[Trail, list[int]]:
    """Return the trail and the rows scored after one careful attempt."""
    scored: list[int] = []
    for start, stop in pieces(trail, 0, rows):
        left = set(range(start, stop)) - set(trail.bad)
        if left & killers:
            return died(trail, scoring(start, stop)), []
        scored += sorted(left)
    return trail, scored


@given(killers=ROW_SETS, rows=st.integers(1, 300))
def test_exactly_the_rows_that_kill_are_found_and_all_others_scored(
    killers: set[int], rows: int
) -> None:
    killers = {row for row in killers if row < rows}
    trail, scored = Trail(), list[int]()

    while not scored and len(trail.bad) < rows:
        trail, scored = attempt(trail, rows, killers)
        assert not trail.hopeless

    assert set(trail.bad) == killers
    assert scored == [row for row in range(rows) if row not in killers]
    assert trail.deaths <= 3 * len(killers)


@given(killers=ROW_SETS, start=st.integers(0, 200), rows=st.integers(1, 300))
def test_pieces_cover_every_row_once_in_order_and_suspects_alone(
    killers: set[int], start: int, rows: int
) -> None:
    trail = Trail(suspects=tuple((row, row + 10) for row in killers))

    cut = list(pieces(trail, start, start + rows))

    assert [row for first, end in cut for row in range(first, end)] == list(
        range(start, start + rows)
    )
    for first, end in cut:
        assert 1 <= end - first <= PIECE_ROWS
        suspected = any(a < end and first < b for a, b in trail.suspects)
        assert end - first == 1 or not suspected


def test_a_sound_row_whose_process_was_killed_once_from_outside_is_scored() -> None:
    trail = died(died(Trail(), scoring(0, 32)), scoring(7, 8))

    trail, scored = attempt(trail, 50, {20})
    trail, scored = attempt(trail, 50, {20})
    trail, scored = attempt(trail, 50, {20})

    assert trail.bad == (20,)
    assert 7 in scored


def test_an_attempt_that_ended_in_an_orderly_way_teaches_nothing() -> None:
    trail = Trail(deaths=1, suspects=((0, 32),), bad=(3,))

    assert after_death(trail) == trail


def test_deaths_outside_of_any_row_are_few() -> None:
    trail = Trail()
    for _ in range(MAX_LOST):
        assert not trail.hopeless
        trail = died(trail, OPENING)

    assert trail.hopeless
    assert trail.died_at == OPENING


def test_a_chunk_of_rows_that_all_kill_is_given_up() -> None:
    trail = Trail()
    while not trail.hopeless:
        trail, _ = attempt(trail, 300, set(range(300)))

    assert trail.deaths == MAX_DEATHS


def test_a_trail_says_in_words_what_is_known() -> None:
    trail = died(
        Trail(deaths=2, bad=(9, 4)), Place(stage="reading", start=40, stop=50, row_group=2)
    )

    assert str(trail) == (
        "3 careful attempts killed it, the last one while reading row group 2, rows 40 to 49; "
        "rows that kill it: 4, 9"
    )


def test_a_trail_survives_its_way_through_json() -> None:
    trail = died(Trail(at=scoring(3, 4), suspects=((0, 32),)), scoring(3, 4))

    assert Trail.model_validate_json(trail.model_dump_json()) == trail
