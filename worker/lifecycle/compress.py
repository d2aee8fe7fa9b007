"""Compress a model: `python -m worker.lifecycle.compress REF --method int8 --data FILE --out …`.

In a process of its own. What is smaller is measured on the road of a job, and appears under its
name only when it is good enough, whole.
"""

import sys
from typing import Annotated

import typer

from schemas.errors import UsageError
from schemas.model_files import pin_model
from schemas.registry import Registry
from schemas.settings import RegistrySettings, StorageSettings, WorkerSettings, load
from schemas.storage import Storage
from worker.lifecycle import reading
from worker.lifecycle.compress_methods import TRAINED, Method
from worker.lifecycle.evaluation import Settings
from worker.lifecycle.evaluation_facts import PROBLEMS
from worker.lifecycle.train import reporting_errors
from worker.lifecycle.train_recipe import Device, Recipe

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def command(
    ref: Annotated[str, typer.Argument(metavar="REF", help="Path, s3:// or NAME@VERSION.")],
    method: Annotated[Method, typer.Option(help="How it becomes smaller.")],
    data: reading.Data,
    out: Annotated[str, typer.Option(help="Folder to write to, or a name to register.")],
    train_data: Annotated[list[str] | None, typer.Option(help="To prune and train on.")] = None,
    metric: Annotated[str | None, typer.Option(help="Of evaluate.")] = None,
    max_drop: Annotated[float, typer.Option(min=0, help="Most it may be worse.")] = 0.01,
    epochs: Annotated[float, typer.Option(min=0, help="0: do not train again.")] = 1.0,
    learning_rate: Annotated[float | None, typer.Option(min=0.0)] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    max_length: Annotated[int | None, typer.Option(min=8)] = None,
    student: Annotated[str | None, typer.Option(help="A base, as of train.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Of a student.")] = None,
    teacher_share: Annotated[float, typer.Option(min=0, max=1)] = 0.5,
    temperature: Annotated[float, typer.Option(min=0.1)] = 2.0,
    teacher_scores: Annotated[str | None, typer.Option(help="Output of a job.")] = None,
    text_column: reading.TextColumn = reading.TEXT_COLUMN,
    label_column: reading.LabelColumn = reading.LABEL_COLUMN,
    label_separator: reading.Separator = reading.SEPARATOR,
    header: reading.Header = "auto",
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    resamples: Annotated[int, typer.Option(min=100, help="Of each bootstrap.")] = 1_000,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print what became smaller, faster and worse. Exit code 6 when nothing is good enough.

    Example: python -m worker.lifecycle.compress ./sentiment --method int8 --data test.csv
    --out ./sentiment-int8
    """
    with reporting_errors():
        from worker.lifecycle.compress_out import deliver, document, on_disk, told
        from worker.lifecycle.compress_request import Request
        from worker.lifecycle.compressing import compressed
        from worker.lifecycle.train_out import choose_out

        worker = load(WorkerSettings, device=device)
        storage, models_uri = Storage(load(StorageSettings)), load(RegistrySettings).models_uri
        _require_fit(method, train_data, epochs, student, layers, teacher_scores)
        place = choose_out(out)
        place.require_free()
        pin = pin_model(storage, ref, models_uri)
        request = Request(
            ref=ref,
            method=method,
            metric=metric,
            max_drop=max_drop,
            data=tuple(data),
            train_data=tuple(train_data or ()),
            columns=reading.columns_of(
                text_column, label_column, PROBLEMS[pin.problem_type], label_separator, header
            ),
            recipe=Recipe(
                base=ref,
                epochs=epochs,
                learning_rate=learning_rate,
                batch_rows=batch_size,
                max_length=max_length,
                seed=seed,
                device=_training_device(worker.device),
            ),
            student=student,
            layers=layers,
            share=teacher_share,
            temperature=temperature,
            teacher_scores=teacher_scores,
        )
        how = Settings(
            device=worker.device, threads=worker.torch_threads, seed=seed, resamples=resamples
        )
        with (
            on_disk(),
            compressed(
                storage,
                pin,
                request,
                how,
                models_uri=models_uri,
                cache_dir=worker.model_cache_dir,
                tell=_tell,
            ) as made,
        ):
            document(made.folder, made.record)
            registry = Registry(storage, models_uri) if models_uri else None
            texts = made.texts if method == "int8" else ()
            where = deliver(place, registry, out, made.folder, pin.ref, texts)
        print(told(made.record | {"out": where}, as_json=as_json), end="")


def _require_fit(
    method: Method,
    train_data: list[str] | None,
    epochs: float,
    student: str | None,
    layers: int | None,
    teacher_scores: str | None,
) -> None:
    """Refuse options that mean nothing for the method, or that it lacks.

    Raises:
        UsageError: There is one.
    """
    if method in TRAINED and not train_data:
        raise UsageError(
            f"--method {method} needs --train-data, the labelled texts that the model was trained "
            "on or others like them; --data is what it is measured on"
        )
    if method not in TRAINED and train_data:
        raise UsageError(f"--method {method} trains nothing: leave --train-data out")
    if method == "distil" and epochs == 0:
        raise UsageError("--method distil: --epochs 0 would teach the student nothing")
    if student is not None and layers is not None:
        raise UsageError("--layers is of a student that is made of layers: leave --student out")
    for option, given in (
        ("--student", student),
        ("--layers", layers),
        ("--teacher-scores", teacher_scores),
    ):
        if method != "distil" and given is not None:
            raise UsageError(f"{option} is for --method distil")


def _training_device(device: str) -> Device:
    return "auto" if device == "auto" else "cpu" if device == "cpu" else "cuda"


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
