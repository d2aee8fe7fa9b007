"""Register a model: `python -m worker.lifecycle.register PATH --name NAME`.

The model is loaded as a worker loads it, and what it makes of the golden texts is written down.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from schemas.errors import InputMissing, UsageError
from schemas.job import ModelPin
from schemas.labelled import read_labelled
from schemas.locations import canonical
from schemas.model_families import FAMILIES
from schemas.model_files import pin_model
from schemas.model_version import Parent, VersionManifest
from schemas.registry import METRICS, MODEL_CARD, SIGNATURE, Registry, is_registry_ref
from schemas.settings import RegistrySettings, StorageSettings, WorkerSettings, load
from schemas.signature import Signature
from schemas.storage import Storage
from worker.golden import make_golden, require_golden
from worker.lifecycle.agreement import agreements
from worker.lifecycle.publish import Draft, publish
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def register(
    registry: Registry,
    path: str,
    name: str,
    *,
    version: str | None = None,
    parent: str | None = None,
    metrics: str | None = None,
    card: str | None = None,
    alias: str | None = None,
    documents: Mapping[str, bytes] | None = None,
    texts: Sequence[str] = (),
    source: Storage | None = None,
) -> VersionManifest:
    """Register the model at `path`, and return its version.

    Args:
        registry: Where it goes.
        path: Folder or s3:// prefix of a classifier.
        name: The model's name.
        version: The version's; made of time and digest when left out.
        parent: The version it was made from.
        metrics: File of its metrics; `metrics.json` in the folder when left out, if it is there.
        card: File of its model card; made of what is known when left out.
        alias: An alias to move to it.
        documents: What else is to be kept with it, by file name.
        texts: What to compare lower precisions with fp32 on, if anything.
        source: The door to `path`, `metrics` and `card`; the registry's when left out.

    Raises:
        BulkError: As `pin_model`, `load_model`, `publish` and `Registry.move`.
    """
    storage = source or registry.storage
    pin = pin_model(storage, path, registry.root)
    before = registry.alias(name, alias) if alias else None
    settings = load(WorkerSettings)
    store = ModelStore(storage, settings.model_cache_dir)
    loaded = load_model(store, pin, dtype="fp32", device="cpu", threads=settings.torch_threads)
    signature = _signature(loaded)
    if texts:
        precisions = agreements(store, loaded, texts)
        signature = signature.model_copy(update={"precisions": precisions})
    documents = {
        **(documents or {}),
        SIGNATURE: signature.model_dump_json(indent=2).encode(),
    }
    measured = _metrics(storage, pin, metrics)
    if measured is not None:
        documents[METRICS] = measured
    documents[MODEL_CARD] = storage.read(canonical(card)) if card else _card(name, pin, measured)
    draft = Draft(
        pin=pin, source=store.fetch(pin), documents=documents, parent=_parent(registry, parent)
    )
    made = publish(registry, draft, name, version)
    if alias:
        trail = () if before is None else (*before.before, before.version)
        registry.move(
            name,
            alias,
            made.version,
            expected=before,
            action="promote",
            before=trail,
            reason="registered",
            gate="none",
        )
    return made


def _signature(model: LoadedModel) -> Signature:
    """Return the signature of a model, after holding the model to it as a worker does."""
    signature = Signature(
        model_type=model.pin.model_type,
        problem_type=model.pin.problem_type,
        labels=model.pin.labels,
        max_length=model.max_length,
        padding_side=FAMILIES[model.pin.model_type].padding_side,
        golden=make_golden(model.tokenizer, model.engine),
        libraries=model.libraries,
    )
    require_golden(signature, model.pin.ref, model.tokenizer, model.engine, model.max_length)
    return signature


def _metrics(storage: Storage, pin: ModelPin, given: str | None) -> bytes | None:
    place = canonical(given) if given else f"{pin.uri}/{METRICS}"
    try:
        content = storage.read(place)
    except InputMissing:
        if given:
            raise
        return None
    try:
        sound = isinstance(json.loads(content), dict)
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(f"{place} is not a JSON object of metrics")
    return content


def _parent(registry: Registry, ref: str | None) -> Parent | None:
    if ref is None:
        return None
    if not is_registry_ref(ref):
        raise UsageError(f"--parent {ref}: write NAME@VERSION or NAME@ALIAS")
    version = registry.resolve(ref)
    return Parent(ref=version.ref, digest=version.digest)


def _card(name: str, pin: ModelPin, metrics: bytes | None) -> bytes:
    measured = json.loads(metrics) if metrics else {}
    numbers = {k: v for k, v in measured.items() if isinstance(v, int | float)}
    lines = [
        f"# {name}",
        "",
        f"A {pin.model_type} classifier ({pin.problem_type.replace('_', ' ')}) with the labels "
        f"{', '.join(pin.labels)}. Reads {pin.max_length} tokens. Digest {pin.digest}.",
        "",
        *(["| metric | value |", "|---|---|"] if numbers else ["No metrics were recorded."]),
        *(f"| {key} | {value} |" for key, value in numbers.items()),
    ]
    return ("\n".join(lines) + "\n").encode()


@app.command()
def command(
    path: Annotated[str, typer.Argument(help="Folder or s3:// prefix of a classifier.")],
    name: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[str | None, typer.Option(help="Else time and digest.")] = None,
    parent: Annotated[str | None, typer.Option(help="NAME@VERSION it was made from.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Else metrics.json of PATH.")] = None,
    card: Annotated[str | None, typer.Option(help="A model card in Markdown.")] = None,
    alias: Annotated[str | None, typer.Option(help="An alias to move to it.")] = None,
    precision_data: Annotated[
        list[str] | None, typer.Option(help="Labelled texts to compare bf16 and int8 on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Register a model and print NAME@VERSION.

    Example: python -m worker.lifecycle.register ./sentiment --name sentiment --alias candidate
    """
    from worker.lifecycle.train import reporting_errors

    with reporting_errors():
        storage = Storage(load(StorageSettings))
        registry = Registry(storage, load(RegistrySettings).models_uri)
        made = register(
            registry,
            path,
            name,
            version=version,
            parent=parent,
            metrics=metrics,
            card=card,
            alias=alias,
            texts=read_labelled(storage, precision_data).texts if precision_data else (),
        )
        print(made.model_dump_json(indent=2) if as_json else made.ref)


if __name__ == "__main__":
    app()
