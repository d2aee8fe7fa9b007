"""Load a registered model as a worker does: `python -m worker.lifecycle.golden_check REF`."""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import UsageError
from schemas.job import Dtype
from schemas.model_files import pin_model
from schemas.settings import RegistrySettings, StorageSettings, load
from schemas.storage import Storage

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def check(storage: Storage, models_uri: str | None, ref: str, *, dtype: Dtype, device: str) -> int:
    """Return how many golden texts a model makes of what it made when it was registered.

    Its files are fetched anew and hashed, whatever a cache holds.

    Raises:
        UsageError: It is no registered model.
        ModelIncompatible: Files, tokens or logits differ.
    """
    from worker.model_store import ModelStore
    from worker.models import load_model

    pin = pin_model(storage, ref, models_uri)
    if pin.signature is None:
        raise UsageError(f"{ref} is not registered, and has no golden texts")
    with tempfile.TemporaryDirectory(prefix="bulkscore-golden-") as scratch:
        load_model(ModelStore(storage, Path(scratch)), pin, dtype=dtype, device=device)
    return len(pin.signature.golden)


@app.command()
def command(
    ref: Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")],
    dtype: Annotated[Dtype, typer.Option()] = "auto",
    device: Annotated[str, typer.Option()] = "auto",
) -> None:
    """Load a registered model and compare what it makes of its golden texts.

    Example: python -m worker.lifecycle.golden_check sentiment@prod --dtype bf16
    """
    from worker.lifecycle.train import reporting_errors

    with reporting_errors():
        storage = Storage(load(StorageSettings))
        models_uri = load(RegistrySettings).models_uri
        texts = check(storage, models_uri, ref, dtype=dtype, device=device)
    print(f"{ref} makes of {texts} golden texts what it made before", file=sys.stderr)


if __name__ == "__main__":
    app()
