"""`models`: the registry, to register, promote, roll back, verify and remove in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from producer.cli.models_shown import (
    Ref,
    list_models,
    open_registry,
    remove_leftovers,
    say_unfinished,
    show,
)
from producer.cli.options import Json
from producer.cli.running import Device, DtypeOption
from producer.cli.terminal import print_json, print_line

PANEL = "Models"

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
AliasOption = Annotated[str, typer.Option("--alias", metavar="ALIAS", help="Such as prod.")]
Reason = Annotated[
    str | None,
    typer.Option("--reason", metavar="TEXT", help="For the history.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`, as commands of `models`."""
    group = typer.Typer(no_args_is_help=True)
    for name, command in COMMANDS.items():
        group.command(name)(command)
    app.add_typer(group, name="models", help="Registered models.", rich_help_panel=PANEL)


def register_model(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Folder or s3:// prefix.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The model's name.")],
    version: Annotated[str | None, typer.Option(help="Else time and digest.")] = None,
    parent: Annotated[str | None, typer.Option(help="NAME@VERSION it was made from.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Else metrics.json of PATH.")] = None,
    card: Annotated[str | None, typer.Option(help="A model card in Markdown.")] = None,
    alias: Annotated[str | None, typer.Option(help="An alias to move to it.")] = None,
    precision_data: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Labelled texts to compare bf16 and int8 with fp32 on."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Register a model as an immutable version and print NAME@VERSION.

    Example: bulkscore models register models/sentiment --name sentiment --alias candidate
    """
    from producer.local import require_worker
    from producer.processes import become, options

    require_worker()
    given = options(
        name=name,
        version=version,
        parent=parent,
        metrics=metrics,
        card=card,
        alias=alias,
        precision_data=precision_data,
        json=as_json,
    )
    become("worker.lifecycle.register", [*given, "--", path])


def verify(
    ref: Ref,
    load: Annotated[
        bool, typer.Option("--load", help="Load it, and compare what it makes of golden texts.")
    ] = False,
    dtype: DtypeOption = "auto",
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Hash every file of a version and compare. Exit code 2 when one was changed.

    Also tells what killed publishers left of the model (`models rm NAME --unfinished`).

    With --load the model is loaded as a worker does, in --dtype on --device.

    Example: bulkscore models verify sentiment@prod --load --dtype bf16
    """
    from producer.local import require_worker
    from producer.processes import become, options
    from producer.registry import verify as check

    if load:
        require_worker()
    registry = open_registry()
    version = check(registry, ref)
    print_json(version) if as_json else print_line(f"{version.ref} is as it was registered")
    say_unfinished(registry, version.name)
    if load:
        given = options(dtype=dtype, device=device)
        become("worker.lifecycle.golden_check", [*given, "--", version.ref])


def promote(
    ref: Ref,
    alias: AliasOption,
    gate: Annotated[
        Path | None, typer.Option("--gate", metavar="FILE", help="What is asked of its metrics.")
    ] = None,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Ask nothing.")] = False,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Point an alias to a version whose metrics pass the gate.

    Without --gate: metrics were recorded, and neither accuracy nor macro_f1 is more than 0.01
    below that of the version the alias points to.

    Example: bulkscore models promote sentiment@candidate --alias prod
    """
    from producer.registry import promote as move
    from schemas.errors import InputMissing
    from schemas.gate import parse_gate

    if gate is not None and not gate.is_file():
        raise InputMissing(f"{gate} does not exist")
    asked = parse_gate(gate.read_bytes(), str(gate)) if gate else None
    moved = move(open_registry(), ref, alias, gate=asked, gated=not no_gate, reason=reason)
    print_json(moved) if as_json else print_line(f"{moved.name}@{moved.version}")


def rollback(name: Name, alias: AliasOption, reason: Reason = None, as_json: Json = False) -> None:
    """Point an alias back to the version it had before.

    Example: bulkscore models rollback sentiment --alias prod
    """
    from producer.registry import rollback as back

    moved = back(open_registry(), name, alias, reason=reason)
    print_json(moved) if as_json else print_line(f"{moved.name}@{moved.version}")


def remove(
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="NAME@VERSION; NAME with --unfinished.")
    ],
    reason: Reason = None,
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="What killed publishers left of NAME, and no version."),
    ] = False,
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than", min=1, metavar="HOURS", help="So long nothing was written to it."
        ),
    ] = 24,
    as_json: Json = False,
) -> None:
    """Remove a version that no alias points to, or what was left of publishing a model.

    Example: bulkscore models rm sentiment@20250601-120000-3fa9c1d2
    """
    from producer.registry import remove as take

    if unfinished:
        gone = remove_leftovers(ref, older_than)
        print_json({"removed": gone}) if as_json else print_line("\n".join(gone) or "nothing")
        return
    removed = take(open_registry(), ref, reason=reason)
    print_json({"removed": removed}) if as_json else print_line(f"{removed} is removed")


COMMANDS: dict[str, Callable[..., None]] = {
    "register": register_model,
    "list": list_models,
    "show": show,
    "verify": verify,
    "promote": promote,
    "rollback": rollback,
    "rm": remove,
}
