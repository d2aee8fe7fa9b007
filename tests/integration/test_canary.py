"""`submit --canary`: a sample scored by a second model, and a job that is else the same."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from producer.deep_check import deep_check
from producer.verify import verify
from schemas import layout
from schemas.canary import sampled
from schemas.finalize import read_summary
from schemas.job import Canary
from schemas.results import read_account
from schemas.storage import Storage
from support.job_bench import JobBench
from support.models import tiny_model
from support.stored_jobs import result_bytes

pytestmark = pytest.mark.integration
CANARY = Canary(percent=30, seed=3)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model with the tokenizer of the bench's, and one with another tokenizer."""
    folder = tmp_path_factory.mktemp("others")
    return tiny_model(folder / "next", seed=1), tiny_model(folder / "kin", "roberta", seed=2)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(0, id="equal tokenizers", marks=pytest.mark.slow),
        pytest.param(1, id="different tokenizers"),
    ],
)
def test_a_canary_scores_its_sample_and_leaves_the_job_as_it_is(
    job_bench: JobBench,
    others: tuple[Path, Path],
    other: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("BULKSCORE_TORCH_THREADS", "1")
    bench, storage = job_bench, Storage()
    second = [str(others[other]) if a == str(bench.model) else a for a in bench.scoring]
    sample = ("--canary", str(others[other]), "--canary-share", "30%", "--canary-seed", "3")
    for name, options in (
        ("alone", bench.scoring),
        ("canary", [*bench.scoring, *sample]),
        ("next", second),
    ):
        output = str(bench.folder / name)
        sent = bench.cli("submit", *options, "--output", output, "--job-id", name)
        assert sent.exit_code == 0, sent
        bench.worker.work()
        ended = bench.cli("wait", name)
        assert ended.exit_code == 0, ended
    alone, both, every = (rows_of(bench.folder / name) for name in ("alone", "canary", "next"))

    assert both.select(alone.column_names).drop(["score"]) == alone.drop(["score"])
    assert np.allclose(both["score"], alone["score"], atol=1e-6)
    inside = np.concatenate(
        [sampled(CANARY, str(file), np.arange(25)) for file in sorted(bench.corpus.iterdir())]
    )
    assert 15 < inside.sum() < 45
    asked = both.filter(pa.array(inside))
    wanted = every.filter(pa.array(inside))
    assert asked["label_canary"] == wanted["label"]
    assert np.allclose(asked["score_canary"], wanted["score"], atol=1e-5)
    unasked = both.filter(pa.array(~inside))
    for name in ("label", "score", "n_tokens", "truncated", "error"):
        assert unasked[f"{name}_canary"].null_count == len(unasked)

    output = str(bench.folder / "canary")
    summary = read_summary(storage, output)
    first, canary = summary.models
    same = pc.sum(pc.equal(asked["label"], asked["label_canary"])).as_py()
    assert (summary.rows_scored, first.rows_scored, canary.rows_scored) == (100, 100, len(asked))
    assert (canary.rows_compared, canary.rows_agreed) == (len(asked), same)
    assert verify(storage, output, deep=deep_check(storage, output, rows=30)).complete
    report = bench.cli("report", output, "--json").json()
    (compared,) = report["comparisons"]
    assert (compared["agreement"]["count"], compared["rows"]) == (same, len(asked))
    assert (compared["rows_only_a"], compared["rows_only_b"]) == (0, 0)
    assert sum(count["rows"] for count in report["labels"]) == 100 + len(asked)
    shown = bench.cli("show", "canary")
    assert "30 % of the rows, drawn by seed 3" in shown.stdout, shown
    assert f"of {len(asked)} rows" in shown.stdout, shown

    path = Path(layout.result(output, 0))
    table, place = pq.read_table(path), int(np.flatnonzero(~inside[:25])[0])
    labels = table["label_canary"].to_pylist()
    labels[place] = "positive"
    where = table.column_names.index("label_canary")
    spoilt = table.set_column(where, table.schema.field(where), pa.array(labels, pa.string()))
    path.write_bytes(result_bytes(spoilt, read_account(storage, str(path))))
    found = verify(storage, output).findings
    assert any("1 rows outside the sample with values, by model canary" in f.message for f in found)


def rows_of(output: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(output.glob("*.parquet")))
