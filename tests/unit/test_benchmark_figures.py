"""The arithmetic of the benchmarks: work, load of the machine, rates, ratios and targets."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed.corpus import made_up, spread
from benchmarks.speed.figures import Corpus, Entrant, Peak, Run, Slice, faster
from benchmarks.speed.load import Reading, busy_seconds, foreign_share
from benchmarks.speed.table import page
from benchmarks.speed.targets import targets
from benchmarks.speed.work import useful_flops


def test_a_layer_whose_output_is_read_everywhere_counts_all_its_products() -> None:
    one, two = (
        useful_flops(np.array([7]), layers=layers, width=4, inner=16)[0] for layers in (1, 2)
    )

    # Query, key, value and output are 4x4 each, up and down 4x16; attention is two products of
    # 7x7x4; a multiplication and an addition are two operations.
    assert two - one == 2 * 7 * (4 * 16 + 2 * 64) + 2 * (2 * 7 * 7 * 4)


def test_of_the_last_layer_only_keys_and_values_count_for_all_tokens() -> None:
    (work,) = useful_flops(np.array([7]), layers=1, width=4, inner=16)

    keys_and_values = 2 * 7 * 2 * 16
    first_token = 2 * (2 * 16 + 2 * 64) + 2 * (2 * 7 * 4)
    assert work == keys_and_values + first_token


def test_work_is_counted_for_each_document_and_knows_no_padding() -> None:
    alone = [useful_flops(np.array([n]), layers=6, width=384, inner=1536)[0] for n in (12, 512)]

    together = useful_flops(np.array([12, 512]), layers=6, width=384, inner=1536)

    assert together.tolist() == alone


def test_busy_seconds_are_all_but_idle_and_waiting() -> None:
    stat = "cpu  100 20 30 100000 50000 4 6 40 7 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"

    assert busy_seconds(stat) == pytest.approx(2.0)  # at 100 ticks a second


def test_what_others_used_is_a_share_of_what_the_machine_had() -> None:
    before, after = Reading(clock=10.0, busy=100.0), Reading(clock=20.0, busy=116.0)

    assert foreign_share(before, after, own=15.0, cores=2) == pytest.approx(0.05)
    assert foreign_share(before, after, own=16.1, cores=2) == 0.0


def test_a_ratio_is_taken_round_by_round_with_its_spread() -> None:
    mine = [slice_of("mine", 0, 1.0), slice_of("mine", 1, 2.0), slice_of("mine", 2, 1.0)]
    theirs = [slice_of("theirs", 2, 5.0), slice_of("theirs", 0, 2.0), slice_of("theirs", 1, 6.0)]

    ratio = faster(mine, than=theirs)

    assert (ratio.median, ratio.low, ratio.high) == (3.0, 2.0, 5.0)
    assert not ratio.disturbed


def test_a_round_in_which_one_of_both_was_disturbed_does_not_count() -> None:
    mine = [slice_of("mine", 0, 1.0), slice_of("mine", 1, 1.0)]
    theirs = [slice_of("theirs", 0, 2.0), slice_of("theirs", 1, 9.0, foreign=0.4)]

    ratio = faster(mine, than=theirs)

    assert (ratio.median, ratio.high, ratio.disturbed) == (2.0, 2.0, False)


def test_where_no_round_was_quiet_all_count_and_it_is_said() -> None:
    mine = [slice_of("mine", 0, 1.0, foreign=0.4), slice_of("mine", 1, 1.0)]
    theirs = [slice_of("theirs", 0, 2.0), slice_of("theirs", 1, 4.0, foreign=0.4)]

    ratio = faster(mine, than=theirs)

    assert ratio.median == 3.0
    assert ratio.disturbed
    assert str(ratio).endswith("*")


def test_contenders_without_a_common_round_are_not_compared() -> None:
    with pytest.raises(ValueError, match="no round in common"):
        faster([slice_of("mine", 0, 1.0)], than=[slice_of("theirs", 1, 1.0)])


def test_a_rate_is_of_the_median_quiet_slice() -> None:
    run = run_of(
        slice_of("ours-fp32", 0, 1.0),
        slice_of("ours-fp32", 1, 2.0),
        slice_of("ours-fp32", 2, 4.0),
        slice_of("ours-fp32", 3, 90.0, foreign=0.5),
    )

    assert run.documents_a_second("ours-fp32") == 50.0
    assert run.tokens_a_second("ours-fp32") == 5_000.0
    assert run.useful_gflops("ours-fp32") == 100.0


def test_a_peak_measured_beside_other_programs_does_not_count() -> None:
    run = run_of(slice_of("ours-fp32", 0, 1.0))
    run.peaks.append(Peak(precision="fp32", round=0, gflops=20.0, foreign=0.5))
    run.peaks.append(Peak(precision="fp32", round=1, gflops=210.0, foreign=0.0))

    assert run.peak_gflops("fp32") == 210.0
    assert run.peak_gflops("bf16") is None


def test_targets_are_held_against_the_best_setting_of_the_pipeline() -> None:
    run = run_of(
        slice_of("ours-fp32", 0, 1.0), slice_of("pipeline-1", 0, 1.7), slice_of("pipeline-32", 0, 7)
    )

    met = {target.what: target.met for target in targets(run)}

    assert met == {
        "ours-fp32: times as fast as pipeline-1": False,
        "ours-fp32: times as fast as pipeline-32": True,
    }


def test_a_stored_run_prints_the_same_table(tmp_path: Path) -> None:
    run = run_of(slice_of("ours-fp32", 0, 1.0), slice_of("pipeline-1", 0, 2.0))
    run.entrants.append(entrant("onnx-fp32", "onnxruntime", skipped="not installed: onnx"))

    run.save(tmp_path / "run.json")

    assert Run.read(tmp_path / "run.json") == run
    table = page(run, markdown=True)
    assert "| ours-fp32 | 100.0 | 50.0 |" in table
    assert "2.00 (2.00–2.00)" in table
    assert "Left out: onnx-fp32 (not installed: onnx)." in table


def test_a_small_sample_is_as_long_as_the_corpus() -> None:
    lengths = np.array([len(text.split()) for text in made_up(5_000)])

    chosen = spread(lengths, 100)

    assert len(set(chosen)) == 100
    assert lengths[chosen].mean() == pytest.approx(lengths.mean(), rel=0.03)
    assert lengths.mean() == pytest.approx(118, rel=0.1)


def slice_of(contender: str, number: int, seconds: float, foreign: float = 0.0) -> Slice:
    return Slice(
        contender=contender,
        round=number,
        seconds=seconds,
        cpu_seconds=2 * seconds,
        foreign=foreign,
        peak_rss_mb=500.0,
    )


def entrant(name: str, group: str, skipped: str | None = None) -> Entrant:
    return Entrant(name=name, title=name, group=group, precision="fp32", skipped=skipped)


def run_of(*slices: Slice) -> Run:
    """Return a run of 100 documents; a contender is of the group that its name begins with."""
    names = dict.fromkeys(slice_.contender for slice_ in slices)
    return Run(
        command="python -m benchmarks.speed",
        date="2026-01-02",
        machine="a machine",
        cores=2,
        threads=2,
        versions={"torch": "2"},
        model="minilm",
        corpus=Corpus(
            source="texts",
            documents=100,
            tokens=10_000,
            median_tokens=47,
            p90_tokens=388,
            truncated=0.06,
            useful_gflop=200.0,
        ),
        entrants=[entrant(name, name.partition("-")[0]) for name in names],
        slices=list(slices),
    )
