"""`profile` and `split`: what is done with labelled texts before a model is trained.

Both become modules of the worker side, as `train` does.
"""

from typing import Annotated

import typer

from producer.cli.labelled_options import ProblemData
from producer.cli.option_groups import as_arguments, with_groups
from producer.cli.options import Json

PANEL = "Labelled data"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("profile", rich_help_panel=PANEL)(with_groups(profile))
    app.command("split", rich_help_panel=PANEL)(with_groups(split))


def profile(
    texts: ProblemData,
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
    as_json: Json = False,
) -> None:
    """Say what labelled texts are like, and warn of what would spoil a training.

    Rows, labels, lengths, repeated texts, texts with two labels, test texts that are trained on,
    scripts. Needs the train extra.

    Example: bulkscore profile --data train.csv --test-data test.csv --model minilm
    """
    from producer.processes import become, require_installed

    for module in ("scipy", *(("transformers",) if model else ())):
        require_installed(module, "train")
    more = as_arguments(test_data=test_data, model=model, max_length=max_length, json=as_json)
    become("worker.lifecycle.profiling", [*as_arguments(texts), *more])


def split(
    texts: ProblemData,
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
    as_json: Json = False,
) -> None:
    """Split labelled texts into train.parquet, validation.parquet and test.parquet.

    Every label has its share in each, the same text is never on two sides, and the same rows with
    the same seed are split alike, in whatever order they come. Needs the train extra.

    Example: bulkscore split --data reviews.csv --out reviews-split --seed 7
    """
    from producer.processes import become, require_installed

    require_installed("sklearn", "train")
    given = as_arguments(
        texts,
        out=out,
        validation=validation,
        test=test,
        seed=seed,
        group_column=group_column,
        time_column=time_column,
        json=as_json,
    )
    become("worker.lifecycle.splitting", given)
