"""Runs bulkscore and its rivals interleaved, on the same texts and model, and prints a table.

    python -m benchmarks.speed [--model bert-base] [--threads 1] [--json FILE] [--plot FILE]
    python -m benchmarks.speed --table FILE    # the Markdown table of a run that was stored

Linux alone: what other programs use is read from /proc.
"""

import argparse
import os
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.speed import corpus, models
from benchmarks.speed.contenders import CONTENDERS
from benchmarks.speed.contest import CORES, compete
from benchmarks.speed.figures import Corpus, Run
from benchmarks.speed.setup import MAX_LENGTH, Setup
from benchmarks.speed.table import page
from benchmarks.speed.work import useful_flops
from benchmarks.support.machine import processor, versions
from worker.tokenizer import Tokenizer

DISTRIBUTIONS = ("torch", "transformers", "tokenizers", "onnxruntime", "openvino", "nncf")
# Documents by default, and for the figures of the docs: a slice lasts some seconds at least.
DOCUMENTS = {"minilm": (192, 1_024), "bert-base": (32, 160)}
ROUNDS = (2, 4)


def main() -> None:
    """Measure, or print what was measured before."""
    options = _options()
    if options.table:
        print(page(Run.read(options.table), markdown=True))
        return
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(folder, options.threads)
        models.MODELS[options.model](setup.model)
        run = _run_of(options, setup)
        compete(
            run,
            [CONTENDERS[name] for name in options.contenders],
            setup,
            rounds=options.rounds,
            repeats=options.repeats,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    print(page(run))
    if options.json:
        run.save(options.json)
    if options.plot:
        from benchmarks.speed.plot import draw

        draw(run, options.plot)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=models.MODELS, default="minilm")
    parser.add_argument("--threads", type=int, default=CORES, help="of each contender")
    parser.add_argument("--full", action="store_true", help="as for the docs: takes half an hour")
    parser.add_argument("--documents", type=int, help="texts that each scores in a round")
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME"
    )
    parser.add_argument("--corpus", type=Path, default=corpus.CORPUS, help="Parquet file")
    parser.add_argument(
        "--repeats", type=int, default=0, help="measure again what other programs disturbed"
    )
    parser.add_argument("--json", type=Path, help="store what was measured")
    parser.add_argument("--plot", type=Path, help="draw it as SVG")
    parser.add_argument("--table", type=Path, help="print a stored run as Markdown, and end")
    options = parser.parse_args()
    options.documents = options.documents or DOCUMENTS[options.model][options.full]
    options.rounds = options.rounds or ROUNDS[options.full]
    return options


def _run_of(options: argparse.Namespace, setup: Setup) -> Run:
    """Lay the texts out, and return the record of a run that has not begun."""
    tokenizer = Tokenizer(setup.model, MAX_LENGTH)
    texts, others, source = corpus.sample(options.documents, options.corpus, tokenizer)
    setup.save_texts(texts, others)
    encoded = tokenizer.encode(texts)
    lengths = encoded.tokens().astype(np.int64)
    shape = models.shape_of(setup.model)
    work = useful_flops(lengths, layers=shape.layers, width=shape.width, inner=shape.inner)
    return Run(
        command=shlex.join(["python", "-m", "benchmarks.speed", *sys.argv[1:]]),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=processor(),
        cores=CORES,
        threads=setup.threads,
        versions=versions(DISTRIBUTIONS),
        model=options.model,
        corpus=Corpus(
            source=source,
            documents=len(texts),
            tokens=int(lengths.sum()),
            median_tokens=float(np.median(lengths)),
            p90_tokens=float(np.quantile(lengths, 0.9)),
            truncated=float(encoded.truncated.mean()),
            useful_gflop=int(work.sum()) / 1e9,
        ),
    )


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
