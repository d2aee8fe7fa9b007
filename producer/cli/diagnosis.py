"""`doctor` and `version`: what is installed, configured and within reach."""

import typer

from producer.cli.options import Json
from producer.cli.terminal import print_json, print_line

PANEL = "Look after it"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("version", rich_help_panel=PANEL)(version)


def version(as_json: Json = False) -> None:
    """Print the version.

    Example: bulkscore version
    """
    from schemas import __version__

    if as_json:
        print_json({"version": __version__})
    else:
        print_line(__version__)
