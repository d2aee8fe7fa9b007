"""A job of a schedule is named after its date and spec; a date has one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from producer.occasion import normal_date, occasion
from schemas.errors import UsageError
from schemas.job import ErrorBudget, JobId, JobSpec

SPEC = JobSpec(inputs=("/lake/in",), output="/lake/scored", model="m", text_column="text")
NIGHT = occasion(logical_date="2025-06-01")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-06-01", "2025-06-01"),
        ("20250601", "2025-06-01"),
        (" 2025-06-01 ", "2025-06-01"),
        ("2025-06-01T04:30:00+00:00", "2025-06-01t043000z"),
        ("2025-06-01T06:30:00+02:00", "2025-06-01t043000z"),
        ("2025-06-01T04:30:00Z", "2025-06-01t043000z"),
        ("2025-06-01 04:30", "2025-06-01t043000z"),
        ("20250601T043000", "2025-06-01t043000z"),
        ("2025-06-01T04:30:00.5+00:00", "2025-06-01t043000.500000z"),
    ],
)
def test_one_moment_has_one_spelling(text: str, expected: str) -> None:
    assert normal_date(text) == expected


@pytest.mark.parametrize("text", ["", "today", "2025-06-31", "01.06.2025", "2025-06", "{{ ds }}"])
def test_what_is_no_date_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="give a date such as 2025-06-01"):
        normal_date(text)


@given(st.datetimes(timezones=st.timezones()), st.text(max_size=5))
def test_every_moment_makes_a_job_id(moment: object, output: str) -> None:
    job = occasion(logical_date=str(moment))

    job_id = job.job_id(SPEC.model_copy(update={"output": output}), "d1")

    TypeAdapter(JobId).validate_python(job_id)


def test_the_id_is_made_of_date_spec_and_model() -> None:
    ids = {
        NIGHT.job_id(SPEC, "d1"),
        NIGHT.job_id(SPEC, "d2"),
        NIGHT.job_id(SPEC.model_copy(update={"text_column": "body"}), "d1"),
        occasion(logical_date="2025-06-02").job_id(SPEC, "d1"),
    }

    assert len(ids) == 4
    assert all(str(job_id).startswith("2025-06-0") for job_id in ids)


def test_the_id_is_the_same_however_date_and_model_are_written() -> None:
    moved = SPEC.model_copy(update={"model": "s3://models/m"})

    assert occasion(logical_date="20250601").job_id(moved, "d1") == NIGHT.job_id(SPEC, "d1")


def test_another_error_budget_makes_no_other_id() -> None:
    budget = SPEC.model_copy(update={"max_row_errors": ErrorBudget(count=3)})

    assert NIGHT.job_id(budget, "d1") == NIGHT.job_id(SPEC, "d1")


def test_the_date_is_filled_in_where_inputs_and_output_ask_for_it_and_nowhere_else() -> None:
    spec = JobSpec(
        inputs=("s3://lake/day={logical_date}/*", "/in/{name}/{0}"),
        output="/out/{logical_date}/{logical_date}",
        model="{logical_date}",
        text_column="{logical_date}",
    )

    dated = NIGHT.dated(spec)

    assert dated.inputs == ("s3://lake/day=2025-06-01/*", "/in/{name}/{0}")
    assert dated.output == "/out/2025-06-01/2025-06-01"
    assert (dated.model, dated.text_column) == (spec.model, spec.text_column)


def test_a_date_that_is_asked_for_and_not_given_is_refused() -> None:
    spec = SPEC.model_copy(update={"output": "/out/{logical_date}"})

    with pytest.raises(UsageError, match="--logical-date"):
        occasion().dated(spec)


def test_a_job_has_one_name() -> None:
    with pytest.raises(UsageError, match="leave out --job-id"):
        occasion(job_id="mine", logical_date="2025-06-01")
