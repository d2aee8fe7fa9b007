"""250 real documents through `bulkscore run` with a real classifier, row by row."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from support.data import require_data
from support.minilm import TRAINING_SECONDS, minilm_sst2
from support.processes import CompletedCli, run_cli

RUN_SECONDS = 1_200  # half a minute on one quiet core
EVERY = 80  # documents of the corpus: one in so many
SAMPLE_ROWS = 100
TOLERANCE = 1e-4

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(TRAINING_SECONDS + RUN_SECONDS)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of the corpus, as long as it is and in its order."""
    documents = pq.read_table(require_data("corpus/corpus.parquet"))
    path = tmp_path_factory.mktemp("corpus") / "corpus.parquet"
    pq.write_table(documents.take(list(range(0, len(documents), EVERY))), path, row_group_size=500)
    return path


@pytest.fixture(scope="module")
def classifier() -> Path:
    return minilm_sst2()


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real") / "scored"


@pytest.fixture(scope="module")
def run(corpus: Path, classifier: Path, output: Path) -> CompletedCli:
    """The run that all tests here look at."""
    return run_cli(
        "run",
        *("--input", str(corpus), "--model", str(classifier), "--output", str(output)),
        *("--text-column", "text", "--id-column", "doc_id", "--dtype", "fp32"),
        *("--all-scores", "--json", "--chunk-rows", "500"),
        env={"BULKSCORE_TORCH_THREADS": "1"},  # the other core has other tests to run meanwhile
        timeout=RUN_SECONDS,
    )


@pytest.fixture(scope="module")
def rows(run: CompletedCli, output: Path) -> pa.Table:
    """All result rows, in the order of the parts."""
    return pa.concat_tables(pq.read_table(part) for part in sorted(output.glob("part-*.parquet")))


def test_every_document_has_its_row_in_the_order_of_the_corpus(
    run: CompletedCli, rows: pa.Table, corpus: Path
) -> None:
    assert run.exit_code == 0, str(run)
    assert rows["doc_id"].to_pylist() == pq.read_table(corpus)["doc_id"].to_pylist()
    assert rows["source_row"].to_pylist() == list(range(len(rows)))
    assert rows["error"].null_count == len(rows) > 225


def test_the_account_agrees_with_the_rows(run: CompletedCli, rows: pa.Table) -> None:
    summary = run.json()

    assert summary["rows"] == summary["rows_scored"] == len(rows)
    assert summary["tokens"] == sum(rows["n_tokens"].to_pylist())
    assert summary["truncated_rows"] == sum(rows["truncated"].to_pylist()) > 0


def test_verify_finds_nothing(run: CompletedCli, output: Path) -> None:
    verified = run_cli("verify", str(output))

    assert verified.exit_code == 0, str(verified)


def test_labels_equal_and_scores_agree_with_a_plain_loop_on_texts_of_all_lengths(
    rows: pa.Table, corpus: Path, classifier: Path
) -> None:
    texts = pq.read_table(corpus, columns=["text"])["text"].to_pylist()
    by_length = np.argsort([len(text) for text in texts])
    picked = by_length[np.linspace(0, len(texts) - 1, SAMPLE_ROWS).astype(int)]

    labels, scores = plain_scores(classifier, [texts[i] for i in picked])

    assert rows["label"].take(pa.array(picked)).to_pylist() == labels
    ours = np.array(rows["scores"].take(pa.array(picked)).to_pylist())
    np.testing.assert_allclose(ours, scores, atol=TOLERANCE)
    assert set(labels) == {"negative", "positive"}


def plain_scores(folder: Path, texts: list[str]) -> tuple[list[str], NDArray[Any]]:
    """Score each text alone, as the documentation of transformers shows it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    classifier = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    labels, scores = [], []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            row = classifier(**inputs).logits[0].softmax(dim=0)
        labels.append(classifier.config.id2label[int(row.argmax())])
        scores.append(row.numpy())
    return labels, np.stack(scores)
