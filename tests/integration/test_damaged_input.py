"""No damage to a file ends or hangs a process, and none that can be seen gives a wrong row.

The damages are seeded. `make test TESTS=tests/integration/test_damaged_input.py FUZZ_SEEDS=3000`
tries that many of each kind, where the suite tries a few.
"""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from support import damage
from support.damage import Fate

SEEDS = int(os.environ.get("FUZZ_SEEDS", "300"))


def fates(judge: Callable[[Path, bool, int], Fate], folder: Path, checksums: bool) -> Counter[Fate]:
    """Damage a file in as many ways as there are seeds, in a process that may not survive it."""
    found: Counter[Fate] = Counter()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        judged = pool.map(partial(judge, folder, checksums), range(SEEDS))
        for seed in range(SEEDS):
            try:
                found[next(judged)] += 1
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise
    print(f"{judge.__name__}, checksums={checksums}:", dict(found))
    return found


def test_where_pages_carry_checksums_no_damage_to_them_gives_a_wrong_row(tmp_path: Path) -> None:
    found = fates(damage.fate_of_pages, tmp_path, True)

    assert found[Fate.WRONG] == 0
    assert found[Fate.REFUSED] > SEEDS / 2


def test_where_pages_carry_none_damage_may_go_unseen_but_does_no_other_harm(tmp_path: Path) -> None:
    found = fates(damage.fate_of_pages, tmp_path, False)

    assert min(found[fate] for fate in Fate) > 0


@pytest.mark.parametrize("judge", [damage.fate_of_footer, damage.fate_of_plan])
def test_a_damaged_footer_is_refused_or_was_not_needed(tmp_path: Path, judge) -> None:
    found = fates(judge, tmp_path, True)

    # Parquet has no checksum for the footer: now and then a flip makes another sound one of it.
    assert found[Fate.WRONG] < SEEDS / 20
    assert found[Fate.REFUSED] > SEEDS / 4
