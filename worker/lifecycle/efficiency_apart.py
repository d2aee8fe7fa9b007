"""Measures speed and memory of a model in a process of its own, where nothing else takes memory.

`python -m worker.lifecycle.efficiency_apart`: what to measure comes as JSON on stdin.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from schemas.errors import UnexpectedError
from schemas.job import Dtype
from schemas.model_files import pin_model
from schemas.storage import Storage
from worker.lifecycle.efficiency import PASS_TEXTS, efficiency_of
from worker.lifecycle.evaluation import Settings, loaded
from worker.model_store import ModelStore

Efficiency = dict[str, Any]


def measure_apart(
    folder: Path, cache_dir: Path, texts: Sequence[str], how: Settings, dtype: Dtype
) -> Efficiency:
    """Return the fields of `Efficiency`.

    Args:
        folder: A model.
        cache_dir: Where the files of models are kept.
        texts: As in `efficiency_of`.
        how: How it scores.
        dtype: What it computes in.

    Raises:
        UnexpectedError: The process ended without a figure.
    """
    asked = {
        "folder": str(folder),
        "cache_dir": str(cache_dir),
        "texts": list(dict.fromkeys(texts))[:PASS_TEXTS],
        "how": asdict(how) | {"dtype": dtype},
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps(asked).encode(),
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise UnexpectedError(f"measuring the speed of {folder} ended with {done.returncode}")
    found: Efficiency = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure what stdin says, and print it as JSON."""
    asked = json.load(sys.stdin)
    how, folder = Settings(**asked["how"]), Path(asked["folder"])
    storage = Storage()
    model = loaded(
        ModelStore(storage, Path(asked["cache_dir"])), pin_model(storage, str(folder)), how
    )
    found = efficiency_of(model, folder, asked["texts"], long_text=how.long_text)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
