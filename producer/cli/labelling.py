"""`profile`, `split` and `label`: what is done with labelled texts before a model is trained.

The first two become modules of the worker side, as `train` does; `label` needs polars alone.
"""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from producer.cli.options import Json
from producer.cli.terminal import number_of, print_facts, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from producer.votes import LabelReport, RuleReport

PANEL = "Labelled data"
PROGRESS_ROWS = 1_000_000

Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="URI",
        help="Labelled texts: .csv, .jsonl, .parquet or a folder of them, local or s3://; may be "
        "given several times.",
        show_default=False,
    ),
]
TextColumn = Annotated[
    str, typer.Option("--text-column", metavar="NAME", help="Column of the text.")
]
LabelColumn = Annotated[
    str, typer.Option("--label-column", metavar="NAME", help="Column of the label.")
]
Problem = Annotated[
    Literal["single-label", "multi-label", "regression"],
    typer.Option(
        "--problem",
        help="One label a text; any number of them, as a list or in one cell; or a number.",
    ),
]
Separator = Annotated[
    str,
    typer.Option(
        "--label-separator", metavar="TEXT", help="Between the labels of one cell (multi-label)."
    ),
]
Header = Annotated[
    Literal["auto", "yes", "no"],
    typer.Option(
        "--header",
        help="Whether a .csv begins with the names of its columns; auto: if its first line names "
        "the columns of text and label. Without a header the columns are text and label.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("profile", rich_help_panel=PANEL)(profile)
    app.command("split", rich_help_panel=PANEL)(split)
    app.command("label", rich_help_panel=PANEL)(label)


def profile(
    data: Data,
    test_data: Annotated[
        list[str] | None,
        typer.Option(
            "--test-data",
            metavar="URI",
            help="Labelled texts to evaluate on later; looks for texts in both.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="REF",
            help="Folder or s3:// prefix of a model, to count lengths in its tokens as well.",
            show_default=False,
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            min=8,
            metavar="TOKENS",
            help="Tokens that will be read of a text; the model's own limit when left out.",
            show_default=False,
        ),
    ] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    problem: Problem = "single-label",
    label_separator: Separator = "|",
    header: Header = "auto",
    as_json: Json = False,
) -> None:
    """Say what labelled texts are like, and warn of what would spoil a training.

    Rows, labels, lengths, repeated texts, texts with two labels, test texts that are trained on,
    scripts. Needs the train extra.

    Example: bulkscore profile --data train.csv --test-data test.csv --model minilm
    """
    from producer.processes import become, options, require_installed

    for module in ("scipy", *(("transformers",) if model else ())):
        require_installed(module, "train")
    given = options(
        data=data,
        test_data=test_data,
        model=model,
        max_length=max_length,
        text_column=text_column,
        label_column=label_column,
        problem=problem,
        label_separator=label_separator,
        header=header,
        json=as_json,
    )
    become("worker.lifecycle.profiling", given)


def split(
    data: Data,
    out: Annotated[
        str,
        typer.Option("--out", metavar="URI", help="Folder or s3:// prefix for the three files."),
    ],
    validation: Annotated[
        float,
        typer.Option("--validation", min=0, max=0.9, metavar="SHARE", help="0 for none."),
    ] = 0.1,
    test: Annotated[
        float, typer.Option("--test", min=0, max=0.9, metavar="SHARE", help="0 for none.")
    ] = 0.1,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Another seed splits otherwise.")
    ] = 0,
    group_column: Annotated[
        str | None,
        typer.Option(
            "--group-column",
            metavar="NAME",
            help="Rows with the same value stay together, such as those of one author.",
            show_default=False,
        ),
    ] = None,
    time_column: Annotated[
        str | None,
        typer.Option(
            "--time-column",
            metavar="NAME",
            help="The latest rows are the test data, those before them the validation data.",
            show_default=False,
        ),
    ] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    problem: Problem = "single-label",
    label_separator: Separator = "|",
    header: Header = "auto",
    as_json: Json = False,
) -> None:
    """Split labelled texts into train.parquet, validation.parquet and test.parquet.

    Every label has its share in each, the same text is never on two sides, and the same rows with
    the same seed are split alike, in whatever order they come. Needs the train extra.

    Example: bulkscore split --data reviews.csv --out reviews-split --seed 7
    """
    from producer.processes import become, options, require_installed

    require_installed("sklearn", "train")
    given = options(
        data=data,
        out=out,
        validation=validation,
        test=test,
        seed=seed,
        group_column=group_column,
        time_column=time_column,
        text_column=text_column,
        label_column=label_column,
        problem=problem,
        label_separator=label_separator,
        header=header,
        json=as_json,
    )
    become("worker.lifecycle.splitting", given)


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
