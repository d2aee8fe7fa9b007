"""ONNX Runtime: the graph optimised by its own tools, in fp32 and with dynamic int8."""

from pathlib import Path
from typing import Any

from benchmarks.speed.models import shape_of
from benchmarks.speed.scored import Scorer, over_batches
from benchmarks.speed.setup import Setup

INPUTS = ["input_ids", "attention_mask"]
PLAIN, OPTIMISED, QUANTIZED = "model.onnx", "optimised.onnx", "int8.onnx"


def export_plain(setup: Setup) -> None:
    """Write the model as a plain ONNX graph for rows and lengths of any number."""
    import torch
    from transformers import AutoModelForSequenceClassification

    if setup.made(PLAIN).exists():
        return
    # The optimiser knows the attention of the eager module, and puts a fused one in its place.
    model = AutoModelForSequenceClassification.from_pretrained(
        setup.model, attn_implementation="eager"
    ).eval()
    ids = torch.ones(2, 16, dtype=torch.int64)
    axes = {0: "rows", 1: "tokens"}
    torch.onnx.export(
        model,
        (ids, torch.ones_like(ids)),
        setup.made(PLAIN),
        input_names=INPUTS,
        output_names=["logits"],
        dynamic_axes={**dict.fromkeys(INPUTS, axes), "logits": {0: "rows"}},
        opset_version=17,
        dynamo=False,
    )


def export(setup: Setup) -> None:
    """Write the graph with fused attention, GELU and layer norms."""
    from onnxruntime.transformers.optimizer import optimize_model

    export_plain(setup)
    if setup.made(OPTIMISED).exists():
        return
    shape = shape_of(setup.model)
    optimised = optimize_model(
        str(setup.made(PLAIN)), model_type="bert", num_heads=shape.heads, hidden_size=shape.width
    )
    optimised.save_model_to_file(str(setup.made(OPTIMISED)))


def quantize(setup: Setup) -> None:
    """Write the graph with int8 weights, and activations quantised as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    export(setup)
    if not setup.made(QUANTIZED).exists():
        quantize_dynamic(
            setup.made(OPTIMISED),
            setup.made(QUANTIZED),
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )


def load_fp32(setup: Setup) -> Scorer:
    """Load the optimised graph."""
    return _load(setup, setup.made(OPTIMISED))


def load_int8(setup: Setup) -> Scorer:
    """Load the quantised graph."""
    return _load(setup, setup.made(QUANTIZED))


def _load(setup: Setup, path: Path) -> Scorer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setup.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def forward(ids: Any, mask: Any) -> Any:
        return session.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]

    return over_batches(setup, forward)
