"""Who takes part: bulkscore in each precision, and what people use today."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.speed import loops, onnx_runtime, openvino_runtime, ours, pipelines
from benchmarks.speed.figures import Precision
from benchmarks.speed.scored import Scorer
from benchmarks.speed.setup import Setup

Group = Literal["ours", "pipeline", "sorted pipeline", "loop", "onnxruntime", "openvino"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to score texts.

    Attributes:
        load: Loads the model and returns what scores with it; imports what it needs.
        needs: Packages without which it does not take part.
        prepare: Makes files of the model beforehand, in a process of its own.
    """

    name: str
    title: str
    group: Group
    load: Callable[[Setup], Scorer]
    precision: Precision = "fp32"
    needs: tuple[str, ...] = ()
    prepare: Callable[[Setup], None] | None = None


OURS = tuple(
    Contender(
        name=f"ours-{dtype}",
        title=f"**bulkscore {dtype}**",
        group="ours",
        precision=dtype,
        load=ours.loader(dtype),
    )
    for dtype in ours.DTYPES
)
PIPELINES = tuple(
    Contender(
        name=f"pipeline-{rows}",
        title=f"transformers pipeline, batch {rows}",
        group="pipeline",
        load=pipelines.loader(rows),
    )
    for rows in (1, 8, 32)
)
SORTED_PIPELINES = tuple(
    Contender(
        name=f"sorted-pipeline-{rows}",
        title=f"pipeline, corpus sorted by length, batch {rows}",
        group="sorted pipeline",
        load=pipelines.loader(rows, in_order_of_length=True),
    )
    for rows in (8, 32)
)
LOOPS = (
    Contender(
        name="smart-batches",
        title="sentence-transformers' batches: sorted, 32 rows, padded",
        group="loop",
        load=loops.load_smart_batches,
    ),
    Contender(
        name="padded-fp32",
        title="sorted, token budget, padded, fp32",
        group="loop",
        load=loops.loader("fp32"),
    ),
    Contender(
        name="padded-bf16",
        title="sorted, token budget, padded, bf16",
        group="loop",
        precision="bf16",
        load=loops.loader("bf16"),
    ),
)
ONNX = (
    Contender(
        name="onnx-fp32",
        title="ONNX Runtime fp32, same batches",
        group="onnxruntime",
        load=onnx_runtime.load_fp32,
        needs=("onnx", "onnxruntime"),
        prepare=onnx_runtime.export,
    ),
    Contender(
        name="onnx-int8",
        title="ONNX Runtime int8, same batches",
        group="onnxruntime",
        precision="int8",
        load=onnx_runtime.load_int8,
        needs=("onnx", "onnxruntime"),
        prepare=onnx_runtime.quantize,
    ),
)
OPENVINO = (
    Contender(
        name="openvino-fp32",
        title="OpenVINO fp32, same batches",
        group="openvino",
        load=openvino_runtime.loader("fp32"),
        needs=("onnx", "openvino"),
        prepare=openvino_runtime.export,
    ),
    Contender(
        name="openvino-bf16",
        title="OpenVINO bf16, same batches",
        group="openvino",
        precision="bf16",
        load=openvino_runtime.loader("bf16"),
        needs=("onnx", "openvino"),
        prepare=openvino_runtime.export,
    ),
    Contender(
        name="openvino-int8",
        title="OpenVINO int8 and bf16, same batches",
        group="openvino",
        precision="int8",
        load=openvino_runtime.loader("int8"),
        needs=("onnx", "openvino", "nncf"),
        prepare=openvino_runtime.quantize,
    ),
)

CONTENDERS = {
    contender.name: contender
    for contender in (*OURS, *PIPELINES, *SORTED_PIPELINES, *LOOPS, *ONNX, *OPENVINO)
}
