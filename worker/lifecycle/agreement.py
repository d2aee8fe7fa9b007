"""How far a model in lower precisions says what it says in fp32, on texts at hand."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import ConfigurationError, ModelIncompatible, UsageError
from schemas.job import Dtype, ModelPin
from schemas.model_families import FAMILIES
from schemas.signature import Agreement, ProblemType
from worker.engine import Engine
from worker.engine.device import device_name
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model
from worker.scores import probabilities

PRECISIONS: tuple[Dtype, ...] = ("bf16", "int8")
# A value of a regression is the same within this share of the standard deviation of all values.
SAME_VALUE = 0.01


def agreements(store: ModelStore, model: LoadedModel, texts: Sequence[str]) -> dict[str, Agreement]:
    """Return by dtype how far a model agrees with itself in fp32, where the CPU can compute so.

    Args:
        store: Where the model comes from.
        model: The model in fp32, on a CPU.
        texts: What to compare on; those without tokens are left out.

    Raises:
        UsageError: No text has a token.
    """
    ids = [row for row in model.tokenizer.encode(texts).ids if len(row)]
    if not ids:
        raise UsageError("none of the texts to compare precisions on has a token")
    expected = model.engine.forward(ids)
    engines = {dtype: _engine_in(store, model.pin, dtype) for dtype in PRECISIONS}
    return {
        dtype: agreement_of(expected, engine.forward(ids), model.pin.problem_type)
        for dtype, engine in engines.items()
        if engine is not None
    }


def _engine_in(store: ModelStore, pin: ModelPin, dtype: Dtype) -> Engine | None:
    """Return the engine, None where model or processor cannot."""
    if not FAMILIES[pin.model_type].half_precision:
        return None
    plain = pin.model_copy(update={"signature": None})  # golden texts are for what was registered
    try:
        return load_model(store, plain, dtype=dtype, device="cpu").engine
    except (ConfigurationError, ModelIncompatible):
        return None


def agreement_of(
    expected: NDArray[np.float32], found: NDArray[np.float32], problem: ProblemType
) -> Agreement:
    """Return how far two sets of logits [texts, labels] say the same."""
    before, after = probabilities(expected, problem), probabilities(found, problem)
    match problem:
        case "single_label_classification":
            same = before.argmax(axis=1) == after.argmax(axis=1)
        case "multi_label_classification":
            same = ((before > 0.5) == (after > 0.5)).all(axis=1)
        case "regression":
            same = (np.abs(before - after) <= SAME_VALUE * before.std()).all(axis=1)
    return Agreement(
        texts=len(expected),
        same=float(same.mean()),
        largest_difference=float(np.abs(before - after).max()),
        device=device_name(torch.device("cpu")),
    )
