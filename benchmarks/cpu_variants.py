"""What might make the engine faster on a CPU, each tried beside the engine as it is.

    python -m benchmarks.cpu_variants [--dtype fp32] [--threads 2] [--documents 64] [NAME …]
    python -m benchmarks.cpu_variants --profile [--dtype fp32] [--threads 1]

Each variant has a process of its own and scores the same token ids when told to, in turns, so that
ratios are taken within a round. "By CPU second" is what a busy machine tells best.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from benchmarks.speed.corpus import CORPUS, sample
from benchmarks.speed.setup import MAX_LENGTH, Setup
from benchmarks.support.classifiers import Compiled, QueryApart
from benchmarks.support.models import save_minilm
from schemas.model_files import pin_model
from schemas.storage import Storage
from worker.encoded import Ids
from worker.engine import Engine, batched, fused, loading
from worker.engine.fused import FusedClassifier
from worker.model_store import ModelStore
from worker.models import load_model
from worker.tokenizer import Tokenizer

AS_IT_IS = "as it is"
BUDGET = 4_096


class Variant(NamedTuple):
    """What is another in it: variables of its process, and what is done before the model loads."""

    environment: Mapping[str, str] = {}
    prepare: Callable[[], object] = lambda: None


class Slice(NamedTuple):
    """What one round took: seconds by the clock and of the processor, and page faults."""

    wall: float
    cpu: float
    faults: float


def _never_trim() -> None:
    batched.BATCHES_BETWEEN_TRIMS = sys.maxsize


def _tokens(count: int) -> Callable[[], None]:
    def prepare() -> None:
        fused.CPU_TOKENS = count

    return prepare


def _instead(classifier: type[FusedClassifier]) -> Callable[[], None]:
    return partial(vars(loading).update, FusedClassifier=classifier)


VARIANTS = {
    AS_IT_IS: Variant(),
    "spins-300000": Variant({"GOMP_SPINCOUNT": "300000"}),  # GNU OpenMP's own
    "spins-1000": Variant({"GOMP_SPINCOUNT": "1000"}),
    "passive": Variant({"OMP_WAIT_POLICY": "PASSIVE"}),
    "huge-pages": Variant({"THP_MEM_ALLOC_ENABLE": "1"}),
    "huge-pages-of-malloc": Variant({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
    "never-trimmed": Variant(prepare=_never_trim),
    "256-tokens": Variant(prepare=_tokens(256)),
    "1024-tokens": Variant(prepare=_tokens(1_024)),
    "query-apart": Variant(prepare=_instead(QueryApart)),
    "compiled": Variant(prepare=_instead(Compiled)),
}


def main() -> None:
    """Measure the variants and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--dtype", default="fp32", choices=("fp32", "bf16", "int8"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _serve(Setup.from_json(options.child), options.names[0], options.dtype)
        return
    names = options.names or list(VARIANTS)[1:]
    if unknown := set(names) - set(VARIANTS):
        parser.error(f"no such variant: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        setup = Setup(folder, options.threads)
        tokenizer = Tokenizer(save_minilm(setup.model), MAX_LENGTH)
        setup.save_texts(sample(options.documents, CORPUS, tokenizer).texts, [])
        if options.profile:
            _profile(setup, options.dtype)
            return
        children = {
            name: running.enter_context(_start(setup, name, options.dtype))
            for name in (AS_IT_IS, *names)
        }
        rounds = [_round(children, backwards=n % 2 == 1) for n in range(options.rounds)]
    print(f"{options.documents} documents, {options.dtype}, {options.threads} threads\n")
    for name in (AS_IT_IS, *names):
        wall = [each[AS_IT_IS].wall / each[name].wall for each in rounds]
        cpu = [each[AS_IT_IS].cpu / each[name].cpu for each in rounds]
        faults = statistics.median(each[name].faults for each in rounds)
        print(f"{name:<22}{_ratio(wall)} by the clock{_ratio(cpu)} by CPU second", end="")
        print(f"{faults:>11,.0f} page faults")


def _ratio(values: list[float]) -> str:
    return f"  x {statistics.median(values):.3f} ({min(values):.2f}-{max(values):.2f})"


def _start(setup: Setup, name: str, dtype: str) -> "subprocess.Popen[str]":
    """Start the process of a variant and wait until it is ready; leaving it ends it."""
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.cpu_variants", name),
            *("--dtype", dtype, "--child", setup.to_json()),
        ],
        env={**os.environ, **VARIANTS[name].environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _answer(child, name)
    return child


def _round(children: "Mapping[str, subprocess.Popen[str]]", *, backwards: bool) -> dict[str, Slice]:
    """Let each variant score the documents once, every other time in reversed order."""
    taken = {}
    for name in sorted(children, key=list(children).index, reverse=backwards):
        child = children[name]
        assert child.stdin is not None
        print(file=child.stdin, flush=True)
        taken[name] = Slice(*map(float, _answer(child, name).split()))
    return taken


def _answer(child: "subprocess.Popen[str]", name: str) -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f"the process of {name} ended, see above")
    return line


def _profile(setup: Setup, dtype: Any) -> None:
    """Print the operators of the engine as it is that take longest."""
    from torch.profiler import profile

    engine, rows = _load(setup, AS_IT_IS, dtype)
    with profile() as profiled:
        engine.forward(rows)
    table = profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=16)
    print(table)


def _serve(setup: Setup, name: str, dtype: Any) -> None:
    """Score the documents for each line read, and print what it took."""
    engine, rows = _load(setup, name, dtype)
    print("ready", flush=True)
    for _ in sys.stdin:
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        engine.forward(rows)
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(wall, cpu, after.ru_minflt - before.ru_minflt, flush=True)


def _load(setup: Setup, name: str, dtype: Any) -> tuple[Engine, Sequence[Ids]]:
    """Return the engine of a variant, that has scored once, and the token ids of the documents."""
    VARIANTS[name].prepare()
    storage = Storage()
    model = load_model(
        ModelStore(storage, setup.made(f"store-{name}")),
        pin_model(storage, str(setup.model)),
        max_length=MAX_LENGTH,
        dtype=dtype,
        device="cpu",
        token_budget=BUDGET,
        threads=setup.threads,
    )
    rows = model.tokenizer.encode(setup.texts).ids
    model.engine.forward(rows)
    return model.engine, rows


if __name__ == "__main__":
    main()
