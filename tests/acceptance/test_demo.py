"""`python -m producer.demo`, as `make demo` runs it: to its end, stopped midway, refused."""

import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest

from support.processes import RunningCli, start_command

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

FOLDER = "bulkscore-demo"
SECONDS = 300.0


def start_demo(where: Path) -> AbstractContextManager[RunningCli]:
    return start_command([sys.executable, "-P", "-m", "producer.demo"], cwd=where)


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which one demo has run after the other."""
    return tmp_path_factory.mktemp("demo")


def test_the_demo_goes_from_nothing_to_a_verified_result_and_leaves_nothing_running(
    where: Path,
) -> None:
    with start_demo(where) as demo:
        exit_code = demo.wait(SECONDS)

        assert exit_code == 0, demo
        assert demo.processes() == []
        assert [path.name for path in where.iterdir()] == [FOLDER]
        for line in (
            "6,000 product reviews",
            "3,000 labelled reviews",
            "17 of 17 chunks",
            "input_corrupt  ",
            "1 chunk sent again as generation 1",
            "every row of the corpus has exactly one result row",
            "(error: text_invalid_utf8)",
            "nothing runs any more",
            "Three commands to try next",
        ):
            assert line in demo.stdout + demo.stderr, line
        assert "Traceback" not in demo.stdout + demo.stderr

    result = pl.read_parquet(where / FOLDER / "scored" / "*.parquet")
    assert result.height == 6_000
    assert result["review_id"].n_unique() == 6_000
    assert (where / FOLDER / "scored" / "_SUCCESS").exists()
    errors = result["error"].drop_nulls().value_counts()
    assert dict(errors.iter_rows()) == {"text_null": 2, "text_blank": 2, "text_invalid_utf8": 1}


@pytest.mark.slow
def test_a_second_demo_that_is_stopped_by_ctrl_c_in_the_midst_of_its_job_leaves_nothing_running(
    where: Path,
) -> None:
    with start_demo(where) as demo:
        demo.wait_for_output("17 to score", SECONDS)
        assert not (where / FOLDER / "scored" / "_SUCCESS").exists()

        demo.signal_group(signal.SIGINT)
        exit_code = demo.wait(60)

        assert exit_code == 130, demo
        assert demo.processes() == []
        assert "The demo is stopped, and all that it started." in demo.stderr
        assert "Traceback" not in demo.stderr


def test_a_folder_that_is_not_the_demos_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "thesis.txt").write_text("five years of work")

    with start_demo(tmp_path) as demo:
        exit_code = demo.wait(60)

        assert exit_code == 2, demo
        assert "is not the demo's" in demo.stderr
    assert (tmp_path / FOLDER / "thesis.txt").read_text() == "five years of work"
