"""How fast a GPU scores, beside the pipeline of transformers at its best and the GPU's own limit.

    python benchmarks/gpu.py [--models minilm bert-base] [--dtypes bf16 fp16] [--json FILE]
    python benchmarks/gpu.py --device cpu --documents 24 --budgets 512 --batch-sizes 8   # a trial

Each round runs every variant once; figures are medians, ratios are taken round by round. Work is
counted without padding, and the limit is what matrix products of the model's shapes reach here.
Without a GPU it says so and ends.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from numpy.typing import NDArray

from benchmarks.speed.corpus import CORPUS, sample
from benchmarks.speed.models import MODELS, Shape, shape_of
from benchmarks.speed.peak import shapes
from benchmarks.speed.work import useful_flops
from benchmarks.support.gpu import busy_share, matrix_rate
from schemas.job import Dtype
from schemas.model_files import pin_model
from schemas.storage import Storage
from worker.engine import Engine
from worker.engine.device import DTYPES
from worker.engine.loading import load_engine
from worker.tokenizer import Tokenizer

Rows = list[NDArray[np.int32]]
Variant = Callable[[], object]
MAX_LENGTH = 512
# What is to be reached on an H200 with BERT-base in bf16.
TARGETS = "half of the matrix peak, five times the pipeline, 95 % busy"


def main() -> None:
    """Measure every model in every precision and print a table."""
    options = _options()
    if options.tokenize:
        print(_tokenized_per_second(options.tokenize, options))
        return
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"SKIPPED: no CUDA device that torch {torch.__version__} can use", file=sys.stderr)
        return
    device = torch.device(options.device)
    found: dict[str, Any] = {"about": _about(device), "targets": TARGETS, "runs": []}
    runs = found["runs"]
    print(json.dumps(found["about"]))
    with tempfile.TemporaryDirectory() as root:
        for name in options.models:
            folder = Path(root) / name
            MODELS[name](folder)
            for dtype in options.dtypes:
                runs.append({"model": name, **_measure(folder, dtype, device, options)})
                print(_table(runs[-1]), flush=True)
                _save(found, options.json)
            threads = sorted({1, 2, os.cpu_count() or 1})
            rates = {n: _tokenizer_rate(folder, options, n) for n in threads}
            print("tokenizer: " + ", ".join(f"{r:,.0f}/s on {n} cores" for n, r in rates.items()))
            runs[-1]["tokenized_per_second"] = rates
            _save(found, options.json)


def _save(found: dict[str, Any], path: Path | None) -> None:
    """Write what there is so far: a machine may be lent for a short time."""
    if path:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _measure(
    folder: Path, dtype: Dtype, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the figures of one model in one precision."""
    tokenizer = Tokenizer(folder, MAX_LENGTH)
    texts = sample(options.documents, options.corpus, tokenizer).texts
    rows = list(tokenizer.encode(texts).ids)
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    shape = shape_of(folder)
    flops = float(_flops(lengths, shape).sum())
    engines = {
        f"bulkscore, {budget:,} tokens": _engine(folder, dtype, device, budget)
        for budget in options.budgets
    }
    variants: dict[str, Variant] = {
        name: (lambda engine=engine: engine.forward(rows)) for name, engine in engines.items()
    } | _pipelines(folder, dtype, device, options.batch_sizes, sorted(texts, key=len))
    times = _timed(variants, options.rounds)
    best = min(engines, key=lambda name: statistics.median(times[name]))
    rival = min(set(times) - set(engines), key=lambda name: statistics.median(times[name]))
    peak = matrix_rate(shapes(shape), DTYPES[dtype], device)
    return {
        "dtype": dtype,
        "documents": len(texts),
        "tokens": int(lengths.sum()),
        "peak_tflops": peak / 1e12,
        "seconds": times,
        "useful_tflops": {
            name: flops / statistics.median(took) / 1e12 for name, took in times.items()
        },
        "best": best,
        "best_pipeline": rival,
        "share_of_peak": flops / statistics.median(times[best]) / peak,
        "faster_than_pipeline": [
            theirs / ours for theirs, ours in zip(times[rival], times[best], strict=True)
        ],
        "busy": busy_share(variants[best], device),
    }


def _flops(lengths: NDArray[np.int64], shape: Shape) -> NDArray[np.int64]:
    return useful_flops(lengths, layers=shape.layers, width=shape.width, inner=shape.inner)


def _engine(folder: Path, dtype: Dtype, device: torch.device, budget: int) -> Engine:
    pin = pin_model(Storage(), str(folder))
    return load_engine(folder, pin, device=str(device), dtype=dtype, token_budget=budget)


def _pipelines(
    folder: Path,
    dtype: Dtype,
    device: torch.device,
    batch_sizes: Sequence[int],
    texts: Sequence[str],
) -> dict[str, Variant]:
    """Return transformers' pipeline over sorted texts; it tokenizes on the way."""
    classify = transformers.pipeline(
        "text-classification", model=str(folder), device=device, dtype=DTYPES[dtype]
    )

    def scored(batch_size: int) -> Variant:
        return lambda: classify(
            list(texts), batch_size=batch_size, truncation=True, max_length=MAX_LENGTH
        )

    return {f"pipeline, sorted, batch {size}": scored(size) for size in batch_sizes}


def _timed(variants: dict[str, Variant], rounds: int) -> dict[str, list[float]]:
    """Return seconds of each variant, round by round, after a round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for round_ in range(rounds + 1):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            if round_:
                times[name].append(time.perf_counter() - started)
    return times


def _tokenizer_rate(folder: Path, options: argparse.Namespace, threads: int) -> float:
    """Return documents per second; a process of its own, as its threads are made once."""
    command = [sys.executable, __file__, "--tokenize", str(folder)]
    command += ["--documents", str(options.documents), "--corpus", str(options.corpus)]
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true"}
    return float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


def _tokenized_per_second(folder: Path, options: argparse.Namespace) -> float:
    tokenizer = Tokenizer(folder, MAX_LENGTH)
    texts = sample(options.documents, options.corpus, tokenizer).texts
    started = time.perf_counter()
    tokenizer.encode(texts)
    return len(texts) / (time.perf_counter() - started)


def _table(run: dict[str, Any]) -> str:
    lines = [
        f"\n{run['model']}, {run['dtype']}: {run['documents']:,} documents, "
        f"{run['tokens']:,} tokens",
        f"{'variant':<30} {'documents/s':>12} {'tokens/s':>12} {'TFLOP/s':>9} {'of peak':>8}",
    ]
    for name, took in run["seconds"].items():
        seconds, useful = statistics.median(took), run["useful_tflops"][name]
        lines.append(
            f"{name:<30} {run['documents'] / seconds:>12,.0f} {run['tokens'] / seconds:>12,.0f} "
            f"{useful:>9.2f} {useful / run['peak_tflops']:>8.0%}"
        )
    ratios, busy = run["faster_than_pipeline"], run["busy"]
    lines.append(
        f"matrix peak {run['peak_tflops']:.2f} TFLOP/s; {run['best']} is faster than "
        f"{run['best_pipeline']} by {statistics.median(ratios):.2f} ({min(ratios):.2f}-"
        f"{max(ratios):.2f}); device busy {'not measured' if busy is None else f'{busy:.1%}'}"
    )
    return "\n".join(lines)


def _about(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "device": name or platform.machine(),
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["bf16", "fp16"])
    parser.add_argument("--documents", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budgets", nargs="+", type=int, default=[16_384, 32_768, 65_536, 131_072])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8, 32, 128])
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tokenize", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
