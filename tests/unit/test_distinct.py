"""Equal items are one kind, and every item finds its own kind again."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.distinct import distinct

FEW_KINDS = st.lists(st.text("ab", max_size=2))
KINDS_OF_ARROW = pytest.mark.parametrize("kind", [pa.large_string(), pa.large_binary()], ids=str)


@KINDS_OF_ARROW
@given(items=FEW_KINDS)
def test_the_first_of_its_kind_stands_for_each_item(kind: pa.DataType, items: list[str]) -> None:
    found = distinct(pa.array(items, kind))

    firsts = [items[place] for place in found.firsts]
    assert [firsts[kind] for kind in found.kinds] == items


@KINDS_OF_ARROW
@given(items=FEW_KINDS)
def test_no_two_kinds_are_equal_and_they_stand_in_the_order_they_come(
    kind: pa.DataType, items: list[str]
) -> None:
    found = distinct(pa.array(items, kind))

    assert len(found.firsts) == len(set(items))
    assert found.firsts.tolist() == sorted(found.firsts)
    assert found.firsts.tolist() == [items.index(items[place]) for place in found.firsts]


@given(items=FEW_KINDS, start=st.integers(0, 3))
def test_a_part_is_looked_at_as_if_it_were_all(items: list[str], start: int) -> None:
    found = distinct(pa.array(items, pa.large_string())[start:])

    assert (
        found.firsts.tolist()
        == distinct(pa.array(items[start:], pa.large_string())).firsts.tolist()
    )


def test_nothing_has_no_kinds() -> None:
    found = distinct(pa.array([], pa.large_string()))

    assert (found.firsts.tolist(), found.kinds.tolist()) == ([], [])
