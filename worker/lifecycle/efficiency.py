"""How fast a model is here, and how large: measured on the road of a job, without its storage."""

import contextlib
import platform
import re
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch

from schemas.job import LongText
from schemas.model_weights import read_shapes
from worker.models import LoadedModel
from worker.scores import score_rows

PASSES = 3  # of which the median counts
PASS_TEXTS = 512
LATENCY_TEXTS = 100
WARM_UP_TEXTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Speed and size, and what they were measured with.

    Attributes:
        documents_per_second: Tokenizing and scoring together, the median of the passes.
        tokens_per_second: The same in tokens that the model read.
        passes: How often `documents` texts were scored.
        documents: Texts of a pass, no two of them scored as one.
        latency_p50_seconds: From one text to its score, one at a time.
        latency_p95_seconds: The same.
        peak_memory_bytes: On a CPU the largest memory of the whole process during the passes,
            libraries and data included; on a GPU what torch had allocated there.
        parameters: Numbers in the weights.
        model_bytes: All files that are loaded.
    """

    documents_per_second: float
    tokens_per_second: float
    passes: int
    documents: int
    latency_p50_seconds: float
    latency_p95_seconds: float
    peak_memory_bytes: int
    parameters: int
    model_bytes: int
    device: str
    device_name: str
    dtype: str
    threads: int


def efficiency_of(
    model: LoadedModel,
    folder: Path,
    texts: Sequence[str],
    *,
    long_text: LongText = "truncate",
    clock: Callable[[], float] = time.perf_counter,
) -> Efficiency:
    """Measure a model on the first of `texts`, after a warm-up.

    Args:
        model: The model.
        folder: Its files.
        texts: Any texts, in an order that has nothing to do with length.
        long_text: What becomes of long texts.
        clock: Seconds.
    """
    texts = list(dict.fromkeys(texts))[:PASS_TEXTS]

    def seconds_for(some: Sequence[str]) -> float:
        started = clock()
        _score(model, some, long_text)
        return clock() - started

    _score(model, texts[:WARM_UP_TEXTS], long_text)
    _forget_peak_memory(model.engine.device)
    tokens = _score(model, texts, long_text)
    typical = statistics.median(seconds_for(texts) for _ in range(PASSES))
    peak = _peak_memory_bytes(model.engine.device)
    latencies = [seconds_for([text]) for text in texts[:LATENCY_TEXTS]]
    p50, p95 = np.quantile(latencies, (0.5, 0.95), method="inverted_cdf")
    on_cpu = model.engine.device == "cpu"
    return Efficiency(
        documents_per_second=len(texts) / typical,
        tokens_per_second=tokens / typical,
        passes=PASSES,
        documents=len(texts),
        latency_p50_seconds=float(p50),
        latency_p95_seconds=float(p95),
        peak_memory_bytes=peak,
        parameters=_parameters(folder),
        model_bytes=sum(file.size for file in model.pin.files),
        device=model.engine.device,
        device_name=_processor() if on_cpu else torch.cuda.get_device_name(model.engine.device),
        dtype=model.engine.dtype,
        threads=torch.get_num_threads(),
    )


def _score(model: LoadedModel, texts: Sequence[str], long_text: LongText) -> int:
    """Score texts and return how many tokens were read."""
    encoded = model.tokenizer.encode(texts, long_text)
    usable = encoded.take(np.flatnonzero(~encoded.failed))
    logits = model.engine.forward(usable.ids)
    score_rows(logits, model.pin.problem_type, usable.passages, long_text)
    return sum(map(len, usable.ids))


def _forget_peak_memory(device: str) -> None:
    """Begin to count the peak anew; where the system does not let us, it is that since the start.

    See `clear_refs` in proc(5).
    """
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_memory_bytes(device: str) -> int:
    if device != "cpu":
        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        if peak := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
            return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def _parameters(folder: Path) -> int:
    found = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as stream:
            shapes = read_shapes(stream, path.stat().st_size, path.name)
        found += sum(prod(shape) for shape in shapes.values())
    return found


def _processor() -> str:
    """Return the name of the processor, as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
