"""A corpus goes in, a real worker scores it over a real Redis, and every row comes out."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.broker import Broker
from producer.manifest import create_job
from schemas import layout
from schemas.finalize import read_summary
from schemas.job import JobSpec, Manifest
from schemas.ledger import Ledger
from schemas.model_files import pin_model
from schemas.reconciler import Reconciler
from schemas.resume import resume
from schemas.settings import BrokerSettings, ScheduleSettings
from schemas.states import JobState
from schemas.storage import Storage
from support.models import reference_logits, tiny_model
from support.processes import RunningCli, start_command
from support.waiting import wait_until

TEXTS: list[str | None] = ["a good film", None, "  ", "bad", "very good " * 40, "a \x00 b"] * 20


@pytest.fixture
def worker(redis_url: str) -> Iterator[RunningCli]:
    environment = {"BULKSCORE_REDIS_URL": redis_url, "BULKSCORE_RECONCILE_SECONDS": "0.2"}
    command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
    with start_command(command, env=environment) as process:
        yield process


def submit(tmp_path: Path, redis_url: str, inputs: tuple[str, ...]) -> tuple[Manifest, Ledger]:
    storage, broker = Storage(), BrokerSettings(redis_url=redis_url)
    ledger = Ledger(broker)
    model = pin_model(storage, str(tmp_path / "model"))
    spec = JobSpec(
        inputs=inputs,
        output=str(tmp_path / "scored"),
        model=str(tmp_path / "model"),
        text_column="text",
        id_columns=("doc_id",),
        chunk_rows=25,
        all_scores=True,
    )
    manifest = create_job(storage, spec, model)
    resume(storage, ledger, manifest)
    Reconciler(ledger, storage, Broker(redis_url).publish, ScheduleSettings()).run_once()
    return manifest, ledger


def write(path: Path, texts: list[str | None]) -> str:
    ids = pa.array(range(len(texts)), pa.int64())
    pq.write_table(pa.table({"doc_id": ids, "text": pa.array(texts, pa.string())}), path)
    return str(path)


def test_every_row_has_one_result_in_order_with_the_score_it_gets_alone(
    tmp_path: Path, redis_url: str, worker: RunningCli
) -> None:
    tiny_model(tmp_path / "model")
    corpus = write(tmp_path / "corpus.parquet", TEXTS)

    manifest, ledger = submit(tmp_path, redis_url, (corpus,))
    wait_until(lambda: ledger.status(manifest.job_id).ended, timeout=90)

    output = manifest.spec.output
    parts = [layout.result(output, chunk) for chunk in range(manifest.chunks)]
    rows = pa.concat_tables(pq.read_table(part) for part in parts).to_pylist()
    assert [row["doc_id"] for row in rows] == list(range(len(TEXTS)))
    assert [row["source_row"] for row in rows] == list(range(len(TEXTS)))
    assert [row["error"] for row in rows[:6]] == [None, "text_null", "text_blank", None, None, None]
    alone = reference_logits(tmp_path / "model", [text for text in TEXTS if text and text.strip()])
    scored = [row["scores"] for row in rows if row["error"] is None]
    for scores, logits in zip(scored, alone, strict=True):
        total = sum(math.exp(logit) for logit in logits)
        assert scores == pytest.approx([math.exp(logit) / total for logit in logits], abs=1e-4)
    summary = read_summary(Storage(), output)
    assert summary.state is JobState.SUCCEEDED
    assert (summary.rows_scored, summary.errors) == (80, {"text_blank": 20, "text_null": 20})
    assert Storage().exists(layout.success_marker(output))


def test_a_file_that_vanished_costs_its_chunks_alone(
    tmp_path: Path, redis_url: str, worker: RunningCli
) -> None:
    tiny_model(tmp_path / "model")
    sound = write(tmp_path / "sound.parquet", TEXTS[:20])
    doomed = write(tmp_path / "doomed.parquet", TEXTS[:20])
    storage, spec_inputs = Storage(), (sound, doomed)

    manifest, ledger = submit_and_lose(tmp_path, redis_url, spec_inputs, doomed)
    wait_until(lambda: ledger.status(manifest.job_id).ended, timeout=90)

    summary = read_summary(storage, manifest.spec.output)
    assert summary.state is JobState.FAILED
    assert summary.dead_by_code == {"input_missing": 1}
    assert (summary.rows_scored + summary.rows_error, summary.rows_dead) == (20, 20)
    assert not storage.exists(layout.success_marker(manifest.spec.output))


def submit_and_lose(
    tmp_path: Path, redis_url: str, inputs: tuple[str, ...], lost: str
) -> tuple[Manifest, Ledger]:
    storage, ledger = Storage(), Ledger(BrokerSettings(redis_url=redis_url))
    spec = JobSpec(
        inputs=inputs,
        output=str(tmp_path / "scored"),
        model=str(tmp_path / "model"),
        text_column="text",
    )
    manifest = create_job(storage, spec, pin_model(storage, spec.model))
    Path(lost).unlink()
    resume(storage, ledger, manifest)
    return manifest, ledger
