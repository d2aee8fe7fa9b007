"""What a teacher says of the rows of a training: by its engine, or as a bulk job has written it."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.errors import InputMissing, UsageError
from schemas.job import ModelPin
from schemas.labelled import FILE, ROW, LabelledTexts
from schemas.locations import canonical
from schemas.results import read_account
from schemas.storage import Storage
from worker.models import LoadedModel

_SMALLEST = 1e-7  # of a probability in float32, whose logarithm is taken

Logits = NDArray[np.float32]


def engine_logits(model: LoadedModel, texts: Sequence[str]) -> Logits:
    """Return logits [rows, labels], NaN of a text that cannot be scored."""
    encoded = model.tokenizer.encode(texts)
    usable = np.flatnonzero(~encoded.failed)
    logits = np.full((len(texts), len(model.labels)), np.nan, dtype=np.float32)
    logits[usable] = model.engine.forward([encoded.ids[i] for i in usable])
    return logits


def job_logits(storage: Storage, output: str, rows: LabelledTexts, pin: ModelPin) -> Logits:
    """Return logits [rows, labels] from the scores that a job has written, NaN of a row error.

    Of one label a text they are logarithms of probabilities, which softmax takes for logits.

    Args:
        storage: The door to objects.
        output: The output of a job of one model with `--all-scores` over the very files of `rows`.
        rows: The rows of the training.
        pin: The teacher, which must have made the scores.

    Raises:
        InputMissing: There is no result.
        UsageError: It is of another model or without all scores, or a row is not in it.
    """
    results = [
        stat.uri
        for stat in storage.list_objects(canonical(output))
        if stat.uri.rpartition("/")[2].startswith("part-")
    ]
    if not results:
        raise InputMissing(f"--teacher-scores {output}: there are no results of a job")
    tables = [_scores(storage, uri, output, pin) for uri in results]
    wanted = rows.rows.select(
        pl.col(FILE).alias("source_file"), pl.col(ROW).cast(pl.Int64).alias("source_row")
    )
    found = wanted.join(
        pl.concat(tables), on=["source_file", "source_row"], how="left", maintain_order="left"
    )
    missing = found["found"].is_null().arg_true()
    if len(missing):
        raise UsageError(
            f"--teacher-scores {output}: {rows.place(missing[0])} is not in it, and "
            f"{len(missing) - 1:,} more: submit the job over the files of --train-data, as Parquet"
        )
    nothing = [None] * len(pin.labels)
    listed = [scores if scores is not None else nothing for scores in found["scores"].to_list()]
    return _logits(np.array(listed, dtype=np.float32), pin)


def _scores(storage: Storage, uri: str, output: str, pin: ModelPin) -> pl.DataFrame:
    account = read_account(storage, uri)
    if account.model_digest != pin.digest:
        raise UsageError(
            f"--teacher-scores {output}: {uri} was written by {account.model} (digest "
            f"{account.model_digest[:12]}), not by {pin.ref} ({pin.digest[:12]})"
        )
    with storage.open(uri) as stream:
        table = pq.read_table(stream)
    if "scores" not in table.column_names:
        raise UsageError(f"--teacher-scores {output}: submit that job with --all-scores")
    found = pl.DataFrame(table.select(["source_file", "source_row", "scores"]))
    return found.with_columns(pl.lit(True).alias("found"))


def _logits(scores: Logits, pin: ModelPin) -> Logits:
    if pin.problem_type == "regression":
        return scores
    safe = scores.clip(_SMALLEST, 1 - _SMALLEST)
    if pin.problem_type == "single_label_classification":
        return np.asarray(np.log(safe), dtype=np.float32)
    return np.asarray(np.log(safe) - np.log1p(-safe), dtype=np.float32)
