"""Texts to token ids: our tokenizer beside what it stands on, by processor second, in one thread.

    python -m benchmarks.tokenizing [--corpus FILE] [--turns 2] [--json FILE]

All have MiniLM's tokenizer and cut at 512 tokens. They take turns, a window of 4,096 documents
each; all ids are compared. What a corpus costs depends on how many of its words are new, so the
first turn over it, in which all are, is told apart from the others. There, words that come once in
the corpus come with other letters, so that as many are new as if it were so much larger: more than
in most corpora of that size, where new words become rarer.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # before the library's first use

import pyarrow as pa
import tokenizers
import transformers
from transformers import AutoTokenizer

from benchmarks.speed.corpus import CORPUS
from benchmarks.support.machine import processor
from benchmarks.support.models import save_minilm
from benchmarks.support.texts import texts_of, with_new_words, words_met_once
from schemas.processors import usable_processors
from worker.tokenizer import Tokenizer

MAX_LENGTH = 512
WINDOW = 4_096
DOCUMENTS = 20_000
BATCH = 32
ROUNDS = 5
OURS = "bulkscore"

Ids = list[list[int]]


def main() -> None:
    """Run all turns and print documents by processor second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--corpus", type=Path, default=CORPUS, help="Parquet file with a column `text`"
    )
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if not options.corpus.is_file():
        print(f"left out: no corpus at {options.corpus}, and made-up texts have hardly any words")
        return
    texts = texts_of(options.corpus, DOCUMENTS)
    once = words_met_once(texts)
    with tempfile.TemporaryDirectory() as folder:
        contenders = ready(Path(folder))
        turns = [
            run([with_new_words(text, once, turn) for text in texts], contenders)
            for turn in range(options.turns)
        ]
        rates = by_threads(Path(folder), texts)
    print(
        f"{len(texts):,} documents, {options.turns} turns; {processor()}; transformers "
        f"{transformers.__version__}, tokenizers {tokenizers.__version__}\n"
    )
    print(
        f"{'documents by processor second':<44}{'first turn':>11}{'later':>9}{'bulkscore is':>24}"
    )
    for name in contenders:
        first, later = turns[0][name], [rate for turn in turns[1:] for rate in turn[name]]
        ours = [rate for turn in turns[1:] for rate in turn[OURS]]
        ratios = [rate / other for rate, other in zip(ours, later, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name:<44}{median(first):>11,.0f}{median(later):>9,.0f}{spread:>24}")
    ratios = [many / one for one, many in zip(*rates.values(), strict=True)]
    print(
        f"\nWhen all words are known, documents by second of the clock and threads: "
        f"{', '.join(f'{median(found):,.0f} with {n}' for n, found in rates.items())}; "
        f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times as many"
    )
    if options.json:
        options.json.write_text(json.dumps({"processor": processor(), "turns": turns}, indent=2))


def ready(folder: Path) -> dict[str, Callable[[list[str]], Ids]]:
    """Return what is compared, ready to work."""
    save_minilm(folder)
    ours = Tokenizer(folder, MAX_LENGTH, threads=1)
    theirs = AutoTokenizer.from_pretrained(folder)
    rust = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    rust.no_padding()
    rust.enable_truncation(MAX_LENGTH)

    def alone(texts: list[str]) -> Ids:
        return [theirs(text, truncation=True, max_length=MAX_LENGTH).input_ids for text in texts]

    def batches(texts: list[str]) -> Ids:
        found: Ids = []
        for start in range(0, len(texts), BATCH):
            part = texts[start : start + BATCH]
            made = theirs(
                part, truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="np"
            )
            lengths = made.attention_mask.sum(axis=1)
            found += [row[:n].tolist() for row, n in zip(made.input_ids, lengths, strict=True)]
        return found

    return {
        OURS: lambda texts: [ids.tolist() for ids in ours.encode(texts).ids],
        "tokenizers' encode_batch_fast": lambda texts: [
            encoding.ids for encoding in rust.encode_batch_fast(texts)
        ],
        "transformers, all texts in one call": lambda texts: (
            theirs(texts, truncation=True, max_length=MAX_LENGTH).input_ids
        ),
        f"transformers, {BATCH} texts a call, padded": batches,
        "transformers, one text a call": alone,
    }


def run(
    texts: Sequence[str], contenders: dict[str, Callable[[list[str]], Ids]]
) -> dict[str, list[float]]:
    """Return documents by processor second of each contender, one value for each window."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for start in range(0, len(texts), WINDOW):
        window = list(texts[start : start + WINDOW])
        expected: Ids | None = None
        for name, encode in contenders.items():
            began = time.process_time()
            found = encode(window)
            rates[name].append(len(window) / (time.process_time() - began))
            expected = found if expected is None else expected
            if found != expected:
                raise AssertionError(f"{name} gives other ids than {OURS}")
    return rates


def by_threads(folder: Path, texts: Sequence[str]) -> dict[int, list[float]]:
    """Return our documents by second with one thread and with one a core, words being known."""
    counts = (1, usable_processors())
    ours = {threads: Tokenizer(folder, MAX_LENGTH, threads=threads) for threads in counts}
    given = pa.array(texts, pa.large_string())
    rates: dict[int, list[float]] = {threads: [] for threads in ours}
    for number in range(1 + ROUNDS):
        for threads, tokenizer in ours.items():
            began = time.perf_counter()
            tokenizer.encode(given)
            if number:  # in the first all words are new
                rates[threads].append(len(texts) / (time.perf_counter() - began))
    return rates


def median(values: Sequence[float]) -> float:
    """Return the median, 0 of nothing."""
    return statistics.median(values) if values else 0.0


if __name__ == "__main__":
    main()
