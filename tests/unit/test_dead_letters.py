"""A dead letter says where and why, and never quotes a row."""

from schemas.errors import InputCorrupt, UnexpectedError
from worker.dead_letters import describe, frames_of

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
