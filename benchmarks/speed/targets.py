"""What we set out to reach, held against what a run has measured."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.speed.figures import Run


class Target(NamedTuple):
    """A target: what it asks for, and what was measured."""

    what: str
    wanted: float
    measured: float
    figure: str

    @property
    def met(self) -> bool:
        """Whether the median reaches it."""
        return self.measured >= self.wanted


# Times as fast as the best setting of the pipeline, by model and contender.
FASTER = {
    "minilm": {"ours-fp32": 1.8, "ours-bf16": 4.0, "ours-int8": 5.0},
    "bert-base": {"ours-bf16": 3.4},
}
FASTER_THAN_BATCH_32 = 6.0
SHARE_OF_FP32_PEAK = 0.95


def targets(run: Run) -> Iterator[Target]:
    """Yield the targets that the run can be held against."""
    ran = {entrant.name for entrant in run.ran()}
    best_pipeline, best_openvino = run.best("pipeline"), run.best("openvino")
    for name, wanted in FASTER.get(run.model, {}).items():
        if name in ran and best_pipeline:
            yield _faster(run, name, best_pipeline, wanted)
    if run.model != "minilm":
        return
    peak = run.peak_gflops("fp32")
    if "ours-fp32" in ran and peak:
        share = run.useful_gflops("ours-fp32") / peak
        what = "ours-fp32: useful work by the fp32 matrix peak"
        yield Target(what, SHARE_OF_FP32_PEAK, share, f"{share:.2f}")
    if "ours-int8" in ran and best_openvino:
        yield _faster(run, "ours-int8", best_openvino, 1.0)
    if "pipeline-32" in ran:
        for entrant in run.ran("ours"):
            yield _faster(run, entrant.name, "pipeline-32", FASTER_THAN_BATCH_32)


def _faster(run: Run, name: str, than: str, wanted: float) -> Target:
    ratio = run.faster(name, than)
    return Target(f"{name}: times as fast as {than}", wanted, ratio.median, str(ratio))
