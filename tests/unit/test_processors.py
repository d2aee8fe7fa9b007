"""How many processors there are to use: by affinity, and by the limit of a container."""

import os
from pathlib import Path

import pytest

from schemas.processors import usable_processors

Patch = pytest.MonkeyPatch


@pytest.fixture
def eight(monkeypatch: Patch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def control_group(folder: Path, path: str, limits: dict[str, str]) -> int:
    """Ask as a process in the group `path` does, `limits` being `cpu.max` of the groups."""
    own = folder / "cgroup"
    own.write_text(f"3:cpuset:/elsewhere\n0::{path}\n")
    for group, limit in limits.items():
        place = folder / "groups" / group.removeprefix("/")
        place.mkdir(parents=True, exist_ok=True)
        (place / "cpu.max").write_text(limit + "\n")
    return usable_processors(folder / "groups", own)


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("5000 100000", 1),
        ("1600000 100000", 8),
        ("nonsense", 8),
    ],
)
def test_the_limit_of_a_container_counts_and_a_part_of_a_processor_as_one(
    tmp_path: Path, limit: str, expected: int
) -> None:
    assert control_group(tmp_path, "/", {"/": limit}) == expected


@pytest.mark.usefixtures("eight")
def test_the_narrowest_of_the_groups_around_a_process_counts(tmp_path: Path) -> None:
    limits = {"/": "max 100000", "/pod": "300000 100000", "/pod/worker": "700000 100000"}

    assert control_group(tmp_path, "/pod/worker", limits) == 3


@pytest.mark.usefixtures("eight")
def test_a_group_that_is_not_to_be_seen_from_inside_is_passed_over(tmp_path: Path) -> None:
    assert control_group(tmp_path, "/kubepods/pod1", {"/": "400000 100000"}) == 4
    assert control_group(tmp_path, "/../../pod1", {"/": "400000 100000"}) == 4


@pytest.mark.usefixtures("eight")
def test_without_control_groups_affinity_alone_counts(tmp_path: Path) -> None:
    assert usable_processors(tmp_path / "none", tmp_path / "none") == 8
