"""Compares a sample of a result with what the pinned model gives for the same rows now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from producer.findings import Finding, FindingKind
from producer.rescore import rescore
from producer.row_sample import ChunkSample, ModelSample, ResultRow, sample_rows
from schemas.job import Manifest, ModelPin
from schemas.manifest import read_chunks, read_manifest
from schemas.rescore import RescoredChunk, RescoredRow, RescoreRequest, SampledRows
from schemas.storage import Storage
from schemas.survey import survey

# How far a score may be from that of fp32, by the number format of the result. Batching and
# padding alone move an fp32 score by less than 1e-5; bf16 was seen to move one by 0.017, int8
# by 0.08.
TOLERANCES = {"fp32": 1e-4, "fp16": 0.01, "bf16": 0.05, "int8": 0.2}
WIDEST_TOLERANCE = 0.2
# Rows of a chunk that a message tells of.
TOLD_ROWS = 3

Progress = Callable[[int, int], None]


@dataclass(slots=True, kw_only=True)
class DeepCheck:
    """What came of scoring a sample again.

    Attributes:
        rows: Rows that were compared.
        problems: Why rows of a file of the corpus could not be read, by its URI.
    """

    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


def deep_check(
    storage: Storage,
    output: str,
    *,
    rows: int,
    seed: int = 0,
    progress: Progress = lambda _done, _all: None,
) -> DeepCheck:
    """Score a sample of the rows of a job again, one at a time, and compare label and score.

    Args:
        storage: Where output and corpus lie.
        output: URI of the job's output.
        rows: Rows to compare.
        seed: Of the sample.
        progress: Told how many of all rows are scored.

    Raises:
        ManifestMissing: There is no job, or its manifest or chunk table is damaged.
        ConfigurationError: The worker side is not installed.
        RescoreFailed: The pinned model cannot be had or loaded.
    """
    manifest = read_manifest(storage, output)
    chunks = read_chunks(storage, manifest)
    results = survey(storage, manifest).results
    sampled = list(sample_rows(storage, manifest, chunks, results, rows=rows, seed=seed))
    check = DeepCheck()
    asked = [SampledRows(chunk=sample.chunk, rows=sample.rows) for sample in sampled]
    wanted = sum(len(sample.rows) for sample in sampled)
    answers = rescore(RescoreRequest(output=output, chunks=tuple(asked))) if asked else ()
    done = 0
    for sample, answer in zip(sampled, answers, strict=True):
        if answer.problem is not None:
            uri = manifest.files[chunks[sample.chunk].file].uri
            check.problems[uri] = f"rows cannot be scored again: {answer.problem}"
        else:
            check.rows += len(sample.rows)
            check.findings += _compare(manifest, sample, answer)
        done += len(sample.rows)
        progress(done, wanted)
    return check


def difference(
    row: ResultRow, again: RescoredRow, model: ModelPin, *, tolerance: float
) -> str | None:
    """Say what a result row has and what the model gives instead, or None.

    A label may be another one where both are within the tolerance of a tie. The value of a
    regression may differ by so much of itself.
    """
    kept = (row.error, row.n_tokens, row.truncated)
    if kept != (again.error, again.n_tokens, again.truncated):
        return f"{_shape(row)} instead of {_shape(again)}"
    if again.scores is None:
        return None
    labels, best = model.labels, int(np.argmax(again.scores))
    text = f"{row.label} {row.score} instead of {labels[best]} {again.scores[best]:.7g}"
    regression = model.problem_type == "regression"
    known = regression or row.label in labels
    whole = row.scores is None or len(row.scores) == len(labels)
    if row.score is None or not (known and whole):
        return text
    place = 0 if row.label is None else labels.index(row.label)
    if regression:
        tolerance *= max(1.0, abs(again.scores[0]))
    here = [row.score, *(row.scores or ())]
    there = [again.scores[place], *(again.scores if row.scores else ())]
    # Written so that a NaN is not near.
    near = np.abs(np.subtract(here, there)).max() <= tolerance
    tie = again.scores[best] - again.scores[place] <= 2 * tolerance
    return None if near and tie else text


def _compare(manifest: Manifest, sample: ChunkSample, answer: RescoredChunk) -> list[Finding]:
    by_model = zip(
        manifest.models, manifest.spec.suffixes, sample.models, answer.models, strict=True
    )
    found = (
        _compare_model(sample.chunk, pin, suffix, kept, rows)
        for pin, suffix, kept, rows in by_model
    )
    return [finding for finding in found if finding is not None]


def _compare_model(
    chunk: int, pin: ModelPin, suffix: str, kept: ModelSample, rows: Sequence[RescoredRow]
) -> Finding | None:
    tolerance = TOLERANCES.get(kept.dtype, WIDEST_TOLERANCE)
    differing = {
        again.row: text
        for again in rows
        if again.row in kept.rows
        and (text := difference(kept.rows[again.row], again, pin, tolerance=tolerance))
    }
    if not differing:
        return None
    told = [f"row {row}: {text}" for row, text in list(differing.items())[:TOLD_ROWS]]
    more = f" and {len(differing) - len(told)} more" if len(differing) > len(told) else ""
    model = f"model {suffix.removeprefix('_')}" if suffix else "the model"
    message = (
        f"result of chunk {chunk} is not what {model} gives in {len(differing)} of "
        f"{len(kept.rows)} rows scored again: {'; '.join(told)}{more}"
    )
    return Finding(kind=FindingKind.RESCORED, chunk=chunk, count=len(differing), message=message)


def _shape(row: ResultRow | RescoredRow) -> str:
    if row.error:
        return f"error {row.error}"
    return f"{row.n_tokens} tokens{', truncated' if row.truncated else ''}"
