"""A release moves an alias: jobs under way keep the version they pinned, new ones take the new."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from producer.registry import promote, rollback
from schemas import layout
from schemas.registry import Registry
from schemas.results import read_account
from schemas.storage import Storage
from support.job_bench import JobBench
from support.models import tiny_model
from support.processes import CompletedCli, RunningCli, run_cli, start_command
from worker.lifecycle.register import register

pytestmark = pytest.mark.integration


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Two versions of a model, of which `prod` is the first."""
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(tmp_path / "cache"))
    registry = Registry(Storage(), str(tmp_path / "models"))
    for version in ("1", "2"):
        model = tiny_model(tmp_path / f"trained-{version}", seed=int(version))
        register(registry, str(model), "sentiment", version=version)
    promote(registry, "sentiment@1", "prod", gated=False)
    return registry


@pytest.fixture
def worker(job_bench: JobBench) -> Iterator[RunningCli]:
    """A worker that is told nothing of the registry: what a job needs is in its manifest."""
    command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
    with start_command(command, env=job_bench.env) as process:
        yield process


def test_jobs_keep_the_version_they_pinned_while_the_alias_moves_and_workers_run_on(
    job_bench: JobBench, registry: Registry, worker: RunningCli
) -> None:
    def submit(job: str) -> CompletedCli:
        return run_cli(
            "submit",
            *("--input", str(job_bench.corpus), "--text-column", "text", "--chunk-rows", "30"),
            *("--model", "sentiment@prod", "--output", str(job_bench.folder / job)),
            *("--job-id", job),
            env={**job_bench.env, "BULKSCORE_MODELS_URI": registry.root},
        )

    submitted = [submit("before")]
    promote(registry, "sentiment@2", "prod", gated=False)
    submitted.append(submit("after"))
    rollback(registry, "sentiment", "prod")
    submitted.append(submit("back"))
    ended = [job_bench.cli("wait", job) for job in ("before", "after", "back")]

    assert [done.exit_code for done in (*submitted, *ended)] == [0] * 6, (submitted, ended)
    assert [models_of(job_bench.folder / job) for job in ("before", "after", "back")] == [
        {"sentiment@1"},
        {"sentiment@2"},
        {"sentiment@1"},
    ]


def models_of(output: Path) -> set[str]:
    """Return which models the results of a job name."""
    uris = [layout.result(str(output), chunk) for chunk in range(4)]
    return {read_account(Storage(), uri).model for uri in uris}
