"""Loaded models: tokenizer and engine of a pinned model, the last few kept in memory."""

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from importlib import metadata

from schemas.job import Dtype, ModelPin
from schemas.model_files import choose_max_length
from worker.engine import Engine
from worker.golden import require_golden
from worker.metrics import LOAD_SECONDS, LOADS, model_label, show_models
from worker.model_store import ModelStore
from worker.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

# Versions recorded with every result: the libraries that decide the numbers.
LIBRARIES = ("torch", "transformers", "tokenizers")

_Key = tuple[str, int | None, Dtype, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model ready to score.

    Attributes:
        max_length: Tokens at which texts are cut.
        libraries: Versions of the libraries that decide the numbers, by name.
    """

    pin: ModelPin
    tokenizer: Tokenizer
    engine: Engine
    max_length: int
    libraries: dict[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in the order of the logits."""
        return self.pin.labels


def load_model(
    store: ModelStore,
    pin: ModelPin,
    *,
    max_length: int | None = None,
    dtype: Dtype = "auto",
    device: str = "auto",
    token_budget: int | None = None,
    threads: int = 0,
) -> LoadedModel:
    """Fetch, check and load a pinned model.

    Args:
        store: Where its files come from.
        pin: The model version.
        max_length: Tokens at which texts are cut; None for the model's own limit.
        dtype: `auto` is fp32 on a CPU, bf16 on a GPU that has it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        token_budget: Most tokens in a batch; None for what calibration finds, and until then the
            default of the device.
        threads: Threads of torch on a CPU; 0 for one per core that this process may use.

    Raises:
        ModelIncompatible: Files changed, weights and architecture do not match exactly, or a
            registered model makes something else of its golden texts.
        ModelNotReady: The files could not be fetched completely.
        UsageError: The model cannot read `max_length` tokens.
        ConfigurationError: There is no such device.
    """
    from worker.engine.calibrating import calibrating
    from worker.engine.loading import load_engine  # torch: only where a model is really loaded

    length = choose_max_length(pin, max_length)
    path = store.fetch(pin)
    tokenizer = Tokenizer(path, length)
    _warn_of_other_tokens(pin.ref, tokenizer)
    loaded = load_engine(
        path, pin, device=device, dtype=dtype, token_budget=token_budget, threads=threads
    )
    engine: Engine = loaded
    if token_budget is None:
        engine = calibrating(loaded, pin, store.cache_dir)
    if pin.signature is not None:
        require_golden(pin.signature, pin.ref, tokenizer, engine, length)
    return LoadedModel(
        pin=pin,
        tokenizer=tokenizer,
        engine=engine,
        max_length=length,
        libraries={name: metadata.version(name) for name in LIBRARIES},
    )


def _warn_of_other_tokens(ref: str, tokenizer: Tokenizer) -> None:
    """Warn where transformers does not follow a model's file: nothing would fail."""
    if tokenizer.unlike_file:
        logger.warning(
            "model %s: transformers %s makes other tokens than tokenizer.json describes, of texts "
            "with %s. If the model was trained with those of the file, set tokenizer_class in "
            "tokenizer_config.json to PreTrainedTokenizerFast, which follows it",
            ref,
            metadata.version("transformers"),
            ", ".join(tokenizer.unlike_file),
        )


class ModelCache:
    """Keeps the `capacity` models used last in memory.

    Args:
        store: Where the files of models come from.
        capacity: Most models in memory, at least 1.
        device: As in `load_model`, the same for all.
        threads: As in `load_model`, the same for all.
    """

    def __init__(
        self, store: ModelStore, *, capacity: int, device: str = "auto", threads: int = 0
    ) -> None:
        self._store = store
        self._capacity = capacity
        self._device = device
        self._threads = threads
        self._lock = threading.Lock()
        self._models: OrderedDict[_Key, LoadedModel] = OrderedDict()

    def get(
        self,
        pin: ModelPin,
        *,
        max_length: int | None = None,
        dtype: Dtype = "auto",
        token_budget: int | None = None,
        together: int = 1,
    ) -> LoadedModel:
        """Return the model, loaded now or before; raises as `load_model` does.

        Args:
            pin: The model version.
            max_length: As in `load_model`.
            dtype: As in `load_model`.
            token_budget: As in `load_model`.
            together: Models that are in use at the same time, this one included: so many are kept,
                also beyond the capacity.
        """
        key = (pin.digest, max_length, dtype, token_budget)
        with self._lock:
            if key not in self._models:
                self._make_room(max(self._capacity, together))
                began = time.monotonic()
                self._models[key] = self._load(key, pin)
                LOADS.labels(model_label(pin)).inc()
                LOAD_SECONDS.observe(time.monotonic() - began)
                show_models(
                    [(m.pin, m.engine.dtype, m.engine.device) for m in self._models.values()]
                )
            self._models.move_to_end(key)
            return self._models[key]

    def _load(self, key: _Key, pin: ModelPin) -> LoadedModel:
        _, max_length, dtype, token_budget = key
        return load_model(
            self._store,
            pin,
            max_length=max_length,
            dtype=dtype,
            device=self._device,
            token_budget=token_budget,
            threads=self._threads,
        )

    def _make_room(self, capacity: int) -> None:
        """Let go of the models not used for longest, before another one takes memory."""
        while len(self._models) >= capacity:
            self._models.popitem(last=False)
