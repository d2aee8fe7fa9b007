"""Loaded models: tokenizer and engine of a pinned model, the last few kept in memory."""

from dataclasses import dataclass

from schemas.job import Dtype, ModelPin
from worker.engine import Engine
from worker.model_store import ModelStore
from worker.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model ready to score.

    Attributes:
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
        token_budget: Most padded tokens in a batch; None for the default of the device.
        threads: Threads of torch on a CPU; 0 for one per core that this process may use.

    Raises:
        ModelIncompatible: Files changed, weights and architecture do not match exactly.
        ModelNotReady: The files could not be fetched completely.
        ConfigurationError: There is no such device.
    """
    raise NotImplementedError


class ModelCache:
    """Keeps the `capacity` models used last in memory, and remembers those that cannot load."""

    def __init__(
        self, store: ModelStore, *, capacity: int, device: str = "auto", threads: int = 0
    ) -> None:
        raise NotImplementedError

    def get(
        self,
        pin: ModelPin,
        *,
        max_length: int | None = None,
        dtype: Dtype = "auto",
        token_budget: int | None = None,
    ) -> LoadedModel:
        """Return the model, loaded now or before; raises as `load_model` does.

        A permanent error is raised again at once for the same model and options.
        """
        raise NotImplementedError
