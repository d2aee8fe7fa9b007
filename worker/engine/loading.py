"""Loads an engine. Everything that does not match exactly is refused.

Transformers would otherwise fill a missing head with random numbers and only log it.
"""

from pathlib import Path
from typing import Any

import torch

from schemas.errors import ConfigurationError, DeviceOutOfMemory, ModelIncompatible
from schemas.job import Dtype, ModelPin
from schemas.model_families import FAMILIES, Family
from worker.engine import bilstm, fused, packed
from worker.engine.batched import BatchedEngine, Classifier
from worker.engine.device import (
    DTYPES,
    choose_device,
    choose_dtype,
    choose_token_budget,
    launch_at_once,
    set_threads,
)
from worker.engine.faults import device_failed, is_device_failure, is_out_of_memory
from worker.engine.fused import FusedClassifier
from worker.engine.packed import PackedClassifier
from worker.engine.padded import PaddedClassifier

assert bilstm.MODEL_TYPE in FAMILIES  # importing it makes it known to transformers

# What transformers raises for files it cannot use. Not all exceptions: a time limit may end a load.
LOADING_ERRORS = (
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

# What `output_loading_info` reports of weights that are not exactly those of the architecture.
_MISMATCHES = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")


def load_engine(
    path: Path,
    pin: ModelPin,
    *,
    device: str = "auto",
    dtype: Dtype = "auto",
    token_budget: int | None = None,
    threads: int = 0,
) -> BatchedEngine:
    """Load the model in a local folder, all of it and nothing else.

    Args:
        path: The folder.
        pin: The model version.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: What to compute in; `auto` for what suits device and model.
        token_budget: Most tokens in a batch; None for the default of the device.
        threads: Threads of torch on a CPU; 0 for one per core that this process may use.

    Raises:
        ModelIncompatible: Weights and architecture do not match exactly, or do not load.
        DeviceOutOfMemory: The model does not fit the device.
        DeviceFailed: The device is of no more use to this process.
        ConfigurationError: There is no such device, or it or the model cannot do int8.
    """
    chosen = choose_device(device)
    family = FAMILIES[pin.model_type]
    if not family.half_precision and dtype in ("bf16", "fp16"):
        raise ModelIncompatible(f"models of type {pin.model_type} cannot compute in {dtype}")
    full_alone = dtype == "auto" and not family.half_precision
    recorded = pin.signature.precisions if pin.signature is not None else None
    precision = choose_dtype("fp32" if full_alone else dtype, chosen, recorded)
    if chosen.type == "cpu":
        set_threads(threads)
    else:
        launch_at_once()
    model = _load_model(path, pin, family, precision)
    try:
        model = model.to(chosen).eval()
    except (RuntimeError, MemoryError) as error:
        if is_device_failure(error):
            raise device_failed(str(chosen), error) from error
        if is_out_of_memory(error):
            raise DeviceOutOfMemory(f"model {pin.ref} does not fit into {chosen}") from error
        raise
    classifier = make_classifier(model, family, chosen, int8=precision == "int8")
    return BatchedEngine(
        classifier,
        label_count=len(pin.labels),
        device=chosen,
        dtype=precision,
        token_budget=choose_token_budget(token_budget, chosen),
        padded=isinstance(classifier, PaddedClassifier),
    )


def make_classifier(
    model: Any, family: Family, device: torch.device, *, int8: bool = False
) -> Classifier:
    """Return the fastest classifier there is for this model: fused, else packed, else padded.

    Raises:
        ConfigurationError: There is none in int8.
    """
    if fused.supports(model.config):
        return FusedClassifier(model, family, device=device, int8=int8)
    if int8:
        raise ConfigurationError(
            f"a model of type {model.config.model_type!r} such as this cannot be computed in int8: "
            "use --dtype bf16 or fp32"
        )
    if packed.supports(model.config):
        return PackedClassifier(model, family, device=device)
    return PaddedClassifier(model, family, device=device)


def _load_model(path: Path, pin: ModelPin, family: Family, dtype: Dtype) -> Any:
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    from worker.engine.stored import from_folder

    disable_progress_bar()
    try:
        model, info = from_folder(path, attn_implementation=family.attention, dtype=DTYPES[dtype])
    except (*LOADING_ERRORS, MemoryError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise DeviceOutOfMemory(f"model {pin.ref} does not fit into memory") from error
        raise ModelIncompatible(
            f"model {pin.ref} does not load: {type(error).__name__}: {error}"
        ) from error
    wrong = [f"{kind} {sorted(map(str, info[kind]))[:5]}" for kind in _MISMATCHES if info.get(kind)]
    if wrong:
        raise ModelIncompatible(
            f"model {pin.ref}: weights and architecture do not match: {'; '.join(wrong)}"
        )
    if model.config.num_labels != len(pin.labels):
        raise ModelIncompatible(
            f"model {pin.ref} has {model.config.num_labels} labels, {len(pin.labels)} are pinned"
        )
    return model
