"""A sample corpus made on the spot: product reviews put together from phrases, always the same.

For the demo, the getting-started guide and tests: nothing is downloaded, nothing is anybody's.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import RowError

LABELS = ("negative", "neutral", "positive")
TEXT_COLUMN = "review"
ID_COLUMN = "review_id"
ROW_GROUP_ROWS = 500

_PRODUCTS = (
    *("backpack", "blender", "camera", "desk lamp", "headset", "kettle", "keyboard", "notebook"),
    *("office chair", "phone case", "rain jacket", "router", "suitcase", "tent", "watch"),
)
_PARTS = ("battery", "finish", "handle", "hinge", "lid", "manual", "motor", "packaging", "zip")
_PHRASES = {
    "positive": (
        "I love this {product}.",
        "The {part} works perfectly, even after {n} weeks.",
        "Excellent quality, I would buy this {product} again.",
        "It arrived early and the {part} feels solid.",
        "My best purchase in {n} months, I recommend it to everyone.",
        "Great value: the {part} is better than on models twice the price.",
        "Support answered within {n} minutes and was wonderful.",
    ),
    "negative": (
        "I regret buying this {product}.",
        "The {part} broke after {n} days.",
        "Terrible quality, I want my money back.",
        "It arrived {n} weeks late and the {part} was damaged.",
        "A waste of money, do not buy this {product}.",
        "The {part} is cheap, rattles and fails all the time.",
        "Support ignored me for {n} weeks, which is awful.",
    ),
    "neutral": (
        "The {product} has a {part} and comes in {n} colors.",
        "I bought this {product} for my office.",
        "It weighs {n} hundred grams with the {part}.",
        "The {part} can be taken off.",
        "There are {n} screws in the box.",
        "I have had it for {n} months now.",
        "The {product} is the size shown in the picture.",
    ),
}
# Sentences in a review: most are short, a few are long.
_LENGTHS = (1, 1, 2, 2, 3, 3, 4, 5, 8, 13, 30)
_LONG_TEXT_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCorpus:
    """What was written: the files, all rows, and the rows that cannot be scored, by code."""

    files: tuple[Path, ...]
    rows: int
    bad_rows: dict[str, int]


def review(random_source: random.Random, label: str) -> str:
    """Return one review of this label; a clear one holds some neutral sentences too."""
    product = random_source.choice(_PRODUCTS)
    sentences = []
    for number in range(random_source.choice(_LENGTHS)):
        tone = label if number == 0 or random_source.random() < 0.6 else "neutral"
        phrase = random_source.choice(_PHRASES[tone])
        part, count = random_source.choice(_PARTS), random_source.randint(2, 12)
        sentences.append(phrase.format(product=product, part=part, n=count))
    random_source.shuffle(sentences)
    return " ".join(sentences)


def write_labelled(path: Path, *, rows: int, seed: int) -> None:
    """Write a labelled set, the columns `text` and `label`, as Parquet."""
    texts, labels = zip(*_reviews(random.Random(seed), rows), strict=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": list(texts), "label": list(labels)}), path)


def write_corpus(folder: Path, *, files: int, rows_per_file: int, seed: int) -> SampleCorpus:
    """Write a corpus of unlabelled reviews; a few rows are bad, as in every real corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    random_source = random.Random(seed)
    bad: dict[str, int] = {}
    paths = []
    for number in range(files):
        texts: list[bytes | None] = [t.encode() for t, _ in _reviews(random_source, rows_per_file)]
        for code, count in _spoil(texts, number).items():
            bad[code] = bad.get(code, 0) + count
        path = folder / f"reviews-{number:02d}.parquet"
        _write_file(path, texts, first_id=number * rows_per_file)
        paths.append(path)
    return SampleCorpus(files=tuple(paths), rows=files * rows_per_file, bad_rows=bad)


def damage_text_page(path: Path) -> None:
    """Overwrite some bytes in the middle of the file's first page of text, as a bad disk would.

    Size and modification time stay as they were.
    """
    status = path.stat()
    row_group = pq.read_metadata(path).row_group(0)
    column = row_group.column(row_group.num_columns - 1)
    middle = column.data_page_offset + column.total_compressed_size // 2
    with path.open("r+b") as stream:
        stream.seek(middle)
        stream.write(bytes(64))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _reviews(random_source: random.Random, rows: int) -> Iterator[tuple[str, str]]:
    for _ in range(rows):
        label = random_source.choice(LABELS)
        yield review(random_source, label), label


def _spoil(texts: list[bytes | None], number: int) -> dict[str, int]:
    """Replace a few rows of file `number`; return how many rows get which error for it."""
    spoilt: dict[int, bytes | None] = {}
    match number:
        case 0:
            spoilt = {10: None, 11: None, 500: b"", 501: b" \t\n"}
            expected = {RowError.TEXT_NULL: 2, RowError.TEXT_BLANK: 2}
        case 1:
            spoilt = {700: b"The caf\xe9 table is fine."}  # Latin-1 that claims to be UTF-8
            expected = {RowError.TEXT_INVALID_UTF8: 1}
        case 2:
            sentence = b"I love this very, very long review. "
            spoilt = {3: sentence * (_LONG_TEXT_CHARACTERS // len(sentence) + 1)}
            expected = {}  # cut at the model's length and scored
        case _:
            expected = {}
    for row, text in spoilt.items():
        texts[row] = text
    return {code.value: count for code, count in expected.items()}


def _write_file(path: Path, texts: Sequence[bytes | None], *, first_id: int) -> None:
    ids = [f"r{first_id + i:06d}" for i in range(len(texts))]
    # `view`, not `cast`: real corpora hold strings that are no UTF-8, and so does this one.
    column = pa.array(texts, pa.binary()).view(pa.string())
    table = pa.table({ID_COLUMN: ids, TEXT_COLUMN: column})
    pq.write_table(
        table,
        path,
        row_group_size=ROW_GROUP_ROWS,
        compression="zstd",
        write_page_checksum=True,
        use_dictionary=False,
    )
