"""A dead letter says where and why, and never quotes a row."""

from pathlib import Path

import pytest

from schemas import layout
from schemas.chunks import Chunk
from schemas.dead_letter import DeadLetter
from schemas.errors import BulkError, InputCorrupt, InputMissing, UnexpectedError
from schemas.logs import describe, frames_of
from schemas.parquet import corrupt
from schemas.storage import Storage
from worker.dead_letters import record_of, write_dead_letter

SECRET = "the text of a row"


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_our_own_errors_are_told_in_full() -> None:
    assert describe(InputCorrupt("a.parquet, row group 3, ...")) == "a.parquet, row group 3, ..."


def test_a_foreign_error_that_may_quote_a_row_is_told_by_its_type_alone() -> None:
    assert describe(ValueError(SECRET)) == "ValueError"
    assert describe(KeyError(SECRET)) == "KeyError"


def test_an_error_of_the_system_keeps_its_message() -> None:
    assert describe(OSError(28, "No space left on device")) == (
        "OSError: [Errno 28] No space left on device"
    )


def test_the_stack_names_files_and_causes_but_no_text() -> None:
    try:
        raise UnexpectedError(describe(ValueError(SECRET))) from raised(ValueError(SECRET))
    except UnexpectedError as error:
        frames = frames_of(error)

    assert "test_dead_letters.py" in frames
    assert "caused by" in frames
    assert "ValueError" in frames
    assert SECRET not in frames


@pytest.mark.parametrize(
    ("error", "row_group"),
    [
        (corrupt("/a.parquet", 7, "bad page"), 7),
        (corrupt("/a.parquet", None, "bad footer"), None),
        (InputMissing("/a.parquet does not exist"), None),
    ],
)
def test_a_dead_letter_holds_the_row_group_that_cannot_be_read(
    tmp_path: Path, error: BulkError, row_group: int | None
) -> None:
    letter = write_dead_letter(
        Storage(),
        str(tmp_path),
        job_id="nightly",
        manifest=None,
        chunk=Chunk(index=42, file=0, row_start=100, rows=50, text_bytes=1),
        generation=1,
        code=error.code,
        error=error,
        worker="w@host",
        attempts=(record_of(error, attempt=1, worker="w@host"),),
    )

    written = Path(layout.dead_letter(str(tmp_path), 42, 1)).read_bytes()
    assert DeadLetter.model_validate_json(written) == letter
    assert letter.row_group == row_group
    assert (letter.row_start, letter.rows, letter.code) == (100, 50, error.code)
