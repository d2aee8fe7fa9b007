"""Our engine, as a worker runs it: texts to token ids, token ids to logits."""

from collections.abc import Callable, Sequence

from benchmarks.speed.figures import Precision
from benchmarks.speed.scored import Scored, Scorer, scored
from benchmarks.speed.setup import MAX_LENGTH, Setup
from schemas.model_files import pin_model
from schemas.storage import Storage
from worker.model_store import ModelStore
from worker.models import load_model

DTYPES: tuple[Precision, ...] = ("fp32", "bf16", "int8")


def loader(dtype: Precision) -> Callable[[Setup], Scorer]:
    """Return what loads our engine in a precision."""

    def load(setup: Setup) -> Scorer:
        storage = Storage()
        model = load_model(
            ModelStore(storage, setup.made("store")),
            pin_model(storage, str(setup.model)),
            max_length=MAX_LENGTH,
            dtype=dtype,
            device="cpu",
            threads=setup.threads,
        )

        def score(texts: Sequence[str]) -> Scored:
            return scored(model.engine.forward(model.tokenizer.encode(texts).ids))

        return score

    return load
