"""Words that end the process that scores them, or make the model raise, in a real worker.

Nothing of this is in the product: a `sitecustomize.py` on the worker's PYTHONPATH wraps the
embedding that every model begins with.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

PLUG = Path(__file__).parent / "poison_plug"

# A segmentation fault, a RuntimeError, a MemoryError, an error that says the GPU is gone.
Effect = Literal["killed", "refused", "full", "broken"]


def poison_env(model: Path, words: Mapping[Effect, str]) -> dict[str, str]:
    """Return the environment of a worker in which these words of the model have an effect.

    A word must be a single token of the model.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    plug = [str(json.loads((model / "config.json").read_bytes())["vocab_size"])]
    for effect, word in words.items():
        (token,) = tokenizer(word, add_special_tokens=False)["input_ids"]
        plug.append(f"{effect}={token}")
    return {"PYTHONPATH": str(PLUG), "POISON_PLUG": " ".join(plug)}
