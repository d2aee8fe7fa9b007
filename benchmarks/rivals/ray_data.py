"""Ray Data, as its guide to batch inference writes it: `python ray_data.py CORPUS MODEL OUTPUT`.

A class that loads a pipeline and is given batches, on an actor for each processor.
"""

import os
import sys
from typing import Any

import ray


class Classifier:
    """Scores batches with the pipeline of transformers."""

    def __init__(self, model: str) -> None:
        from transformers import pipeline

        self._classify = pipeline("text-classification", model=model, device="cpu")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch with labels and scores for its texts."""
        found = self._classify(list(batch.pop("text")), truncation=True, max_length=512)
        batch["label"] = [row["label"] for row in found]
        batch["score"] = [row["score"] for row in found]
        return batch


def main(corpus: str, model: str, output: str) -> None:
    """Read, score and write as one stream."""
    actors = len(os.sched_getaffinity(0))
    # One more than there are: reading takes one, and would wait for an actor to end.
    ray.init(num_cpus=actors + 1, include_dashboard=False, log_to_driver=False)
    scored = ray.data.read_parquet(corpus).map_batches(
        Classifier,
        fn_constructor_kwargs={"model": model},
        compute=ray.data.ActorPoolStrategy(size=actors),
        batch_size=64,
    )
    scored.write_parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
