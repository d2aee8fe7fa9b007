"""Progress as a person sees it: a bar that fits a terminal, lines where there is none."""

import io

import pytest
from rich.console import Console

from producer.cli.progress_display import bar_on, describe, display
from producer.progress import Progress
from schemas.states import JobState

HALFWAY = Progress(
    job_id="nightly",
    state=JobState.RUNNING,
    stopped_by=None,
    stopped_message="",
    ended=False,
    rows=1_200_000_000,
    rows_done=600_000_000,
    rows_error=1_234,
    chunks=60_000,
    chunks_done=30_000,
    queued=29_000,
    running=990,
    retrying=8,
    dead=2,
    cancelled=0,
    tokens=123_456_789_012,
    rows_per_second=123_456.0,
    tokens_per_second=12_345_678.0,
    eta_seconds=4_860.0,
    elapsed_seconds=5_000.0,
)


def _shown(width: int) -> str:
    out = io.StringIO()
    with bar_on(Console(file=out, force_terminal=True, width=width, no_color=True)) as bar:
        bar.show(HALFWAY)
    return out.getvalue()


def test_on_a_terminal_of_80_columns_nothing_of_a_large_job_is_cut() -> None:
    shown = _shown(width=80)

    assert "…" not in shown
    for part in ("50%", "ETA 1 h 21 min", "12,345,678 tokens/s", "2 dead", "1,234 row errors"):
        assert part in shown


def test_without_a_terminal_there_are_lines_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with display(as_json=False) as shown:
        shown.show(HALFWAY)
        shown.show(HALFWAY)  # too soon for a second line

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{describe(HALFWAY)}\n"
    assert captured.err.startswith("nightly: 50%, 600,000,000 of 1,200,000,000 rows")
