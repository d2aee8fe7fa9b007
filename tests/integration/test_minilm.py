"""A real classifier on real texts: labels and scores equal a plain loop over single rows."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.model_files import pin_model
from schemas.storage import Storage
from support.data import require_data
from support.minilm import TRAINING_SECONDS, minilm_sst2
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model
from worker.scores import score_rows

pytestmark = [pytest.mark.integration, pytest.mark.timeout(TRAINING_SECONDS)]

SAMPLE_ROWS = 500
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def classifier() -> Path:
    return minilm_sst2()


@pytest.fixture(scope="module")
def model(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    storage = Storage()
    store = ModelStore(storage, tmp_path_factory.mktemp("cache"))
    return load_model(store, pin_model(storage, str(classifier)), device="cpu")


def sample_of_all_lengths() -> list[str]:
    """Return texts of the corpus evenly over their lengths, the longest among them."""
    column = pq.read_table(require_data("corpus/corpus.parquet"), columns=["text"])["text"]
    texts = sorted(column.to_pylist(), key=len)
    picked = np.linspace(0, len(texts) - 1, SAMPLE_ROWS).astype(int)
    return [texts[i] for i in picked]


def plain_scores(folder: Path, texts: list[str]) -> tuple[list[str], np.ndarray]:
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


def test_labels_equal_and_scores_agree_with_a_plain_loop_on_texts_of_all_lengths(
    classifier: Path, model: LoadedModel
) -> None:
    texts = sample_of_all_lengths()

    encoded = model.tokenizer.encode(texts)
    rows = score_rows(model.engine.forward(encoded.ids), model.pin.problem_type)

    labels, scores = plain_scores(classifier, texts)
    assert not encoded.failed.any()
    assert encoded.truncated.any()
    np.testing.assert_allclose(rows.scores, scores, atol=TOLERANCE)
    assert [model.labels[i] for i in rows.label_index] == labels
    assert set(labels) == {"negative", "positive"}


def test_the_classifier_knows_praise_from_blame(model: LoadedModel) -> None:
    encoded = model.tokenizer.encode(["a delightful , moving film .", "a dull and clumsy mess ."])

    rows = score_rows(model.engine.forward(encoded.ids), model.pin.problem_type)

    assert [model.labels[i] for i in rows.label_index] == ["positive", "negative"]
    assert (rows.score > 0.8).all()
