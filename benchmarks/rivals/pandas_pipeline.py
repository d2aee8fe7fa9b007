"""pandas and the pipeline of transformers: `python pandas_pipeline.py CORPUS MODEL OUTPUT`."""

import sys

import pandas as pd
from transformers import pipeline


def main(corpus: str, model: str, output: str) -> None:
    """Read the corpus, score it text by text, which is the pipeline's default, write it."""
    table = pd.read_parquet(corpus)
    classify = pipeline("text-classification", model=model, device="cpu")
    found = classify(table["text"].tolist(), truncation=True, max_length=512)
    table["label"] = [row["label"] for row in found]
    table["score"] = [row["score"] for row in found]
    table.drop(columns="text").to_parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
