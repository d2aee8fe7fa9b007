"""A model that cannot be used is refused at submit, or halts its job with one dead letter."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support import bad_models, corpora
from support.families import change_json
from support.live_stack import LiveStack, assert_refused
from support.processes import CompletedCli

pytestmark = pytest.mark.acceptance


BAD_MODELS: dict[Callable[[Path], None], str] = {
    shutil.rmtree: r"\[input_missing\].* does not exist; a model is a local path",
    bad_models.without_head: "no classification head.*bulkscore train",
    bad_models.pickled: r"pytorch_model\.bin, a pickle.*save the model as model\.safetensors",
    bad_models.cut_short: r"model\.safetensors has .* cut short",
    bad_models.of_unknown_kind: "model_type 'my-own'; known are .*bert",
    bad_models.without_labels: "no label map.*add for example",
    bad_models.not_a_classifier: "BertForMaskedLM.*bulkscore train",
    bad_models.with_code: "'auto_map'.*never run",
}


@pytest.mark.parametrize("spoil", BAD_MODELS, ids=lambda spoil: spoil.__name__)
def test_a_model_that_cannot_be_used_is_refused_at_submit_and_nothing_is_created(
    stack: LiveStack, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path, output = corpora.write_corpus(tmp_path / "a.parquet"), tmp_path / "scored"
    model = Path(shutil.copytree(stack.model, tmp_path / "spoiled"))
    spoil(model)
    before = stack.jobs()

    done = stack.submit(path, output, "--model", model)

    assert_refused(done, stack, before, output, re.escape(str(model)), BAD_MODELS[spoil])


@pytest.mark.parametrize(
    "spoil", [bad_models.with_a_layer_too_many, bad_models.with_a_tokenizer_of_no_kind]
)
def test_a_model_that_only_loading_shows_to_be_bad_is_one_dead_letter_for_the_whole_job(
    stack: LiveStack, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path, output = corpora.write_corpus(tmp_path / "a.parquet", 200), tmp_path / "scored"
    model = Path(shutil.copytree(stack.model, tmp_path / "spoiled"))
    spoil(model)

    done = stack.submit(path, output, "--model", model, "--chunk-rows", "10", "--wait", "--json")

    assert_halted_by_one_dead_letter(stack, done, output)


@pytest.mark.parametrize(
    "spoil", [shutil.rmtree, bad_models.gone, bad_models.cut_short, bad_models.with_other_weights]
)
def test_a_model_destroyed_after_submit_is_one_dead_letter_for_the_whole_job(
    stack: LiveStack, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path, output = corpora.write_corpus(tmp_path / "a.parquet", 200), tmp_path / "scored"
    # Other labels make another digest: nothing of it lies in the cache yet.
    model = Path(shutil.copytree(stack.model, tmp_path / "doomed"))
    change_json(model / "config.json", id2label={"0": spoil.__name__, "1": "good"}, label2id=None)
    with stack.worker_held():
        sent = stack.submit(path, output, "--model", model, "--chunk-rows", "10", "--json")
        spoil(model)

    done = stack.cli("wait", sent.json()["job_id"], "--json")

    assert_halted_by_one_dead_letter(stack, done, output)


def assert_halted_by_one_dead_letter(stack: LiveStack, done: CompletedCli, output: Path) -> None:
    assert done.exit_code == 3, done
    summary = done.json()
    assert summary["state"] == "failed"
    assert summary["chunks"] > 10
    assert (summary["chunks_succeeded"], summary["chunks_dead"]) == (0, 1)
    assert summary["dead_by_code"] == {"model_incompatible": 1}
    (letter,) = stack.cli("dead-letters", output, "--json").json()
    assert letter["code"] == "model_incompatible"
    assert len(letter["attempts"]) == 1
    assert len(list((output / "_bulkscore" / "dead-letters").iterdir())) == 1
    assert list(output.glob("part-*")) == []
    assert not (output / "_SUCCESS").exists()
