"""`reprocess --model-version`: what a bad release wrote is scored again by the one before it."""

from pathlib import Path
from typing import Any

import pytest

from producer.registry import promote, rollback
from producer.verify import verify
from schemas import layout
from schemas.generation import read_generations
from schemas.manifest import read_manifest
from schemas.registry import Registry
from schemas.results import read_account
from schemas.storage import Storage
from support.job_bench import JobBench
from support.models import tiny_model
from support.processes import CompletedCli, run_cli
from support.servers import ValkeyServer
from worker.lifecycle.register import register

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("trained")
    return [tiny_model(folder / name, seed=seed) for seed, name in enumerate(("1", "2"), start=1)]


@pytest.fixture
def registry(trained: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Two versions of a model; `prod` was the first and is the second."""
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(tmp_path / "cache"))
    registry = Registry(Storage(), str(tmp_path / "models"))
    for folder in trained:
        register(registry, str(folder), "sentiment", version=folder.name)
        promote(registry, f"sentiment@{folder.name}", "prod", gated=False)
    return registry


def test_all_that_a_bad_version_wrote_is_found_and_scored_again_by_the_one_before(
    job_bench: JobBench, registry: Registry, valkey: ValkeyServer
) -> None:
    bench, lake = job_bench, job_bench.folder / "lake"
    for place, model in (
        ("daily/a", "sentiment@prod"),
        ("b", "sentiment@prod"),
        ("c", "sentiment@1"),
    ):
        assert submit(bench, registry, lake / place, model).exit_code == 0
        bench.worker.work()
        assert bench.cli("wait", job_of(place)).exit_code == 0
    before = {place: contents(lake / place) for place in ("daily/a", "b", "c")}
    asked = ("reprocess", "--model-version", "sentiment@2", str(lake))

    too_early = call(bench, registry, *asked)
    rollback(registry, "sentiment", "prod")
    looked = call(bench, registry, *asked, "--dry-run", "--json")
    assert {place: contents(lake / place) for place in before} == before
    valkey.empty()  # the queue and the ledger are not needed to know what to do
    sent = call(bench, registry, *asked, "--json")
    bench.worker.work()
    again = call(bench, registry, *asked)
    ended = [bench.cli("wait", job_of(place), "--json") for place in ("daily/a", "b")]
    same = submit(bench, registry, lake / "b", "sentiment@prod")

    assert (too_early.exit_code, too_early.stderr.count("is sentiment@2 itself")) == (2, 2)
    found = looked.json()["would_send"]
    assert [(f["job_id"], f["chunks"], f["rows"], f["model"]) for f in found] == [
        ("b", 4, 100, "sentiment@1"),
        ("daily-a", 4, 100, "sentiment@1"),
    ]
    assert [f["generation"] for f in sent.json()["sent"]] == [1, 1]
    assert (again.exit_code, again.stderr) == (0, "sentiment@2 wrote no result there\n")
    assert [done.json()["model"] for done in ended] == ["sentiment@1", "sentiment@1"]
    assert (same.exit_code, same.stdout) == (0, "b\n"), same
    for place in ("daily/a", "b"):
        output = str(lake / place)
        assert verify(Storage(), output).complete
        accounts = [read_account(Storage(), uri) for uri in contents(lake / place)]
        assert {(a.model, a.generation) for a in accounts} == {("sentiment@1", 1)}
        aside = [Path(layout.superseded(output, n, 1)).read_bytes() for n in range(4)]
        assert aside == list(before[place].values())
    assert contents(lake / "c") == before["c"]


@pytest.mark.slow
def test_a_reprocess_that_was_broken_off_is_completed_by_resume_or_the_same_command(
    job_bench: JobBench, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from producer import bad_version
    from producer.bad_version import Replacement, find, send_again
    from producer.deployment import Deployment

    bench = job_bench
    monkeypatch.setenv("BULKSCORE_REDIS_URL", bench.redis_url)
    monkeypatch.setenv("BULKSCORE_MODELS_URI", registry.root)
    for name in ("a", "b"):
        submit(bench, registry, bench.folder / "lake" / name, "sentiment@2")
    bench.worker.work()
    for name in ("a", "b"):
        assert bench.cli("wait", name).exit_code == 0
    deployment = Deployment.from_environment()
    instead = Replacement(deployment.storage, "sentiment@1")
    lake = str(bench.folder / "lake")

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bad_version, "resume", dies)
        for job in find(deployment.storage, [lake], "sentiment@2", instead):
            with pytest.raises(KeyboardInterrupt):
                send_again(deployment, job, instead)
    resumed = bench.cli("resume", str(bench.folder / "lake" / "a"))
    left = call(
        bench, registry, "reprocess", "--model-version", "sentiment@2", lake, "--model", "nowhere"
    )
    bench.worker.work()
    ended = [bench.cli("wait", name) for name in ("a", "b")]

    assert resumed.exit_code == 0, resumed
    assert left.exit_code == 0, left
    assert "1 job set aside and sent again" in left.stderr, left
    assert [done.exit_code for done in ended] == [0, 0], ended
    for name in ("a", "b"):
        output = str(bench.folder / "lake" / name)
        assert verify(Storage(), output).complete
        assert read_manifest(Storage(), output).model.ref == "sentiment@1"
        assert [r.number for r in read_generations(Storage(), output)] == [1]


@pytest.mark.slow
def test_a_job_that_cannot_be_scored_again_is_left_as_it_is_and_keeps_no_other_back(
    job_bench: JobBench, registry: Registry
) -> None:
    bench, lake = job_bench, job_bench.folder / "lake"
    submit(bench, registry, lake / "a", "sentiment@2")
    bench.worker.work()
    bench.cli("wait", "a")
    submit(bench, registry, lake / "b", "sentiment@2")
    bench.worker.work(most=2)
    digest = read_manifest(Storage(), str(lake / "a")).model.digest
    asked = ("reprocess", "--model-version", digest[:16], str(lake))

    no_model = call(bench, registry, *asked)
    done = call(bench, registry, *asked, "--model", "sentiment@1")
    bench.worker.work()
    nothing_there = call(bench, registry, *asked[:3], str(bench.corpus))
    mixed = call(bench, registry, *asked, "--chunk", "1")

    assert no_model.exit_code == 2, no_model
    assert "name another with --model REF" in no_model.stderr
    assert done.exit_code == 2, done
    assert "job b is left as it is: it has not ended" in done.stderr, done
    assert "4 results of 1 job set aside and sent again" in done.stderr, done
    assert [read_account(Storage(), uri).model for uri in contents(lake / "a")] == [
        "sentiment@1"
    ] * 4
    assert {read_account(Storage(), uri).model for uri in contents(lake / "b")} == {"sentiment@2"}
    assert (nothing_there.exit_code, mixed.exit_code) == (2, 2)


def submit(bench: JobBench, registry: Registry, output: Path, model: str) -> CompletedCli:
    job = job_of(str(output.relative_to(bench.folder / "lake")))
    return call(
        *(bench, registry, "submit", "--input", str(bench.corpus), "--text-column", "text"),
        *("--id-column", "id", "--chunk-rows", "30", "--model", model),
        *("--output", str(output), "--job-id", job),
    )


def call(bench: JobBench, registry: Registry, *words: str) -> CompletedCli:
    return run_cli(*words, env={**bench.env, "BULKSCORE_MODELS_URI": registry.root})


def job_of(place: str) -> str:
    return place.replace("/", "-")


def contents(output: Path) -> dict[str, bytes]:
    """Return the results of a job by their URI."""
    return {str(path): path.read_bytes() for path in sorted(output.glob("part-*.parquet"))}
