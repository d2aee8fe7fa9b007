"""Equal items are one kind, and every item finds its own kind again."""

from hypothesis import given
from hypothesis import strategies as st

from worker.distinct import distinct

FEW_KINDS = st.lists(st.binary(max_size=1) | st.integers(0, 3) | st.text("ab", max_size=2))


@given(FEW_KINDS)
def test_the_first_of_its_kind_stands_for_each_item(items: list[object]) -> None:
    found = distinct(items)

    firsts = [items[place] for place in found.firsts]
    assert [firsts[kind] for kind in found.kinds] == items


@given(FEW_KINDS)
def test_no_two_kinds_are_equal_and_they_stand_in_the_order_they_come(items: list[object]) -> None:
    found = distinct(items)

    assert len(found.firsts) == len(set(items))
    assert found.firsts == sorted(found.firsts)
    assert found.firsts == [items.index(items[place]) for place in found.firsts]


def test_nothing_has_no_kinds() -> None:
    found = distinct([])

    assert (found.firsts, found.kinds.tolist()) == ([], [])
