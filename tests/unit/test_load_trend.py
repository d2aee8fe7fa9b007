"""What a soak says of its samples: a leak is seen through noise, and noise is no leak."""

import random

import pytest

from benchmarks.load_trend import verdict

SECONDS = [30.0 * number for number in range(100)]


@pytest.mark.parametrize(
    ("an_hour", "step", "said"), [(0, 0, "flat"), (30, 0, "grows"), (0, 40, "rose once")]
)
def test_a_leak_is_told_from_noise_and_from_what_rose_once(
    an_hour: float, step: float, said: str
) -> None:
    noise = random.Random(0)
    amounts = [
        500 + an_hour * s / 3_600 + (step if s > 900 else 0) + noise.gauss(0, 1) for s in SECONDS
    ]

    assert verdict(SECONDS, amounts) == said


def test_what_never_changes_is_flat_and_a_few_samples_say_nothing() -> None:
    assert verdict(SECONDS, [7.0] * len(SECONDS)) == "flat"
    assert verdict(SECONDS[:10], [7.0] * 10) == "too few samples"
