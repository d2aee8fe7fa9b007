"""Rounds in which everybody scores the same texts, one after the other: A B C, A B C, A B C."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Self

from benchmarks.speed import load
from benchmarks.speed.child import PEAK
from benchmarks.speed.contenders import Contender
from benchmarks.speed.figures import FOREIGN_LIMIT, Entrant, Peak, Run, Slice
from benchmarks.speed.setup import Setup

CORES = os.cpu_count() or 1


class CannotRun(Exception):
    """Why a contender does not take part."""


class Child:
    """A process that holds one contender; a context that ends it."""

    def __init__(self, name: str, setup: Setup) -> None:
        threads = str(setup.threads)
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.speed.child", name, setup.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                **dict.fromkeys(names, threads),
                "HF_HUB_OFFLINE": "1",
                "RAYON_NUM_THREADS": threads,
            },
        )
        try:
            self._answer()
        except CannotRun:
            self.__exit__()
            raise

    def measure(self) -> tuple[dict[str, Any], float]:
        """Let it work once; return its answer and the share of the machine that others had."""
        before = load.read()
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        answer = self._answer()
        after = load.read()
        own = answer["cpu_seconds"]
        return answer, load.foreign_share(before, after, own=own, cores=CORES)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process has ended"}
        if "error" in answer:
            raise CannotRun(answer["error"])
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compete(
    run: Run,
    contenders: Sequence[Contender],
    setup: Setup,
    *,
    rounds: int,
    repeats: int,
    say: Callable[[str], None],
) -> None:
    """Let the contenders score in turn and note everything in `run`.

    Args:
        run: Where entrants, slices and peaks go.
        contenders: Who takes part; labels are held against those of the first pipeline there is.
        setup: What they are given.
        rounds: How often each scores all texts.
        repeats: How often a slice that other programs disturbed is measured again.
        say: Told of what goes on.
    """
    with ExitStack() as running:
        children = {PEAK: running.enter_context(Child(PEAK, setup))}
        for contender in contenders:
            say(f"loading {contender.name}")
            try:
                child = start(contender, setup)
            except CannotRun as error:
                run.entrants.append(_entrant(contender, skipped=str(error)))
            else:
                children[contender.name] = running.enter_context(child)
                run.entrants.append(_entrant(contender))
        labels: dict[str, list[int]] = {}
        for number in range(rounds):
            for name, child in children.items():
                answer = _note(run, name, child, number, repeats, say)
                labels[name] = answer.get("labels", [])
    _compare_labels(run, labels)


def _note(
    run: Run, name: str, child: Child, number: int, repeats: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure once, or until nobody disturbs, and note it."""
    for _ in range(repeats + 1):
        answer, foreign = child.measure()
        if foreign <= FOREIGN_LIMIT:
            break
    say(f"round {number}: {name} {answer['seconds']:.1f} s, others {foreign:.1%}")
    if name == PEAK:
        run.peaks.extend(
            Peak(precision=precision, round=number, gflops=rate, foreign=foreign)
            for precision, rate in answer["gflops"].items()
        )
    else:
        times = {key: answer[key] for key in ("seconds", "cpu_seconds", "peak_rss_mb")}
        run.slices.append(Slice(contender=name, round=number, foreign=foreign, **times))
    return answer


def start(contender: Contender, setup: Setup) -> Child:
    """Start the process of a contender.

    Raises:
        CannotRun: Something is not installed, or it does not load.
    """
    lacking = [name for name in contender.needs if find_spec(name) is None]
    if lacking:
        raise CannotRun(f"not installed: {', '.join(lacking)}")
    if contender.prepare is not None:
        # A process of its own, for what it takes to make files is not what it takes to score.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            try:
                pool.submit(contender.prepare, setup).result()
            except Exception as error:
                raise CannotRun(f"{type(error).__name__}: {error}") from error
    return Child(contender.name, setup)


def _entrant(contender: Contender, skipped: str | None = None) -> Entrant:
    return Entrant(
        name=contender.name,
        title=contender.title,
        group=contender.group,
        precision=contender.precision,
        skipped=skipped,
    )


def _compare_labels(run: Run, labels: dict[str, list[int]]) -> None:
    """Note the share of labels that are those of transformers, or of the first where it is not."""
    pipelines = [entrant.name for entrant in run.ran("pipeline")]
    ran = [entrant.name for entrant in run.ran()]
    reference = labels[(pipelines or ran)[0]] if ran else []
    for place, entrant in enumerate(run.entrants):
        if entrant.name in labels:
            pairs = zip(labels[entrant.name], reference, strict=True)
            share = sum(mine == theirs for mine, theirs in pairs) / len(reference)
            run.entrants[place] = replace(entrant, same_labels=share)
