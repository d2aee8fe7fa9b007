"""`doctor` and `version`: what is installed, configured and within reach."""

from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.options import Json
from producer.cli.terminal import print_json, print_line, print_table
from schemas.errors import ExitCode

if TYPE_CHECKING:
    from producer.deployment import Deployment
    from producer.store_check import Finding

PANEL = "Look after it"

Inputs = Annotated[
    list[str],
    typer.Option("--input", "-i", metavar="URI", help="Also check that this can be read."),
]
Outputs = Annotated[
    list[str],
    typer.Option(
        "--output", "-o", metavar="URI", help="Also check that objects can be created once there."
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="REF",
        help="Also check that this model can be used.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("doctor", rich_help_panel=PANEL)(doctor)
    app.command("version", rich_help_panel=PANEL)(version)


def doctor(
    inputs: Inputs = [],  # noqa: B006 - typer copies it
    outputs: Outputs = [],  # noqa: B006
    model: ModelOption = None,
    as_json: Json = False,
) -> None:
    """Say what is configured, what answers and what is missing.

    Exit code 69 when the broker or a storage location that was named cannot be used.

    Example: bulkscore doctor --output s3://lake/scored --model models/sentiment
    """
    from producer.deployment import Deployment
    from producer.doctor import examine

    deployment = Deployment.from_environment()
    findings = list(examine(deployment, inputs=inputs, outputs=outputs, model=model))
    if as_json:
        print_json({"settings": settings_of(deployment), "findings": findings})
    else:
        print_findings(findings, settings_of(deployment))
    if any(finding.essential and finding.verdict == "fail" for finding in findings):
        raise typer.Exit(ExitCode.UNAVAILABLE)


def version(as_json: Json = False) -> None:
    """Print the version.

    Example: bulkscore version
    """
    from schemas import __version__

    if as_json:
        print_json({"version": __version__})
    else:
        print_line(__version__)


def settings_of(deployment: "Deployment") -> dict[str, object]:
    """Return all settings by their variable, passwords left out."""
    from schemas.settings import PREFIX, WorkerSettings, load, redact

    groups = (
        deployment.broker_settings,
        deployment.storage_settings,
        deployment.schedule,
        load(WorkerSettings),
    )
    values = {
        f"{PREFIX}{name.upper()}": value
        for group in groups
        for name, value in group.model_dump(mode="json").items()
    }
    url = f"{PREFIX}REDIS_URL"
    return {**values, url: redact(str(values[url]))}


def print_findings(findings: "list[Finding]", settings: dict[str, object]) -> None:
    """Print what the checks found, then the settings."""
    print_table(("check", "verdict", "found"), ((f.check, f.verdict, f.detail) for f in findings))
    print_line("")
    print_table(("setting", "value"), settings.items())
