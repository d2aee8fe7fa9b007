"""What an evaluation says of its model and its data, and where the model is wrong."""

import hashlib
import json
from typing import Any

import numpy as np

from schemas.job import ProblemType
from schemas.labelled import LabelledTexts, Problem
from worker.lifecycle.evaluated_rows import EvaluatedRows
from worker.models import LoadedModel

MISTAKES = 20

# What a model solves, and how the data is to be read for it.
PROBLEMS: dict[ProblemType, Problem] = {
    "single_label_classification": "single-label",
    "multi_label_classification": "multi-label",
    "regression": "regression",
}

Record = dict[str, Any]


def model_facts(model: LoadedModel) -> Record:
    """Return what the model is."""
    pin = model.pin
    return {
        "ref": pin.ref,
        "name": pin.name,
        "version": pin.version,
        "digest": pin.digest,
        "model_type": pin.model_type,
        "problem": PROBLEMS[pin.problem_type],
        "labels": list(pin.labels),
        "max_length": model.max_length,
    }


def data_facts(data: LabelledTexts, rows: EvaluatedRows) -> Record:
    """Return what it was evaluated on; equal `sha256` are equal texts and labels in one order."""
    digest = hashlib.sha256()
    for text, label in zip(data.texts, data.labels, strict=True):
        digest.update(json.dumps([text, label]).encode())
    codes = [code.value for code in rows.errors.values()]
    return {
        "files": sorted(set(data.rows["source_file"])),
        "rows": len(rows),
        "unscored_rows": len(codes),
        "errors": {code: codes.count(code) for code in sorted(set(codes))},
        "tokens": int(rows.tokens.sum()),
        "sha256": digest.hexdigest(),
    }


def mistakes(data: LabelledTexts, rows: EvaluatedRows) -> list[Record]:
    """Return where the model is surest and wrong, without the texts; single labels alone."""
    if rows.problem != "single_label_classification":
        return []
    said, wrong = rows.predicted, np.flatnonzero(rows.scored & (rows.merits < 1))
    surest = wrong[np.argsort(-rows.scores[wrong, said[wrong]], kind="stable")][:MISTAKES]
    return [
        {
            "place": data.place(int(i)),
            "asked": rows.labels[rows.targets[i]],
            "said": rows.labels[said[i]],
            "score": round(float(rows.scores[i, said[i]]), 4),
        }
        for i in surest
    ]
