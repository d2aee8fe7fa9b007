"""What a job would do, from the footers of its files alone; nothing is created."""

from collections.abc import Sequence
from operator import not_

from pydantic import Field

from producer.footers import Progress
from producer.inventory import take_inventory
from producer.plan import make_plan
from producer.sizing import Sizing
from schemas.job import JobSpec, LongText, ModelPin, Record, SkippedFile, models_digest
from schemas.model_files import choose_max_length, require_precision
from schemas.storage import Storage

# Bytes of text that make a token, for English and WordPiece; other scripts take more tokens.
BYTES_PER_TOKEN = 4


class NamedForecast(Record):
    """One of several models: what its columns are called, and what it is."""

    name: str
    model: str
    model_digest: str
    labels: tuple[str, ...]
    max_length: int


class Forecast(Record):
    """A plan in numbers. `tokens` is an estimate from the size of the text column.

    Of several models, `model` names all, `model_digest` and `tokens` are those of all together, and
    `labels` and `max_length` those of the first; `models` has the others by name as well. `sizing`
    is there where a deadline was asked about.
    """

    files: int
    rows: int
    chunks: int
    text_bytes: int
    tokens: int
    skipped_files: tuple[SkippedFile, ...]
    model: str
    model_digest: str
    labels: tuple[str, ...]
    max_length: int
    long_text: LongText
    models: tuple[NamedForecast, ...] = Field(default=(), exclude_if=not_)
    sizing: Sizing | None = Field(default=None, exclude_if=not_)


def forecast(
    storage: Storage,
    spec: JobSpec,
    models: Sequence[ModelPin],
    progress: Progress = lambda _done, _all: None,
) -> Forecast:
    """Read the footers of the corpus and cut it, as `submit` would.

    Raises:
        InputMissing: There is no such file, or none that can be read.
        InputCorrupt: A file is not Parquet, and bad files are not to be skipped.
        SchemaMismatch: A column is missing or holds no text, or files disagree.
        UsageError: The model cannot do what the options ask for.
    """
    lengths = [choose_max_length(model, spec.max_length) for model in models]
    for model in models:
        require_precision(model, spec.dtype)
    shares = [1.0 for _ in models]
    if spec.canary is not None:
        shares[1] = spec.canary.percent / 100
    found = take_inventory(storage, spec, progress)
    plan = make_plan(found.footers, spec.chunk_rows)
    return Forecast(
        files=plan.files,
        rows=plan.rows,
        chunks=len(plan.chunks),
        text_bytes=plan.text_bytes,
        tokens=sum(
            estimate_tokens(
                rows=round(plan.rows * share),
                text_bytes=round(plan.text_bytes * share),
                max_length=length,
                long_text=spec.long_text,
            )
            for length, share in zip(lengths, shares, strict=True)
        ),
        skipped_files=tuple(found.skipped),
        model=", ".join(model.ref for model in models),
        model_digest=models_digest(models),
        labels=models[0].labels,
        max_length=lengths[0],
        long_text=spec.long_text,
        models=tuple(
            NamedForecast(
                name=name,
                model=model.ref,
                model_digest=model.digest,
                labels=model.labels,
                max_length=length,
            )
            for name, model, length in zip(spec.names, models, lengths, strict=False)
        ),
    )


def estimate_tokens(*, rows: int, text_bytes: int, max_length: int, long_text: LongText) -> int:
    """Estimate the tokens of a corpus: its text plus two special tokens a row.

    Longer texts are cut, or read a third more often where windows overlap by a quarter.
    """
    tokens, most = text_bytes // BYTES_PER_TOKEN + 2 * rows, rows * max_length
    if long_text == "truncate":
        return min(tokens, most)
    return tokens if tokens <= most else tokens * 4 // 3
