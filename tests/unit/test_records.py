"""Records are frozen, refuse what they do not know, and survive the way through JSON."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError, create_model

from schemas.dead_letter import AttemptRecord, DeadLetter
from schemas.errors import ManifestMissing, VersionUnknown
from schemas.generation import Generation, generation_of_chunks
from schemas.job import (
    BUDGETS,
    ErrorBudget,
    InputFile,
    JobSpec,
    Manifest,
    ModelFile,
    ModelPin,
    Record,
    SkippedFile,
    models_digest,
    parse_record,
    spec_digest,
)
from schemas.message import ChunkMessage
from schemas.model_account import ModelAccount
from schemas.results import ResultAccount
from schemas.states import JobState
from schemas.summary import Summary
from support.stored_jobs import NOW, account_of, model_pin

TEXT = st.text(max_size=20)
COUNT = st.integers(min_value=0, max_value=2**53)
SECONDS = st.floats(min_value=0, max_value=1e9)
TIMES = st.datetimes(timezones=st.just(UTC))
JOB_IDS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
COUNTS = st.dictionaries(TEXT, COUNT, max_size=3)


def some(kind: type[Record], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **fields)


def tuples(items: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=3).map(tuple)


ERROR_BUDGETS = some(
    ErrorBudget,
    count=st.none() | COUNT,
    percent=st.none() | st.floats(min_value=0, max_value=100),
)
SPECS = some(
    JobSpec,
    inputs=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    output=TEXT,
    model=TEXT,
    text_column=TEXT,
    id_columns=tuples(TEXT),
    chunk_rows=st.integers(min_value=1, max_value=2**31),
    max_length=st.none() | st.integers(min_value=8, max_value=2**20),
    token_budget=st.none() | st.integers(min_value=1, max_value=2**30),
    max_row_errors=st.none() | ERROR_BUDGETS,
    max_dead_chunks=st.none() | ERROR_BUDGETS,
    priority=st.sampled_from(["high", "normal", "low"]),
)
MODEL_FILES = some(ModelFile, path=TEXT, size=COUNT, sha256=TEXT)
PINS = some(
    ModelPin,
    ref=TEXT,
    name=TEXT,
    uri=TEXT,
    digest=TEXT,
    files=tuples(MODEL_FILES),
    model_type=TEXT,
    problem_type=st.just("regression"),
    labels=tuples(TEXT),
    max_length=st.integers(min_value=8, max_value=2**20),
)
INPUT_FILES = some(InputFile, uri=TEXT, size=COUNT, etag=TEXT, rows=COUNT, row_groups=COUNT)
SKIPPED = some(SkippedFile, uri=TEXT, code=TEXT, reason=TEXT)
MANIFESTS = some(
    Manifest,
    job_id=JOB_IDS,
    created_at=TIMES,
    bulkscore_version=TEXT,
    spec=SPECS,
    model=PINS,
    files=tuples(INPUT_FILES),
    skipped=tuples(SKIPPED),
    further_models=tuples(PINS),
    rows=COUNT,
    chunks=COUNT,
    text_bytes=COUNT,
    chunk_table_sha256=TEXT,
)
ATTEMPTS = some(AttemptRecord, number=COUNT, worker=TEXT, code=TEXT, message=TEXT, at=TIMES)
LETTERS = some(
    DeadLetter,
    job_id=JOB_IDS,
    chunk=COUNT,
    generation=COUNT,
    code=TEXT,
    message=TEXT,
    traceback=TEXT,
    worker=TEXT,
    buried_at=TIMES,
    attempts=tuples(ATTEMPTS),
    file=st.none() | INPUT_FILES,
    row_start=COUNT,
    rows=COUNT,
    row_group=st.none() | COUNT,
)
MODEL_ACCOUNTS = some(
    ModelAccount,
    name=st.from_regex(r"[A-Za-z0-9_]+", fullmatch=True),
    model=TEXT,
    model_digest=TEXT,
    rows_scored=COUNT,
    errors=COUNTS,
    tokens=COUNT,
    truncated_rows=COUNT,
    dtype=st.sampled_from(["fp32", "bf16"]),
)
GENERATIONS = some(
    Generation,
    job_id=JOB_IDS,
    number=COUNT,
    created_at=TIMES,
    chunks=tuples(COUNT),
    token_budget=st.none() | COUNT,
)
ACCOUNTS = some(
    ResultAccount,
    job_id=JOB_IDS,
    chunk=COUNT,
    generation=COUNT,
    attempt=COUNT,
    model=TEXT,
    model_digest=TEXT,
    rows=COUNT,
    rows_scored=COUNT,
    errors=COUNTS,
    tokens=COUNT,
    truncated_rows=COUNT,
    seconds=SECONDS,
    worker=TEXT,
    device=TEXT,
    dtype=TEXT,
    libraries=st.dictionaries(TEXT, TEXT, max_size=3),
    models=tuples(MODEL_ACCOUNTS),
)
SUMMARIES = some(
    Summary,
    job_id=JOB_IDS,
    state=st.sampled_from(JobState),
    model=TEXT,
    model_digest=TEXT,
    **dict.fromkeys(
        [
            "rows",
            "rows_scored",
            "rows_error",
            "rows_dead",
            "rows_missing",
            "chunks",
            "chunks_succeeded",
            "chunks_dead",
            "tokens",
            "truncated_rows",
        ],
        COUNT,
    ),
    errors=COUNTS,
    dead_by_code=COUNTS,
    scoring_seconds=SECONDS,
    workers=tuples(TEXT),
    skipped_files=tuples(SKIPPED),
    created_at=TIMES,
    finished_at=TIMES,
    models=tuples(MODEL_ACCOUNTS),
)
SMALL = st.integers(min_value=0, max_value=2**31 - 1)
MESSAGES = some(ChunkMessage, job_id=JOB_IDS, chunk=SMALL, generation=SMALL)
EVERY = st.one_of(MANIFESTS, LETTERS, GENERATIONS, ACCOUNTS, SUMMARIES, MESSAGES)

SPEC = JobSpec(inputs=("/in",), output="/out", model="m@best", text_column="text")


@given(EVERY)
def test_a_record_survives_the_way_through_json(record: Record) -> None:
    again = parse_record(type(record), record.model_dump_json().encode(), "s3://b/record.json")

    assert again == record


@given(EVERY)
def test_a_record_refuses_a_field_it_does_not_know(record: Record) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(record).model_validate({**record.model_dump(), "surprise": 1})


@given(EVERY)
def test_a_record_cannot_be_changed(record: Record) -> None:
    name = next(iter(type(record).model_fields))

    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, name, getattr(record, name))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"version": 0}', b"\xff"], ids=repr)
def test_a_damaged_record_is_named_by_its_place(body: bytes) -> None:
    with pytest.raises(ManifestMissing, match=r"s3://b/generations/0001\.json is damaged"):
        parse_record(Generation, body, "s3://b/generations/0001.json")


@given(LETTERS)
def test_a_record_of_a_later_version_is_refused(letter: DeadLetter) -> None:
    body = letter.model_dump_json().replace('"version":1', '"version":2').encode()

    with pytest.raises(VersionUnknown, match=r"s3://b/letter\.json .* later release"):
        parse_record(DeadLetter, body, "s3://b/letter.json")


@given(LETTERS)
def test_a_record_with_a_field_more_is_of_a_later_release(letter: DeadLetter) -> None:
    body = letter.model_dump_json().replace("{", '{"surprise":1,', 1).encode()

    with pytest.raises(VersionUnknown, match="surprise"):
        parse_record(DeadLetter, body, "s3://b/letter.json")


@pytest.mark.parametrize(
    "job_id", ["", "-a", ".a", "A", "a b", "a/b", "a:b", "a\n", "ä", "a" * 64], ids=repr
)
def test_a_job_id_is_a_plain_name(job_id: str) -> None:
    with pytest.raises(ValidationError, match="job_id"):
        ChunkMessage(job_id=job_id, chunk=0, generation=0)


@pytest.mark.parametrize(
    ("budget", "errors", "rows", "within"),
    [
        (ErrorBudget(count=0), 0, 100, True),
        (ErrorBudget(count=0), 1, 100, False),
        (ErrorBudget(count=5), 5, 100, True),
        (ErrorBudget(percent=0), 0, 0, True),
        (ErrorBudget(percent=0.57), 57, 10_000, True),
        (ErrorBudget(percent=0.57), 58, 10_000, False),
        (ErrorBudget(percent=100), 7, 7, True),
        (ErrorBudget(count=5, percent=1), 5, 100, False),
        (ErrorBudget(), 100, 100, True),
    ],
    ids=str,
)
def test_a_budget_holds_up_to_its_border(
    budget: ErrorBudget, errors: int, rows: int, within: bool
) -> None:
    limit = budget.limit(rows)

    assert (limit is None or errors <= limit) is within


@given(st.integers(min_value=0, max_value=10_000), st.integers(min_value=1, max_value=10**12))
def test_a_share_of_rows_is_counted_as_it_is_written(hundredths: int, times: int) -> None:
    budget = ErrorBudget(percent=hundredths / 100)

    assert budget.limit(10_000 * times) == hundredths * times


def test_the_same_model_under_another_name_makes_the_same_job() -> None:
    renamed = SPEC.model_copy(update={"model": "m@1"})

    assert spec_digest(SPEC, "d1") == spec_digest(renamed, "d1")


@pytest.mark.parametrize(
    "change",
    [{"inputs": ("/in", "/in2")}, {"text_column": "body"}, {"chunk_rows": 7}, {"output": "/o"}],
    ids=str,
)
def test_another_spec_or_model_is_another_job(change: dict[str, Any]) -> None:
    other = SPEC.model_copy(update=change)

    assert spec_digest(SPEC, "d1") != spec_digest(other, "d1")
    assert spec_digest(SPEC, "d1") != spec_digest(SPEC, "d2")


def test_another_error_budget_makes_no_other_job() -> None:
    budgets = dict.fromkeys(BUDGETS, ErrorBudget(count=3))

    assert spec_digest(SPEC, "d1") == spec_digest(SPEC.model_copy(update=budgets), "d1")


def test_a_field_that_is_added_to_the_spec_makes_no_other_job_until_it_is_used() -> None:
    class LaterSpec(JobSpec):
        windows: int = 0

    unused = LaterSpec(**SPEC.model_dump())

    assert spec_digest(unused, "d1") == spec_digest(SPEC, "d1")
    assert spec_digest(unused.model_copy(update={"windows": 2}), "d1") != spec_digest(SPEC, "d1")


def test_jobs_of_one_model_keep_the_digest_they_always_had() -> None:
    digest = "77459d80550aacc422f449c67859d57e7048b0325d4436df5c45a287a1d19764"

    assert spec_digest(SPEC, "d1") == digest
    assert models_digest([model_pin(digest="d1")]) == "d1"


def several(*names: str) -> JobSpec:
    """Return the spec of a job of two models."""
    values = {**SPEC.model_dump(), "further_models": ("m@2",), "model_names": names}
    return JobSpec(**values)


def test_other_models_another_order_or_other_columns_make_another_job() -> None:
    first, second, third = (model_pin(digest=digest) for digest in "abc")
    asked = several("old", "new")
    moved = asked.model_copy(update={"model": "/a/m", "further_models": ("/b/m",)})

    def digest(spec: JobSpec, *models: ModelPin) -> str:
        return spec_digest(spec, models_digest(models))

    assert digest(moved, first, second) == digest(asked, first, second)
    others = [
        digest(asked, first, second),
        digest(asked, second, first),
        digest(asked, first, third),
        digest(asked, first, second, third),
        digest(several("a", "b"), first, second),
        digest(SPEC, first),
    ]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(
    "names", [(), ("old",), ("old", "new", "newer"), ("old", "a-b"), ("o", "")]
)
def test_each_of_several_models_has_a_plain_name(names: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match=r"names of models|model_names"):
        several(*names)


def test_a_model_alone_has_no_name_and_columns_without_one() -> None:
    with pytest.raises(ValidationError, match="1 models, 1 names of models"):
        JobSpec(**{**SPEC.model_dump(), "model_names": ("m",)})

    assert SPEC.suffixes == ("",)
    assert several("old", "new").suffixes == ("_old", "_new")


def manifest_of(spec: JobSpec, *models: ModelPin) -> Manifest:
    first, *further = models
    return Manifest(
        job_id="j",
        created_at=NOW,
        bulkscore_version="0",
        spec=spec,
        model=first,
        further_models=tuple(further),
        files=(),
        rows=0,
        chunks=0,
        text_bytes=0,
        chunk_table_sha256="",
    )


def without(kind: type[Record], *names: str) -> type[Record]:
    """Return a record as it was before it had these fields."""
    kept = {name: field for name, field in kind.model_fields.items() if name not in names}
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in kept.items()}
    return create_model(kind.__name__, __base__=Record, **fields)


def test_who_knows_one_model_a_job_reads_such_jobs_and_refuses_those_of_several() -> None:
    earlier = without(Manifest, "further_models")
    one = manifest_of(SPEC, model_pin())
    two = manifest_of(several("old", "new"), model_pin(), model_pin(digest="e"))

    assert "further" not in one.model_dump_json()
    assert "model_names" not in one.model_dump_json()
    assert isinstance(earlier.model_validate_json(one.model_dump_json()), earlier)
    with pytest.raises(VersionUnknown, match=r"further_models.*Extra inputs are not permitted"):
        parse_record(earlier, two.model_dump_json().encode(), "/manifest.json")
    assert parse_record(Manifest, two.model_dump_json().encode(), "/m") == two


def test_results_and_summaries_of_one_model_have_no_list_of_models() -> None:
    account = ModelAccount(
        name="old",
        model="m@1",
        model_digest="d",
        rows_scored=3,
        errors={"text_null": 1},
        tokens=9,
        truncated_rows=1,
        dtype="fp32",
    )
    later = account.model_copy(update={"errors": {"text_blank": 2}, "dtype": "bf16"})

    both = account.plus(later)

    assert (both.rows_scored, both.tokens, both.truncated_rows) == (6, 18, 2)
    assert both.errors == {"text_blank": 2, "text_null": 1}
    assert (both.dtype, both.plus(both).dtype) == ("bf16, fp32", "bf16, fp32")
    assert '"models"' not in account_of(0).model_dump_json()
    assert '"models"' in account_of(0, models=(account,)).model_dump_json()


def test_the_newest_generation_that_names_a_chunk_counts_for_it() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    second = Generation(job_id="j", number=2, created_at=at, chunks=(2, 3))
    first = Generation(job_id="j", number=1, created_at=at, chunks=(1, 2))

    newest = generation_of_chunks([second, first])

    assert newest == {1: first, 2: second, 3: second}
