"""Drift against a reference job: nothing where nothing moved, and what moved by name."""

import random
from pathlib import Path

import pytest
from scipy import stats

from producer.compare_side import side
from producer.drift import Drift, Verdict, by_chance, drift, drift_between, psi
from producer.drift_profile import Profile
from schemas.errors import UsageError
from schemas.job import Manifest
from schemas.storage import Storage
from support.compared_jobs import Said, corpus, scored_job
from support.stored_jobs import model_pin

ROWS = 2_000


def job(
    folder: Path, name: str, *, seed: int, positive: float = 0.5, sure: float = 0.6
) -> Manifest:
    """Make a job with this share of positive rows, scores from `sure` up, and an error in 50."""
    source = random.Random(seed)
    said: list[Said] = [
        (None, None, "text_null")
        if source.random() < 0.02
        else (
            "positive" if source.random() < positive else "negative",
            source.uniform(sure, 1),
            None,
        )
        for _ in range(ROWS)
    ]
    lengths = [int(source.gauss(60, 15)) for _ in range(ROWS)]
    place = folder / "corpus"
    if not place.exists():
        corpus(place, ROWS)
    return scored_job(folder, name, place, said, lengths=lengths, chunk_rows=500)


def drifts(reference: Manifest, manifest: Manifest) -> dict[str, Drift]:
    return {found.of: found for found in drift_between(Storage(), reference, manifest).drifts}


def test_another_sample_of_the_same_distribution_has_no_drift(tmp_path: Path) -> None:
    found = drifts(job(tmp_path, "a", seed=1), job(tmp_path, "b", seed=2))

    assert {of: d.verdict for of, d in found.items()} == dict.fromkeys(
        ("labels", "scores", "lengths"), Verdict.NONE
    )
    # Deciles of continuous values: about a tenth of the reference in each.
    for of in ("scores", "lengths"):
        assert len(found[of].bins) == 10
        assert all(0.05 < b.reference < 0.16 for b in found[of].bins), found[of]
        assert sum(b.share for b in found[of].bins) == pytest.approx(1)


def test_what_moved_is_told_apart_from_what_did_not(tmp_path: Path) -> None:
    reference = job(tmp_path, "a", seed=1)

    labels = drifts(reference, job(tmp_path, "labels", seed=2, positive=0.8))
    scores = drifts(reference, job(tmp_path, "scores", seed=3, sure=0.7))

    assert (labels["labels"].verdict, labels["scores"].verdict) == (Verdict.LARGE, Verdict.NONE)
    assert (scores["labels"].verdict, scores["scores"].verdict) == (Verdict.NONE, Verdict.LARGE)
    shares = {b.name: round(b.share, 1) for b in labels["labels"].bins}
    assert shares == {"positive": 0.8, "negative": 0.2, "(error)": 0.0}
    assert scores["scores"].bins[-1].name.startswith("up to 0.6")


def test_the_index_is_that_of_its_formula_and_an_empty_bin_is_no_infinity() -> None:
    # 0.1 ln(0.6 / 0.5) - 0.1 ln(0.4 / 0.5); half a row in a million changes nothing.
    assert psi([500_000, 500_000], [600_000, 400_000]) == pytest.approx(0.0405465, abs=1e-6)
    assert psi([10, 90], [10, 90]) == 0
    assert 0.25 < psi([0, 100], [20, 80]) < 5


@pytest.mark.parametrize("bins", [2, 3, 10, 30])
def test_what_chance_makes_is_the_quantile_of_chi_squared(bins: int) -> None:
    exact = stats.chi2.ppf(0.95, bins - 1) * (1 / 1_000 + 1 / 3_000)

    assert by_chance(bins, 1_000, 3_000) == pytest.approx(exact, rel=0.03)


def test_unknown_tokens_drift_where_both_jobs_say_how_many_there_are(tmp_path: Path) -> None:
    source = corpus(tmp_path / "corpus", 40)
    said: list[Said] = [("positive", 0.9, None)] * 40
    few, many, none = (
        scored_job(tmp_path, name, source, said, lengths=[100] * 40, unknown_tokens=unknown)
        for name, unknown in (("few", 10), ("many", 300), ("none", None))
    )

    moved = drifts(few, many)["unknown tokens"]

    assert moved.verdict is Verdict.LARGE
    assert {b.name: (b.reference, b.share) for b in moved.bins} == {
        "unknown": (0.015, 0.45),
        "known": (0.985, 0.55),
    }
    assert drifts(few, few)["unknown tokens"].verdict is Verdict.NONE
    assert "unknown tokens" not in drifts(few, none)


def test_few_rows_make_no_drift_of_chance(tmp_path: Path) -> None:
    source = corpus(tmp_path / "corpus", 10)
    positive: Said = ("positive", 0.9, None)
    negative: Said = ("negative", 0.9, None)
    before, after = [positive] * 5 + [negative] * 5, [positive] * 7 + [negative] * 3

    found = drifts(
        scored_job(tmp_path, "a", source, before), scored_job(tmp_path, "b", source, after)
    )

    assert found["labels"].psi > 0.1
    assert found["labels"].verdict is Verdict.NONE


def test_labels_and_values_have_no_drift_between_them(tmp_path: Path) -> None:
    source = corpus(tmp_path / "corpus", 4)
    a = scored_job(tmp_path, "a", source, [("positive", 0.9, None)] * 4)
    pin = model_pin(problem_type="regression", labels=("value",))
    b = scored_job(tmp_path, "b", source, [(None, 0.5, None)] * 4, pin=pin)

    with pytest.raises(UsageError, match="cannot be told"):
        drift_between(Storage(), a, b)
    storage = Storage()
    same = drift(*(Profile(side=side(storage, b)) for _ in range(2)))
    assert [found.psi for found in same.drifts] == [0, 0, 0]
