"""Runs the benchmarks one after the other, with a few minutes for all of them: `make bench`.

    python benchmarks/run.py [--full]

`--full` takes as many documents and rounds as the figures of the docs, and hours.
"""

import argparse
import subprocess
import sys

# Modules with the arguments that make them short.
SHORT = (
    ("benchmarks.speed",),
    ("benchmarks.tokenizing",),
    ("benchmarks.whole_jobs", "--documents", "384"),
    ("benchmarks.end_to_end", "--chunk-seconds", "5", "--chunks", "2", "--rounds", "2"),
    ("benchmarks.chunk_cost", "--chunks", "100"),
    ("benchmarks.ledger", "--chunks", "100000", "--moves", "1000"),
    ("benchmarks.plan", "--files", "200", "--big-files", "1000"),
)
FULL = (
    ("benchmarks.speed", "--full"),
    ("benchmarks.speed", "--full", "--model", "bert-base"),
    ("benchmarks.agreement",),
    ("benchmarks.tokenizing", "--turns", "3"),
    ("benchmarks.whole_jobs", "--documents", "3000", "--rounds", "3"),
    ("benchmarks.end_to_end",),
    ("benchmarks.chunk_cost",),
    ("benchmarks.ledger",),
    ("benchmarks.plan",),
)


def main() -> None:
    """Run one after the other; the first that fails ends the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    for module, *arguments in FULL if parser.parse_args().full else SHORT:
        print(f"\n== {' '.join([module, *arguments])} ==\n", flush=True)
        subprocess.run([sys.executable, "-m", module, *arguments], check=True)


if __name__ == "__main__":
    main()
