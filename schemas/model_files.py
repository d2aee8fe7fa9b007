"""Which files make a model version, whether they are safe and complete, and their digest.

Looks at names, `config.json` and the header of the weights; loads no model and needs no torch.
"""

from schemas.errors import UsageError
from schemas.job import ModelPin
from schemas.storage import Storage


def pin_model(storage: Storage, ref: str) -> ModelPin:
    """Return the model at `ref` as it is now.

    Args:
        storage: The door to objects.
        ref: Local path, `file://` or `s3://` folder of a Hugging Face sequence classifier.

    Raises:
        InputMissing: There is nothing at `ref`.
        ModelIncompatible: It is not a safe and complete classifier; file and reason are named.
        UsageError: `ref` is of a kind that is not understood.
    """
    raise NotImplementedError


def choose_max_length(pin: ModelPin, requested: int | None) -> int:
    """Return the length at which texts are cut: as requested, else the model's own limit.

    Raises:
        UsageError: The model cannot read as many tokens as requested.
    """
    if requested is None:
        return pin.max_length
    if requested > pin.max_length:
        raise UsageError(
            f"--max-length {requested}: {pin.name} reads at most {pin.max_length} tokens"
        )
    return requested
