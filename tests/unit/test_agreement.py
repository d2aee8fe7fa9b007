"""How far two precisions agree, and what `auto` makes of it."""

import numpy as np
import pytest
import torch

from schemas.errors import ConfigurationError
from schemas.job import Dtype
from schemas.signature import Agreement, ProblemType
from worker.engine import device
from worker.engine.device import choose_dtype
from worker.lifecycle.agreement import agreement_of

CPU = torch.device("cpu")


def recorded(same: float, texts: int = 1_000) -> Agreement:
    return Agreement(texts=texts, same=same, largest_difference=0.1, device="cpu")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What the processor is made for, as long as the test lasts."""
    made_for = {"int8", "bf16"}
    fast = {dtype: lambda dtype=dtype: dtype in made_for for dtype in ("int8", "bf16")}
    monkeypatch.setattr(device, "_FAST_ON_CPU", fast)
    return made_for


@pytest.mark.parametrize(
    ("agreements", "dtype"),
    [
        ({}, "fp32"),
        ({"bf16": recorded(0.995)}, "bf16"),
        ({"bf16": recorded(0.9949)}, "fp32"),
        ({"bf16": recorded(1.0, texts=499)}, "fp32"),
        ({"bf16": recorded(1.0), "int8": recorded(0.996)}, "int8"),
        ({"bf16": recorded(1.0), "int8": recorded(0.99)}, "bf16"),
    ],
)
def test_auto_takes_the_fastest_precision_that_is_known_to_agree(
    agreements: dict[str, Agreement], dtype: Dtype, processor: set[str]
) -> None:
    assert choose_dtype("auto", CPU, agreements) == dtype


def test_auto_takes_no_precision_that_the_processor_is_not_made_for(processor: set[str]) -> None:
    agreements = {"bf16": recorded(1.0), "int8": recorded(1.0)}
    processor.remove("int8")

    assert choose_dtype("auto", CPU, agreements) == "bf16"
    processor.remove("bf16")
    assert choose_dtype("auto", CPU, agreements) == "fp32"


def test_what_is_asked_for_is_taken_whatever_is_recorded(processor: set[str]) -> None:
    assert choose_dtype("bf16", CPU, {"bf16": recorded(0.5)}) == "bf16"
    with pytest.raises(ConfigurationError, match="int8 is for CPUs"):
        choose_dtype("int8", torch.device("cuda"), {"int8": recorded(1.0)})


@pytest.mark.parametrize(("same", "dtype"), [(None, "bf16"), (1.0, "bf16"), (0.9, "fp32")])
def test_on_a_gpu_only_a_bad_record_speaks_against_bf16(
    same: float | None, dtype: Dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    agreements = {} if same is None else {"bf16": recorded(same)}

    assert choose_dtype("auto", torch.device("cuda"), agreements) == dtype


@pytest.mark.parametrize(
    ("problem", "before", "after", "same"),
    [
        ("single_label_classification", [[2, 1], [0, 1]], [[1.5, 1], [1, 0]], 0.5),
        ("multi_label_classification", [[2, -1], [0.1, 1]], [[1, -2], [-0.1, 1]], 0.5),
        ("regression", [[1.0], [3.0]], [[1.005], [3.5]], 0.5),
    ],
)
def test_the_same_is_label_or_labels_or_value(
    problem: ProblemType, before: list[list[float]], after: list[list[float]], same: float
) -> None:
    found = agreement_of(np.array(before, np.float32), np.array(after, np.float32), problem)

    assert found.same == same
    assert found.texts == 2
    assert found.largest_difference > 0
