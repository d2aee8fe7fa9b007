"""`compare` on what a worker has scored: two jobs, and the two models of one job."""

from pathlib import Path
from typing import Any

import pytest

from schemas.finalize import read_summary
from schemas.storage import Storage
from support.job_bench import JobBench
from support.models import tiny_model

pytestmark = pytest.mark.integration


@pytest.mark.slow
def test_two_jobs_and_the_two_models_of_one_job_compare_alike(
    job_bench: JobBench, tmp_path: Path
) -> None:
    bench, other = job_bench, tiny_model(tmp_path / "other", seed=1)
    named = [f"old={a}" if a == str(bench.model) else a for a in bench.scoring]
    alone = [str(other) if a == str(bench.model) else a for a in bench.scoring]
    for name, options in (
        ("old", bench.scoring),
        ("new", [*alone, "--chunk-rows", "7"]),
        ("both", [*named, "--model", f"new={other}"]),
    ):
        sent = bench.cli("submit", *options, "--output", str(tmp_path / name), "--job-id", name)
        assert sent.exit_code == 0, sent
        bench.worker.work()

    jobs = bench.cli("compare", "old", str(tmp_path / "new"), "--json")
    models = bench.cli("compare", "both", "--json")
    mixed = bench.cli("compare", "both", "old", "--suffix", "old", "--json")
    shown = bench.cli("compare", "both", "--suffix", "new", "--suffix", "old", "--rows", "3")
    new = str(tmp_path / "new")
    assert bench.cli("wait", "new").exit_code == 0
    drifted = bench.cli("report", new, "--reference", "old", "--record")
    stable = bench.cli("report", str(tmp_path / "old"), "--reference", "old", "--json")
    alone_is_refused = bench.cli("compare", "old")
    unknown_is_refused = bench.cli("compare", "both", "--suffix", "old", "--suffix", "newest")

    found: dict[str, Any] = jobs.json()
    assert (found["rows"], found["rows_compared"]) == (100, 100), found
    assert 0 < found["agreement"]["count"] < 100, found["agreement"]
    beside = models.json()
    assert {k: beside[k] for k in ("agreement", "kappa", "label_moves")} == {
        k: found[k] for k in ("agreement", "kappa", "label_moves")
    }
    assert (beside["a"]["name"], beside["b"]["name"]) == ("old", "new")
    assert mixed.json()["agreement"]["share"] == 1
    assert mixed.json()["shift"]["mean_absolute"] < 1e-5
    assert shown.exit_code == 0, shown
    assert "same label" in shown.stdout, shown
    assert shown.stdout.count(str(bench.corpus)) == 3, shown
    assert "drift since job old" in drifted.stdout, drifted
    kept = read_summary(Storage(), new).drift
    assert [d.of for d in kept] == ["labels", "scores", "lengths", "unknown tokens"]
    assert "as it was recorded" in bench.cli("report", new).stdout
    assert bench.cli("verify", new).exit_code == 0
    assert [(d["of"], d["psi"]) for d in stable.json()["drift"]["drifts"]] == [
        ("labels", 0),
        ("scores", 0),
        ("lengths", 0),
        ("unknown tokens", 0),
    ]
    assert alone_is_refused.exit_code == 2, alone_is_refused
    assert "has one model" in alone_is_refused.stderr
    assert unknown_is_refused.exit_code == 2, unknown_is_refused
    assert "it has old, new" in unknown_is_refused.stderr
