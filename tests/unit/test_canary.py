"""The sample of a canary: the same rows for everybody, and as many as were asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from producer.cli.option_values import parse_canary
from producer.coverage import rows_key
from schemas.canary import sampled, samples_of
from schemas.errors import UsageError
from schemas.job import Canary, JobSpec, models_digest, spec_digest
from schemas.results import result_schema
from support.stored_jobs import model_pin

ROWS = np.arange(200_000, dtype=np.int64)
SPEC = JobSpec(inputs=("c",), output="/o", model="m", text_column="text")
CANARY = SPEC.model_copy(update={"further_models": ("n",), "canary": Canary(percent=5)})
OLD, NEW = model_pin(digest="a" * 64), model_pin(digest="b" * 64)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**12), st.integers(1, 50), st.integers(0, 3))
def test_a_row_is_in_the_sample_or_not_whatever_rows_are_asked_about_with_it(
    first: int, count: int, seed: int
) -> None:
    canary = Canary(percent=30, seed=seed)
    rows = np.arange(first, first + count, dtype=np.int64)

    together = sampled(canary, "s3://lake/a.parquet", rows)

    alone = [bool(sampled(canary, "s3://lake/a.parquet", rows[n : n + 1])[0]) for n in range(count)]
    assert together.tolist() == alone


@pytest.mark.parametrize("percent", [0.1, 5, 50, 99])
def test_a_sample_has_the_share_that_was_asked_for(percent: float) -> None:
    inside = sampled(Canary(percent=percent), "a", ROWS)

    share = percent / 100
    assert abs(inside.mean() - share) < 4 * (share * (1 - share) / len(ROWS)) ** 0.5
    # No run of rows is taken or left out: of each hundred rows about as many are in it.
    spread = inside.reshape(-1, 100).sum(axis=1).std()
    assert spread == pytest.approx((100 * share * (1 - share)) ** 0.5, rel=0.1)


def test_another_seed_or_file_is_another_sample_and_a_larger_share_holds_the_smaller() -> None:
    small, large = (sampled(Canary(percent=p), "a", ROWS) for p in (5, 20))
    others = [sampled(Canary(percent=5, seed=1), "a", ROWS), sampled(Canary(percent=5), "b", ROWS)]

    assert not np.any(small & ~large)
    for other in others:
        assert (small & other).mean() == pytest.approx(0.0025, rel=0.2)
    assert sampled(Canary(percent=100), "a", ROWS).all()


def test_what_a_canary_scores_is_known_for_good() -> None:
    # Results lie on storage: were these rows others one day, `verify` would blame those.
    inside = sampled(Canary(percent=10, seed=7), "s3://lake/reviews/0.parquet", ROWS[:100])

    assert np.flatnonzero(inside).tolist() == [10, 11, 23, 42, 44, 63, 85, 95, 96, 98]
    assert samples_of(SPEC, "a", ROWS) == (None,)
    assert samples_of(CANARY, "a", ROWS)[0] is None


def test_the_first_model_keeps_its_columns_and_the_canary_has_nulls() -> None:
    schema = result_schema([], all_scores=False, suffixes=CANARY.suffixes)

    alone = result_schema([], all_scores=False)
    assert list(schema)[: len(alone)] == list(alone)
    assert schema.names[len(alone) :] == [
        *("label_canary", "score_canary", "n_tokens_canary", "truncated_canary", "error_canary"),
    ]
    assert all(schema.field(name).nullable for name in schema.names[len(alone) :])


def test_a_canary_makes_another_job_that_covers_the_same_files() -> None:
    digest = models_digest((OLD, NEW))
    several = SPEC.model_copy(update={"further_models": ("n",), "model_names": ("m", "n")})
    seeded = CANARY.model_copy(update={"canary": Canary(percent=5, seed=1)})

    assert len({spec_digest(spec, digest) for spec in (CANARY, several, seeded)}) == 3
    assert rows_key(CANARY, (OLD, NEW)) == rows_key(SPEC, (OLD,))
    assert rows_key(several, (OLD, NEW)) != rows_key(SPEC, (OLD,))
    assert "canary" not in SPEC.model_dump_json()


def test_a_canary_that_makes_no_sense_is_refused() -> None:
    for share in ("5", "0%", "101%", "some%", "-1%"):
        with pytest.raises(UsageError, match="such as 5%"):
            parse_canary(["m"], "n", share, 0)
    with pytest.raises(UsageError, match="goes with one --model"):
        parse_canary(["m", "n"], "o", "5%", 0)
    with pytest.raises(ValidationError, match="a canary beside 0 models"):
        JobSpec(**{**SPEC.model_dump(), "canary": Canary(percent=5)})
    assert parse_canary(["m"], None, "nonsense", 0) is None
