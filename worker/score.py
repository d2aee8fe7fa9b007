"""Score a few texts without a job: `python -m worker.score --model REF "some text"`.

A first look at a model: no broker, no files. Results go to stdout, one line a text.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from itertools import islice
from typing import Annotated, TextIO, TypedDict, get_args

import numpy as np
import typer

from schemas.errors import BulkError, RowError
from schemas.job import Dtype, LongText
from schemas.model_files import pin_model
from schemas.named_models import named_models
from schemas.settings import RegistrySettings, StorageSettings, WorkerSettings, load
from schemas.storage import Storage
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model
from worker.scores import NO_LABEL, score_rows

# Lines of standard input scored together: enough to sort by length, few enough to see progress.
WINDOW_TEXTS = 256
# How much of a text is shown beside its score.
SHOWN_CHARACTERS = 80

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def score(
    model: Annotated[list[str], typer.Option(help="[NAME=]REF; several times for several.")],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Else lines of stdin.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    all_scores: Annotated[bool, typer.Option(help="A score for each label.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16 or int8.")] = "auto",
    max_length: Annotated[int | None, typer.Option(help="Tokens at which texts are cut.")] = None,
) -> None:
    """Print label and score of each text, by each model.

    Example: python -m worker.score --model ./sentiment "a delightful film" "a dull film"
    """
    try:
        models = named_models(model)
        loaded = [
            _load(ref, device=device, dtype=dtype, max_length=max_length) for ref in models.refs
        ]
        lines = iter(texts) if texts else _lines(sys.stdin)
        while window := list(islice(lines, WINDOW_TEXTS)):
            scored = zip(*(score_texts(one, window) for one in loaded), strict=True)
            for text, rows in zip(window, scored, strict=True):
                by_name = dict(zip(models.names or ("",), rows, strict=True))
                print(_shown(text, by_name, as_json=as_json, all_scores=all_scores), flush=True)
    except BulkError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(int(error.exit_code)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScore:
    """What one text got: a label and scores, or the `error` that kept it from them."""

    label: str | None = None
    score: float | None = None
    scores: dict[str, float] | None = None
    n_tokens: int
    truncated: bool
    error: RowError | None = None


class _Length(TypedDict):
    n_tokens: int
    truncated: bool


def score_texts(
    model: LoadedModel, texts: list[str], long_text: LongText = "truncate"
) -> list[TextScore]:
    """Return what each text gets, in order."""
    encoded = model.tokenizer.encode(texts, long_text)
    blank = [not text.strip() for text in texts]
    usable = [i for i in range(len(texts)) if not (blank[i] or encoded.failed[i])]
    used = encoded.take(np.array(usable, dtype=np.int64))
    logits = model.engine.forward(used.ids)
    rows = score_rows(logits, model.pin.problem_type, used.passages, long_text)
    place = {text: row for row, text in enumerate(usable)}
    tokens = encoded.tokens()

    def result(i: int) -> TextScore:
        length = _Length(n_tokens=int(tokens[i]), truncated=bool(encoded.truncated[i]))
        if i not in place:
            error = RowError.TEXT_BLANK if blank[i] else RowError.TOKENIZER_FAILED
            return TextScore(**length, error=error)
        row = place[i]
        if not rows.finite[row]:
            return TextScore(**length, error=RowError.SCORE_NOT_FINITE)
        label = int(rows.label_index[row])
        return TextScore(
            **length,
            label=None if label == NO_LABEL else model.labels[label],
            score=float(rows.score[row]),
            scores=dict(zip(model.labels, map(float, rows.scores[row]), strict=True)),
        )

    return [result(i) for i in range(len(texts))]


def _load(ref: str, *, device: str | None, dtype: str, max_length: int | None) -> LoadedModel:
    settings = load(WorkerSettings, device=device)
    storage = Storage(load(StorageSettings))
    return load_model(
        ModelStore(storage, settings.model_cache_dir),
        pin_model(storage, ref, load(RegistrySettings).models_uri),
        max_length=max_length,
        dtype=_dtype(dtype),
        device=settings.device,
        threads=settings.torch_threads,
    )


def _dtype(name: str) -> Dtype:
    known: tuple[Dtype, ...] = get_args(Dtype)
    for dtype in known:
        if name == dtype:
            return dtype
    raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--dtype")


def _lines(stream: TextIO) -> Iterator[str]:
    if isinstance(stream, TextIOWrapper):
        # Bytes that are not UTF-8 become a row error of their line, not the end of the others.
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    return (line.rstrip("\r\n") for line in stream)


def _shown(text: str, rows: dict[str, TextScore], *, as_json: bool, all_scores: bool) -> str:
    """Return what a text got, by the name of the model; a model alone has none."""
    if as_json:
        fields: dict[str, object] = {}
        for name, row in rows.items():
            own = asdict(row)
            if not all_scores:
                del own["scores"]
            fields |= {f"{field}_{name}" if name else field: own[field] for field in own}
        return json.dumps(fields, ensure_ascii=False)
    told = (_told(row, all_scores=all_scores) for row in rows.values())
    named = (f"{name}={one}" if name else one for name, one in zip(rows, told, strict=True))
    return "\t".join((*named, _shortened(text)))


def _told(row: TextScore, *, all_scores: bool) -> str:
    if row.error:
        return f"-\t{row.error}"
    score = f"{row.score:.4f}"
    if all_scores and row.scores:
        score = " ".join(f"{label}={value:.4f}" for label, value in row.scores.items())
    return f"{row.label or '-'}\t{score}"


def _shortened(text: str) -> str:
    line = " ".join(text[: 10 * SHOWN_CHARACTERS].split())
    shown = line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"
    return shown.encode("utf-8", "replace").decode("utf-8")


if __name__ == "__main__":
    app()
