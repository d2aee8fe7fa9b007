"""`evaluate`: how good, fast and robust a model is, on the worker side's own road."""

import typer

from producer.cli.evaluating_options import Measuring
from producer.cli.labelled_options import LabelledData
from producer.cli.model_options import ModelArgument
from producer.cli.option_groups import as_arguments, with_groups
from producer.cli.options import Json
from producer.cli.where import Where

PANEL = "Models"


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("evaluate", rich_help_panel=PANEL)(with_groups(evaluate))


def evaluate(
    ref: ModelArgument,
    texts: LabelledData,
    measuring: Measuring,
    where: Where,
    as_json: Json = False,
) -> None:
    """Say how good, fast and robust a model is on labelled texts, scored as a job scores them.

    Quality with 95 % intervals, calibration, speed and memory, labels that flip when texts are
    perturbed, slices by length, script and label. Exit code 6 when it does not pass the gate.
    Needs the train extra.

    Example: bulkscore evaluate sentiment@candidate --data test.csv --baseline sentiment@prod \
--gate gate.yaml --report evaluation.html --record
    """
    needs = ["torch", "transformers", "sklearn"]
    needs += ["matplotlib"] if measuring.report else []
    needs += ["yaml"] if measuring.gate else []
    given = [*as_arguments(texts, measuring, json=as_json), "--", ref]
    where.carry_out("evaluate", given, needs=needs)
