"""`python -m support.chaos`: a chaos run of any length; see `make chaos`."""

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from support.chaos.driver import Driver, undisturbed_rows
from support.chaos.faults import BY_NAME, FAULTS, meaning
from support.chaos.report import Report
from support.chaos.stack import running_stack


def main(
    seed: Annotated[int, typer.Option(help="Decides the faults.")] = 1,
    minutes: Annotated[float, typer.Option(help="End after so many minutes.")] = 10.0,
    faults: Annotated[int, typer.Option(help="End after so many faults; 0: by time.")] = 0,
    only: Annotated[str, typer.Option(help="Kinds to draw from, joined by commas.")] = "",
    ceph: Annotated[bool, typer.Option("--ceph", help="Ceph as the S3 server.")] = False,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="The product's own times, not short ones.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="Only list the faults.")] = False,
) -> None:
    """Run jobs under faults and recount them; exit code 1 when something is not as promised."""
    if show:
        for kind in FAULTS:
            typer.echo(f"{kind.__name__:<20} {meaning(kind)}")
        return
    kinds = tuple(BY_NAME[name] for name in only.split(",")) if only else FAULTS

    ends = time.monotonic() + minutes * 60

    def enough(report: Report) -> bool:
        return len(report.strikes) >= faults if faults else time.monotonic() > ends

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same end as Ctrl-C
    folder = Path(tempfile.mkdtemp(prefix="bulkscore-chaos-"))
    typer.echo(f"seed {seed}, logs below {folder}")
    with running_stack(folder / "stack", ceph=ceph, defaults=defaults) as stack:
        rows = undisturbed_rows(stack)
        typer.echo(f"undisturbed: {len(rows)} rows")
        report = Driver(stack, rows, seed, kinds=kinds, tell=typer.echo).run(enough)
        report.findings += stack.stop_workers()
    path = Path("build") / "chaos" / f"seed-{seed}.jsonl"
    report.write(path)
    typer.echo(f"\n{report.table()}\nwritten down in {path}")
    if not report.findings:
        shutil.rmtree(folder)
    sys.exit(1 if report.findings else 0)


if __name__ == "__main__":
    typer.run(main)
