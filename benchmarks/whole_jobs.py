"""Parquet in, Parquet out: `bulkscore run` beside Ray Data and pandas with the pipeline.

    python -m benchmarks.whole_jobs [--documents 768] [--rounds 1] [--jobs NAME ...] [--json FILE]

Each is a command of its own, on all processors, started afresh each time: once on a few documents,
which is what starting up takes, and once on all. Documents per second are of the difference, so
that nobody's start-up counts; it is told beside them. Ours includes a broker and a worker.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import rivals
from benchmarks.speed import corpus, load
from benchmarks.speed.contest import CORES
from benchmarks.speed.figures import Slice, faster, quiet
from benchmarks.speed.setup import MAX_LENGTH
from benchmarks.support.machine import processor, versions
from benchmarks.support.models import save_minilm
from worker.tokenizer import Tokenizer

DISTRIBUTIONS = ("torch", "transformers", "ray", "pandas")
FEW = 16
LOOK_SECONDS = 1.0  # for what others do, before each command
# The installed command, by the interpreter that runs this.
PROGRAM = "from producer.cli.app import main; main()"
RIVALS = Path(rivals.__file__).parent
# Takes corpus, model and output; returns a command.
Command = Callable[[Path, Path, Path], list[str]]


def ours(dtype: str) -> Command:
    """Return our command in a precision."""
    return lambda corpus, model, output: [
        *(sys.executable, "-c", PROGRAM, "run", "-i", str(corpus), "-m", str(model)),
        *("-o", str(output), "--text-column", "text", "--id-column", "doc_id"),
        *("--dtype", dtype, "--max-length", str(MAX_LENGTH)),
    ]


def script(name: str) -> Command:
    """Return the command of a rival."""
    return lambda *paths: [sys.executable, str(RIVALS / f"{name}.py"), *map(str, paths)]


@dataclass(frozen=True, slots=True)
class Contender:
    """A whole command, and the package without which it does not take part."""

    title: str
    command: Command
    needs: str = "torch"


CONTENDERS = {
    "fp32": Contender("bulkscore run, fp32", ours("fp32")),
    "bf16": Contender("bulkscore run, bf16", ours("bf16")),
    "int8": Contender("bulkscore run, int8", ours("int8")),
    "ray": Contender("Ray Data", script("ray_data"), needs="ray"),
    "pandas": Contender("pandas and pipeline", script("pandas_pipeline"), needs="pandas"),
}


@dataclass(frozen=True, slots=True)
class Job:
    """One command on a few documents and on all: the difference, and what starting up took."""

    slice: Slice
    start_seconds: float


def main() -> None:
    """Run the commands in turn and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--corpus", type=Path, default=corpus.CORPUS)
    parser.add_argument("--jobs", nargs="+", choices=CONTENDERS, default=[*CONTENDERS])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jobs: dict[str, list[Job]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save_minilm(folder / "model")
        lay_out(options, folder, model)
        for number in range(options.rounds):
            for contender in map(CONTENDERS.__getitem__, options.jobs):
                if find_spec(contender.needs) is None:
                    print(f"{contender.title} is left out: {contender.needs} is not installed")
                elif (job := run(contender, folder, number)) is not None:
                    jobs.setdefault(contender.title, []).append(job)
    documents = options.documents - FEW
    about = f"{processor()}, {CORES} cores; {datetime.now(UTC):%Y-%m-%d}; " + ", ".join(
        f"{name} {version}" for name, version in versions(DISTRIBUTIONS).items()
    )
    print("\n".join(table(about, jobs, documents)))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        stored = {title: [asdict(job) for job in some] for title, some in jobs.items()}
        text = json.dumps({"about": about, "documents": documents, "jobs": stored}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


def lay_out(options: argparse.Namespace, folder: Path, model: Path) -> None:
    """Write the corpus, and the one of a few documents."""
    tokenizer = Tokenizer(model, MAX_LENGTH)
    texts, _, _ = corpus.sample(options.documents, options.corpus, tokenizer)
    for name, some in (("few", texts[:FEW]), ("all", texts)):
        table = pa.table({"doc_id": [f"{i:06}" for i in range(len(some))], "text": some})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=64)


def run(contender: Contender, folder: Path, number: int) -> Job | None:
    """Run a command on a few documents and on all, None when it fails."""
    before = load.read()
    time.sleep(LOOK_SECONDS)
    foreign = load.foreign_share(before, load.read(), own=0.0, cores=CORES)
    title, times, busy = contender.title, [], []
    for name in ("few", "all"):
        output = folder / f"{number}-{name}-{''.join(filter(str.isalnum, title))}"
        started = load.read()
        done = subprocess.run(
            contender.command(folder / f"{name}.parquet", folder / "model", output),
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        ended = load.read()
        if done.returncode:
            print(f"{title} is left out: it left with {done.returncode}\n{done.stderr[-2000:]}")
            return None
        times.append(ended.clock - started.clock)
        busy.append(ended.busy - started.busy)
    print(f"round {number}: {title} {times[1]:.1f} s", file=sys.stderr, flush=True)
    difference = Slice(
        contender=title,
        round=number,
        seconds=times[1] - times[0],
        cpu_seconds=busy[1] - busy[0],
        foreign=foreign,
        peak_rss_mb=0.0,
    )
    return Job(difference, times[0])


def table(about: str, jobs: dict[str, list[Job]], documents: int) -> Iterator[str]:
    """Yield Markdown: rates, start-up, and how many times as fast as the rivals each is."""
    rounds = max(len(some) for some in jobs.values())
    yield f"{documents} documents, {rounds} rounds; {about}."
    yield ""
    slices = {title: [job.slice for job in some] for title, some in jobs.items()}
    theirs = [title for title in slices if not title.startswith("bulkscore")]
    yield f"| | documents/s | start-up, s | {' | '.join(f'× {title}' for title in theirs)} |"  # noqa: RUF001
    yield f"|---|{'---:|' * (2 + len(theirs))}"
    for title, some in slices.items():
        rate = documents / statistics.median(s.seconds for s in quiet(some))
        start = statistics.median(job.start_seconds for job in jobs[title])
        ratios = (str(faster(some, slices[other])) for other in theirs)
        yield f"| {' | '.join((title, f'{rate:.1f}', f'{start:.1f}', *ratios))} |"


def read_jobs(path: Path) -> tuple[str, dict[str, list[Job]], int]:
    """Return what `--json` stored: on what, the jobs, and the documents of their difference."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    jobs = {
        title: [Job(Slice(**job["slice"]), job["start_seconds"]) for job in some]
        for title, some in stored["jobs"].items()
    }
    return stored["about"], jobs, stored["documents"]


if __name__ == "__main__":
    main()
