"""The engine gives every row the logits it would have alone, whatever it is batched with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from schemas.errors import (
    ConfigurationError,
    DeviceFailed,
    DeviceOutOfMemory,
    ModelIncompatible,
)
from schemas.job import Dtype
from schemas.model_families import FAMILIES
from schemas.model_files import pin_model
from schemas.storage import Storage
from support.families import save_tiny_classifier
from worker.engine import RowOutOfMemory, loading
from worker.engine.batched import BatchedEngine
from worker.engine.loading import load_engine
from worker.engine.padded import PaddedClassifier
from worker.tokenizer import Tokenizer

TOLERANCE = 1e-4

TEXTS = (
    "a delightful story",
    "dull",
    "the quick brown fox jumps over the lazy dog , and nobody minds at all . " * 3,
    "it's worth 10 dollars!",
    "什么 很好",
    "what a dull , pointless two hours this was ? " * 40,
    "style and empathy",
    "x",
)

SaveModel = Callable[..., Path]


@pytest.fixture(scope="module")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> SaveModel:
    def save(model_type: str = "bert", **config: Any) -> Path:
        folder = tmp_path_factory.mktemp(model_type.replace("/", "-"))
        return save_tiny_classifier(folder, model_type, **config)

    return save


@pytest.fixture(scope="module")
def bert(save_model: SaveModel) -> Path:
    return save_model("bert")


def engine_of(folder: Path, **options: Any) -> BatchedEngine:
    return load_engine(folder, pin_model(Storage(), str(folder)), device="cpu", **options)


def encode(folder: Path, texts: tuple[str, ...] = TEXTS) -> list[Any]:
    max_length = pin_model(Storage(), str(folder)).max_length
    return Tokenizer(folder, min(max_length, 128)).encode(texts).ids


def plain_logits(folder: Path, texts: tuple[str, ...] = TEXTS) -> np.ndarray:
    """Score each text alone, exactly as the documentation of transformers shows it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    length = min(pin_model(Storage(), str(folder)).max_length, 128)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        with torch.inference_mode():
            rows.append(model(**inputs).logits[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_logits_of_every_family_equal_a_plain_loop_over_single_rows(
    model_type: str, save_model: SaveModel
) -> None:
    folder = save_model(model_type)

    logits = engine_of(folder, token_budget=512).forward(encode(folder))

    expected = plain_logits(folder)
    assert expected.std() > 0.05  # else agreement would prove nothing
    np.testing.assert_allclose(logits, expected, atol=TOLERANCE)


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_a_decoder_without_a_pad_token_scores_rows_that_end_in_any_token(
    model_type: str, save_model: SaveModel
) -> None:
    folder = save_model(model_type, pad_token_id=None)
    texts = (*TEXTS, "dull <|endoftext|>", "<|endoftext|>")

    logits = engine_of(folder, token_budget=512).forward(encode(folder, texts))

    np.testing.assert_allclose(logits, plain_logits(folder, texts), atol=TOLERANCE)


def test_rows_that_hold_the_whole_vocabulary_are_scored_without_an_id_to_pad_with(
    save_model: SaveModel,
) -> None:
    folder = save_model("gpt2", pad_token_id=None, n_positions=400)
    everything = np.arange(400, dtype=np.int32)
    engine = engine_of(folder, token_budget=4_096)

    together = engine.forward([everything, everything[:7]])

    alone = np.concatenate([engine.forward([everything]), engine.forward([everything[:7]])])
    np.testing.assert_allclose(together, alone, atol=TOLERANCE)


@pytest.mark.parametrize("token_budget", [1, 128, 1_000, 100_000])
def test_logits_do_not_depend_on_the_token_budget(bert: Path, token_budget: int) -> None:
    rows = encode(bert)

    logits = engine_of(bert, token_budget=token_budget).forward(rows)

    np.testing.assert_allclose(logits, plain_logits(bert), atol=TOLERANCE)


def test_rows_come_back_in_the_order_they_were_given(bert: Path) -> None:
    rows = encode(bert)
    order = np.random.default_rng(0).permutation(len(rows))
    engine = engine_of(bert)

    shuffled = engine.forward([rows[i] for i in order])

    np.testing.assert_allclose(shuffled, engine.forward(rows)[order], atol=TOLERANCE)


def test_no_rows_give_no_logits(bert: Path) -> None:
    assert engine_of(bert).forward([]).shape == (0, 3)


def test_a_row_without_tokens_is_called_a_bug(bert: Path) -> None:
    with pytest.raises(ValueError, match="without tokens"):
        engine_of(bert).forward([np.empty(0, dtype=np.int32)])


def test_the_callback_hears_of_every_batch_and_can_end_the_work(bert: Path) -> None:
    rows = encode(bert)
    heard: list[int] = []

    engine_of(bert, token_budget=64).forward(rows, between=heard.append)

    assert heard == sorted(heard)
    assert len(heard) > 2
    assert heard[-1] == sum(map(len, rows))

    def stop(tokens: int) -> None:
        raise TimeoutError(tokens)

    with pytest.raises(TimeoutError):
        engine_of(bert, token_budget=64).forward(rows, between=stop)


class _SmallDevice:
    """A model whose device holds no more than so many padded tokens.

    `asked` are the padded tokens of all batches, those that did not fit included.
    """

    def __init__(self, model: Any, tokens: int, error: Exception) -> None:
        self.config = model.config
        self._model = model
        self._tokens = tokens
        self._error = error
        self.asked: list[int] = []

    @property
    def failed(self) -> list[int]:
        return [tokens for tokens in self.asked if tokens > self._tokens]

    def __call__(self, **inputs: Any) -> Any:
        self.asked.append(inputs["input_ids"].numel())
        if self.asked[-1] > self._tokens:
            raise self._error
        return self._model(**inputs)


GPU_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
CPU_FULL = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 4503599627370496 bytes. Error code 12 (Cannot allocate memory)"
)


def small_device(
    folder: Path, tokens: int, error: Exception = GPU_FULL
) -> tuple[BatchedEngine, _SmallDevice]:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    device = _SmallDevice(model, tokens, error)
    cpu = torch.device("cpu")
    engine = BatchedEngine(
        PaddedClassifier(device, FAMILIES["bert"], device=cpu),
        label_count=3,
        device=cpu,
        dtype="fp32",
        token_budget=4_096,
    )
    return engine, device


@pytest.mark.parametrize("error", [GPU_FULL, CPU_FULL, MemoryError()], ids=["gpu", "cpu", "numpy"])
def test_batches_are_halved_until_they_fit_the_memory(bert: Path, error: Exception) -> None:
    rows = encode(bert)
    engine, device = small_device(bert, tokens=200, error=error)

    logits = engine.forward(rows)

    assert len(device.asked) > 2
    np.testing.assert_allclose(logits, plain_logits(bert), atol=TOLERANCE)


def test_what_does_not_fit_once_is_not_tried_again_and_no_row_is_scored_twice(
    bert: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [np.full(10, 7, dtype=np.int32)] * 100
    engine, device = small_device(bert, tokens=300)

    engine.forward(rows)
    first = list(device.asked)
    engine.forward(rows)

    assert device.failed == [1_000, 500]
    assert sum(first) - 1_500 == 1_000
    assert engine.token_budget == 250
    told = [record for record in caplog.records if record.getMessage().startswith("4096 tokens")]
    assert [record.levelname for record in told] == ["WARNING"]


def test_a_row_that_does_not_fit_even_alone_is_named_and_others_keep_their_budget(
    bert: Path,
) -> None:
    rows = encode(bert)
    engine, device = small_device(bert, tokens=100)
    longest = int(np.argmax([len(row) for row in rows]))

    with pytest.raises(RowOutOfMemory, match="row of 128 tokens") as raised:
        engine.forward(rows)

    assert raised.value.row == longest
    assert device.asked == device.failed  # the longest come first, nothing was scored in vain
    assert engine.token_budget == 4_096


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
    ids=["illegal access", "assert", "cudnn"],
)
def test_a_device_that_failed_is_told_from_a_batch_that_does_not_fit(
    bert: Path, error: Exception
) -> None:
    engine, device = small_device(bert, tokens=0, error=error)

    with pytest.raises(DeviceFailed, match=r"^cpu failed: (CUDA|cuDNN) error: [\w -]+$"):
        engine.forward(encode(bert))

    assert len(device.asked) == 1


def test_a_model_that_does_not_fit_the_memory_is_not_called_incompatible(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForSequenceClassification

    def full(*_args: Any, **_options: Any) -> None:
        raise CPU_FULL

    monkeypatch.setattr(AutoModelForSequenceClassification, "from_pretrained", full)

    with pytest.raises(DeviceOutOfMemory, match="does not fit into memory"):
        engine_of(bert)


def test_weights_without_a_matching_name_are_refused(bert: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    pin = pin_model(Storage(), str(bert))
    folder = save_tiny_classifier(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["bert.encoder.layer.9.surplus"] = torch.zeros(2)
    del tensors["classifier.bias"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelIncompatible, match=r"classifier\.bias"):
        load_engine(folder, pin, device="cpu")


def test_half_precision_on_the_cpu_is_close_to_full(bert: Path) -> None:
    engine = engine_of(bert, dtype="bf16")

    logits = engine.forward(encode(bert))

    assert engine.dtype == "bf16"
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, plain_logits(bert), atol=0.1)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_a_family_computes_in_half_precision_or_is_refused_and_runs_in_full(
    model_type: str, dtype: Dtype, save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model(model_type)
    rows = encode(folder)[:4]
    # As on a GPU, where `auto` means bf16.
    monkeypatch.setattr(
        loading, "choose_dtype", lambda wanted, *_: dtype if wanted == "auto" else wanted
    )

    if FAMILIES[model_type].half_precision:
        half = engine_of(folder, dtype=dtype)
        assert np.isfinite(half.forward(rows)).all()
        assert half.dtype == dtype
    else:
        with pytest.raises(ModelIncompatible, match=f"{model_type} cannot compute in {dtype}"):
            engine_of(folder, dtype=dtype)
        assert engine_of(folder, dtype="auto").dtype == "fp32"


def test_the_engine_says_what_it_runs_on(bert: Path) -> None:
    engine = engine_of(bert)

    assert (engine.device, engine.dtype, engine.label_count) == ("cpu", "fp32", 3)
    assert engine.token_budget == 4_096


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cuda:x"])
def test_a_device_that_is_not_there_is_a_configuration_error(bert: Path, device: str) -> None:
    with pytest.raises(ConfigurationError, match=device):
        load_engine(bert, pin_model(Storage(), str(bert)), device=device)
