"""Many chunks of next to no work, then a soak: four workers, Redis with TLS and users, Ceph's S3.

    PYTHONPATH=tests python -m benchmarks.load [--workers 4] [--chunks 2000] [--minutes 60]

First one job of so many chunks, as fast as the workers go. Then, for so many minutes, a small job
every few seconds, while memory, file descriptors and connections of all processes are looked at:
the slope of each, with a 95 % interval, says whether anything leaks.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.load_samples import Sample, Sampler
from benchmarks.load_stack import LoadStack, load_stack
from benchmarks.load_trend import trend, verdict

SINGLES = 20
SOAK_CHUNKS = 20
# The first part of a soak, in which caches and pools still fill.
WARM_UP_SHARE = 0.15
SAMPLE_SECONDS = 30.0
NOT_HELD = ("seconds", "jobs", "chunks", "redis used_memory_peak")


def main() -> None:
    """Run both and print what was found."""
    options = arguments()
    os.nice(options.nice)
    with (
        tempfile.TemporaryDirectory(prefix="bulkscore-load-") as name,
        load_stack(Path(name), options.workers) as stack,
    ):
        found: dict[str, Any] = {"when": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
        found |= {"workers": options.workers, "load": load(stack, options.chunks)}
        print(json.dumps(found["load"], indent=1), flush=True)
        if options.minutes:
            samples = options.samples or Path(name) / "samples.jsonl"
            found["soak"] = soak(stack, options.minutes, options.every, samples)
            print("\n".join(table(found["soak"])))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--chunks", type=int, default=2_000)
    parser.add_argument("--minutes", type=float, default=0, help="of the soak; 0: none")
    parser.add_argument("--every", type=float, default=10, help="seconds from job to job of it")
    parser.add_argument("--nice", type=int, default=0, help="added to the niceness of all")
    parser.add_argument("--samples", type=Path, metavar="FILE", help="keep the samples there")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """Say what ran this, and what else it had to do, as processes that wanted to run."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[1],
    }


def load(stack: LoadStack, chunks: int) -> dict[str, Any]:
    """Score one job of many chunks, then some of one chunk, one after the other."""
    corpus = stack.lay_out("many", chunks)
    with stack.redis.client() as client:
        idle: Any = client.info("memory")
        seconds = stack.score(corpus, "many")
        full: Any = client.info("memory")
    status = stack.deployment.ledger.status("many")
    single = stack.lay_out("single", 1)
    singles = [stack.score(single, f"single-{number}") for number in range(SINGLES)]
    return {
        "chunks": chunks,
        "seconds": round(seconds, 1),
        "chunks_per_second": round(chunks / seconds, 1),
        "scoring_ms_a_chunk": round(1_000 * status.scoring_seconds / chunks, 1),
        "redis_memory_before_mb": round(idle["used_memory"] / 1e6, 2),
        "redis_memory_peak_mb": round(full["used_memory_peak"] / 1e6, 2),
        "one_chunk_median_ms": round(1_000 * statistics.median(singles), 1),
        "one_chunk_slowest_ms": round(1_000 * max(singles), 1),
    }


def soak(stack: LoadStack, minutes: float, every: float, file: Path) -> dict[str, Any]:
    """Score a small job every few seconds, and return what became of what the processes hold."""
    corpus = stack.lay_out("small", SOAK_CHUNKS)
    began, done = time.monotonic(), {"jobs": 0, "chunks": 0}
    with Sampler(stack, file, SAMPLE_SECONDS) as sampler:
        sampler.progress = lambda: done
        while (passed := time.monotonic() - began) < 60 * minutes:
            stack.score(corpus, f"soak-{done['jobs']:06}")
            done = {"jobs": done["jobs"] + 1, "chunks": done["chunks"] + SOAK_CHUNKS}
            time.sleep(max(0.0, began + passed + every - time.monotonic()))
    return {
        "minutes": round(minutes, 1),
        **done,
        **forget(stack, [f"soak-{number:06}" for number in range(done["jobs"])]),
        "held": account(sampler.samples),
    }


def forget(stack: LoadStack, jobs: list[str]) -> dict[str, float]:
    """Take ended jobs out of Redis, as time does: what they held must be free again."""
    with stack.redis.client() as client:
        before: Any = client.info("memory")
        for job in jobs:
            stack.deployment.ledger.forget(job)
        after: Any = client.info("memory")
    freed = before["used_memory"] - after["used_memory"]
    return {
        "redis_kb_an_ended_job": round(freed / max(1, len(jobs)) / 1e3, 2),
        "redis_memory_without_them_mb": round(after["used_memory"] / 1e6, 2),
    }


def account(samples: list[Sample]) -> dict[str, Any]:
    """Return the trend of everything that was sampled, without the time of warming up."""
    start = samples[0]["seconds"] + WARM_UP_SHARE * (samples[-1]["seconds"] - samples[0]["seconds"])
    steady = [sample for sample in samples if sample["seconds"] >= start]
    seconds = [sample["seconds"] for sample in steady]
    found = {}
    for name in samples[0].keys() - set(NOT_HELD):
        amounts = [sample[name] for sample in steady]
        line = trend(seconds, amounts)
        found[name] = {
            "mean": line.mean,
            "an_hour": line.an_hour,
            "interval": [line.low, line.high],
            "verdict": verdict(seconds, amounts),
        }
    return dict(sorted(found.items()))


def page(found: dict[str, Any]) -> str:
    """Return Markdown of all that `--json` stored."""
    load, soak, machine = found["load"], found["soak"], found["machine"]
    return "\n".join(
        [
            f"{found['when']}, {found['workers']} workers on {machine['cores']} cores that other "
            f"programs used as well (load average {machine['load_average']:.0f} at the start), so "
            "that throughput and latency are lower bounds:",
            "",
            f"- {load['chunks']:,} chunks in {load['seconds']:.0f} s, "
            f"{load['chunks_per_second']:.1f} a second; a worker spent "
            f"{load['scoring_ms_a_chunk']:.0f} ms in each, reading and writing included.",
            f"- Redis held {load['redis_memory_peak_mb']:.1f} MB at most, "
            f"{load['redis_memory_before_mb']:.1f} MB before.",
            f"- A job of one chunk took {load['one_chunk_median_ms']:.0f} ms from its message to "
            f"the ledger's entry (median of {SINGLES}), {load['one_chunk_slowest_ms']:.0f} ms at "
            "most.",
            "",
            f"Then {soak['minutes']:.0f} minutes of small jobs: {soak['jobs']:,} jobs, "
            f"{soak['chunks']:,} chunks. What the processes held after the first "
            f"{WARM_UP_SHARE:.0%} of that time:",
            "",
            *table(soak),
        ]
    )


def table(found: dict[str, Any]) -> list[str]:
    """Return Markdown: how much is held, how much more an hour, and the verdict."""
    lines = ["| held | mean | more an hour | 95 % interval | verdict |", "|---|---:|---:|---:|---|"]
    for name, held in found["held"].items():
        low, high = held["interval"]
        unit, scale = (" MB", 1e6) if name.endswith(("rss", "used_memory")) else ("", 1.0)
        mean, more, low, high = (
            f"{value / scale:,.2f}" for value in (held["mean"], held["an_hour"], low, high)
        )
        lines.append(f"| {name}{unit} | {mean} | {more} | {low} to {high} | {held['verdict']} |")
    return lines


if __name__ == "__main__":
    main()
