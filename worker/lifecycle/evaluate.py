"""Evaluate a model: `python -m worker.lifecycle.evaluate REF --data FILE …`.

Everything is scored by the engine and the tokenizer of the workers, so that what is measured is
what a job will give.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import GateFailed, InputMissing, UsageError
from schemas.evaluations import record_evaluation
from schemas.gate import Gate, check, parse_gate
from schemas.job import Dtype, LongText
from schemas.labelled import Problem
from schemas.registry import Registry, is_registry_ref
from schemas.report_page import require_place
from schemas.settings import RegistrySettings, StorageSettings, WorkerSettings, load
from schemas.storage import Storage
from worker.lifecycle import reading
from worker.lifecycle.bootstrap import RESAMPLES
from worker.lifecycle.evaluated_rows import THRESHOLD
from worker.lifecycle.evaluating import Evaluator
from worker.lifecycle.evaluation import PARTS, ROBUSTNESS_ROWS, SEEDS, Record, Settings
from worker.lifecycle.train import reporting_errors

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def command(
    ref: Annotated[str, typer.Argument(metavar="REF", help="Path, s3:// or NAME@VERSION.")],
    data: reading.Data,
    baseline: Annotated[str | None, typer.Option(help="A model to compare with.")] = None,
    replicate: Annotated[
        list[str] | None, typer.Option(help="The same model, trained with another seed.")
    ] = None,
    gate: Annotated[Path | None, typer.Option(help="What is asked of the metrics.")] = None,
    report: Annotated[Path | None, typer.Option(help="HTML file to write.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Keep it with the version.")] = False,
    skip: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(PARTS)}.")] = None,
    text_column: reading.TextColumn = reading.TEXT_COLUMN,
    label_column: reading.LabelColumn = reading.LABEL_COLUMN,
    problem: Annotated[Problem | None, typer.Option(help="Else what the model solves.")] = None,
    label_separator: reading.Separator = reading.SEPARATOR,
    header: reading.Header = "auto",
    max_length: Annotated[int | None, typer.Option(min=8, help="Tokens read of a text.")] = None,
    long_text: Annotated[LongText, typer.Option(help="What becomes of more.")] = "truncate",
    dtype: Annotated[Dtype, typer.Option(help="Number format of the model.")] = "auto",
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1)] = THRESHOLD,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Of the perturbations.")] = SEEDS,
    robustness_rows: Annotated[int, typer.Option(min=1)] = ROBUSTNESS_ROWS,
    resamples: Annotated[int, typer.Option(min=100, help="Of each bootstrap.")] = RESAMPLES,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print how good, fast and robust a model is. Exit code 6 when it does not pass the gate.

    Example: python -m worker.lifecycle.evaluate ./sentiment --data test.csv --gate gate.yaml
    """
    with reporting_errors():
        worker = load(WorkerSettings, device=device)
        how = Settings(
            max_length=max_length,
            long_text=long_text,
            dtype=dtype,
            device=worker.device,
            threads=worker.torch_threads,
            threshold=threshold,
            seed=seed,
            seeds=seeds,
            robustness_rows=robustness_rows,
            resamples=resamples,
            skip=_parts(skip or []),
        )
        asked = _gate(gate, baseline)
        require_place(report)
        storage, models_uri = Storage(load(StorageSettings)), load(RegistrySettings).models_uri
        registry = _registry_to_record(storage, models_uri, ref) if record else None
        evaluator = Evaluator(storage, models_uri, worker.model_cache_dir, how, _tell)
        columns = reading.columns_of(
            text_column,
            label_column,
            evaluator.problem_of(ref, problem),
            label_separator,
            header,
        )
        found = evaluator.evaluate(ref, data, columns, baseline, replicate or [])
        checks = check(asked, found, found.get("baseline")) if asked else []
        found["gate"] = [
            {"metric": c.metric, "asked": c.asked, "value": c.value, "baseline": c.baseline}
            | {"passed": c.passed, "problem": c.problem}
            for c in checks
        ]
        _give(found, report, as_json=as_json)
        if registry is not None:
            version = registry.resolve(found["model"]["ref"])
            _tell(f"recorded in {record_evaluation(registry, version, found)}")
        failed = [f"{c.metric}: {c.problem}" for c in checks if not c.passed]
        if failed:
            raise GateFailed(f"{found['model']['ref']} does not pass {gate}: {'; '.join(failed)}")


def _give(found: Record, report: Path | None, *, as_json: bool) -> None:
    """Print an evaluation, and write the report if one is wanted."""
    from worker.lifecycle.evaluation_text import evaluation_lines

    if report is not None:
        from worker.lifecycle.evaluation_report import html_report

        report.write_text(html_report(found), encoding="utf-8")
        _tell(f"report: {report}")
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for line in evaluation_lines(found):
        print(line)


def _gate(path: Path | None, baseline: str | None) -> Gate | None:
    if path is None:
        return None
    if not path.is_file():
        raise InputMissing(f"{path} does not exist")
    gate = parse_gate(path.read_bytes(), str(path))
    if gate.compares and baseline is None:
        raise UsageError(f"gate {path} compares (max_drop, max_rise): give a --baseline")
    return gate


def _registry_to_record(storage: Storage, models_uri: str | None, ref: str) -> Registry:
    if not is_registry_ref(ref):
        raise UsageError(f"--record {ref}: only a registered version can keep it: NAME@VERSION")
    return Registry(storage, models_uri)


def _parts(skip: list[str]) -> tuple[str, ...]:
    for part in skip:
        if part not in PARTS:
            raise UsageError(f"--skip {part}: give {', '.join(PARTS)}")
    return tuple(skip)


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
