"""`label`: guess labels of a corpus by rules. Needs polars alone, unlike its kin in `labelling`."""

from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.options import Json
from producer.cli.terminal import number_of, print_facts, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from producer.votes import LabelReport, RuleReport

PANEL = "Labelled data"
PROGRESS_ROWS = 1_000_000


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("label", rich_help_panel=PANEL)(label)


def label(
    rules: Annotated[
        str, typer.Option("--rules", metavar="URI", help="YAML with the rules, local or s3://.")
    ],
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input",
            "-i",
            metavar="URI",
            help="Parquet file, folder or glob, local or s3://; may be given several times.",
            show_default=False,
        ),
    ],
    text_column: Annotated[
        str,
        typer.Option(
            "--text-column", metavar="NAME", help="Column of the text.", show_default=False
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="URI",
            help="Where the labelled rows go: an empty or new folder, or an s3:// prefix.",
            show_default=False,
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="URI",
            help="Labelled texts to tell the precision of the rules by, with columns text and "
            "label.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Guess labels for a corpus by rules, and write the rows that got one, to train on.

    Every rule has a vote, the label with most votes wins, a tie is no label. Prints coverage,
    conflict and agreement of each rule.

    Example: bulkscore label --rules rules.yaml -i s3://lake/reviews --text-column text -o weak
    """
    from producer.deployment import Deployment
    from producer.processes import require_installed
    from producer.rules import read_rules
    from producer.weak_labels import label_corpus
    from schemas.labelled import read_labelled

    require_installed("yaml", "train")
    deployment = Deployment.from_environment()
    deployment.require_storage(output)
    storage = deployment.storage
    told = 0

    def progress(rows: int) -> None:
        nonlocal told
        if rows - told >= PROGRESS_ROWS:
            told = rows
            say(f"{number_of(rows, 'row')} so far")

    found = label_corpus(
        storage,
        read_rules(storage, rules),
        inputs,
        text_column,
        output,
        labelled=read_labelled(storage, data) if data else None,
        progress=progress,
    )
    if as_json:
        print_json(found)
    else:
        _print_labels(found)


def _print_labels(found: "LabelReport") -> None:
    facts: dict[str, object] = {"rows": found.rows}
    facts |= {f"  labelled {name}": rows for name, rows in found.labelled.items()}
    facts |= {"  tied": found.tied_rows, "  without a vote": found.silent_rows}
    if found.accuracy_rows is not None:
        facts["accuracy"] = f"{_percent(found.accuracy)} of {found.accuracy_rows:,} labelled rows"
    print_facts(facts)
    print_line("")
    known = found.accuracy_rows is not None
    columns = ["rule", "label", "#rows", "#coverage", "#overlap", "#conflict", "#agreement"]
    print_table(
        [*columns, *(("#precision", "#of rows") if known else ())],
        ([*_cells(rule), *_precision(rule, known=known)] for rule in found.rules),
    )


def _cells(rule: "RuleReport") -> list[object]:
    shares = (rule.coverage, rule.overlap, rule.conflict, rule.agreement)
    return [rule.name, rule.label, rule.rows, *map(_percent, shares)]


def _precision(rule: "RuleReport", *, known: bool) -> list[object]:
    return [_percent(rule.precision), rule.precision_rows] if known else []


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
