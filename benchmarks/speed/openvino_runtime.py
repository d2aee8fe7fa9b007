"""OpenVINO: fp32, bf16, and static int8 of which the rest is computed in bf16."""

from collections.abc import Callable
from typing import Any

from benchmarks.speed.figures import Precision
from benchmarks.speed.onnx_runtime import INPUTS, PLAIN, export_plain
from benchmarks.speed.scored import Scorer, over_batches
from benchmarks.speed.setup import MAX_LENGTH, Setup
from worker.engine.padding import pad
from worker.tokenizer import Tokenizer

QUANTIZED = "openvino-int8.xml"
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}


def export(setup: Setup) -> None:
    """Write the plain graph, of which OpenVINO makes its own."""
    export_plain(setup)


def quantize(setup: Setup) -> None:
    """Write the graph quantised by NNCF, calibrated on documents that are not scored."""
    import nncf
    import openvino

    export(setup)
    if setup.made(QUANTIZED).exists():
        return
    tokenizer = Tokenizer(setup.model, MAX_LENGTH)
    rows = tokenizer.encode(setup.other_texts).ids
    feeds = [dict(zip(INPUTS, pad([row], pad_id=0, side="right"), strict=True)) for row in rows]
    quantized = nncf.quantize(
        openvino.Core().read_model(setup.made(PLAIN)),
        nncf.Dataset(feeds),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(feeds),
    )
    openvino.save_model(quantized, setup.made(QUANTIZED))


def loader(precision: Precision) -> Callable[[Setup], Scorer]:
    """Return what loads the graph in a precision."""

    def load(setup: Setup) -> Scorer:
        import openvino

        core = openvino.Core()
        name = QUANTIZED if precision == "int8" else PLAIN
        compiled = core.compile_model(
            core.read_model(setup.made(name)),
            "CPU",
            {
                "INFERENCE_NUM_THREADS": setup.threads,
                "INFERENCE_PRECISION_HINT": HINTS[precision],
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        request = compiled.create_infer_request()

        def forward(ids: Any, mask: Any) -> Any:
            feed = dict(zip(INPUTS, (ids, mask), strict=True))
            return request.infer(feed)[compiled.output(0)].copy()

        return over_batches(setup, forward)

    return load
