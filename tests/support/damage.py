"""Sound Parquet files of every make, seeded ways to damage them, and what becomes of them.

The functions that read damaged files are called in processes of their own, which may not survive.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from producer.footers import read_footers
from producer.plan import make_plan
from schemas.chunks import Chunk
from schemas.errors import InputChanged, InputCorrupt, RowError, SchemaMismatch
from schemas.job import InputFile
from schemas.storage import Storage
from support.corpora import write_corpus
from support.texts import ordinary_texts
from worker.reader import read_windows

Row = tuple[object, str, RowError | None]
ROWS = 120
ROW_GROUP_ROWS = 40
_FRAME_BYTES = 8  # length of the footer, then the magic


@dataclass(frozen=True)
class Make:
    """How a file was written."""

    codec: str
    dictionary: bool
    page_version: str
    checksums: bool

    def write(self, path: Path) -> Path:
        """Write the rows that are the same in every make, in several pages a row group."""
        return write_corpus(
            path,
            ROWS,
            row_group_rows=ROW_GROUP_ROWS,
            compression=self.codec,
            use_dictionary=self.dictionary,
            data_page_version=self.page_version,
            write_page_checksum=self.checksums,
            write_batch_size=10,
            data_page_size=400,
        )


MAKES = [
    Make(*make)
    for make in itertools.product(
        ("none", "snappy", "zstd"), (False, True), ("1.0", "2.0"), (False, True)
    )
]


class Fate(StrEnum):
    """What became of a damaged file."""

    SAME = "same"  # the damage did not matter
    REFUSED = "refused"
    WRONG = "wrong"


def fate_of_pages(folder: Path, checksums: bool, seed: int) -> Fate:
    """Damage pages of a file and read its rows."""
    make = _make(seed, checksums)
    return _reading(folder, damage_pages(_sound(folder, make), seed), place="{}, row")


def fate_of_footer(folder: Path, checksums: bool, seed: int) -> Fate:
    """Damage the footer of a file and read its rows."""
    make = _make(seed, checksums)
    return _reading(folder, damage_footer(_sound(folder, make), seed), place="{}")


def fate_of_plan(folder: Path, checksums: bool, seed: int) -> Fate:
    """Damage the footer or the end of a file and plan a job."""
    content = _sound(folder, _make(seed, checksums))
    planned = _plan(folder, content)
    damaged = (damage_frame if seed % 5 == 0 else damage_footer)(content, seed)
    try:
        return Fate.SAME if _plan(folder, damaged) == planned else Fate.WRONG
    except (InputCorrupt, SchemaMismatch) as error:
        if str(folder) not in str(error):
            raise
        return Fate.REFUSED


def _make(seed: int, checksums: bool) -> Make:
    makes = [make for make in MAKES if make.checksums == checksums]
    return makes[seed % len(makes)]


@cache
def _sound(folder: Path, make: Make) -> bytes:
    return make.write(folder / "sound.parquet").read_bytes()


def _plan(folder: Path, content: bytes) -> list[Chunk]:
    storage, path = Storage(), folder / "planned.parquet"
    path.write_bytes(content)
    footers, _ = read_footers(
        storage, [storage.stat(str(path))], text_column="text", id_columns=("id",)
    )
    table = make_plan(footers, ROW_GROUP_ROWS).chunks
    return [table[index] for index in range(min(len(table), 2 * ROWS))]


def _reading(folder: Path, content: bytes, place: str) -> Fate:
    path = folder / "damaged.parquet"
    path.write_bytes(content)
    try:
        return Fate.SAME if _rows(path) == _expected() else Fate.WRONG
    except (InputCorrupt, InputChanged, SchemaMismatch) as error:
        if place.format(path) not in str(error):
            raise
        return Fate.REFUSED


def _rows(path: Path) -> list[Row]:
    storage = Storage()
    found = storage.stat(str(path))
    file = InputFile(uri=found.uri, size=found.size, etag=found.etag, rows=ROWS, row_groups=3)
    chunk = Chunk(index=0, file=0, row_start=0, rows=ROWS, text_bytes=100 * ROWS)
    windows = read_windows(storage, file, chunk, text_column="text", id_columns=("id",))
    return [
        row
        for window in windows
        for row in zip(
            window.ids["id"].to_pylist(),
            window.texts.values.to_pylist(),
            window.texts.errors,
            strict=True,
        )
    ]


@cache
def _expected() -> list[Row]:
    return [(f"doc-{n:06}", text, None) for n, text in enumerate(ordinary_texts(ROWS))]


def damage_pages(content: bytes, seed: int) -> bytes:
    """Damage a file before its footer, which stays as it is."""
    chance = random.Random(seed)
    footer = _footer_start(content)
    pages = bytearray(content[:footer])
    chance.choice(PAGE_DAMAGES)(pages, chance)
    return bytes(pages) + content[footer:]


def damage_footer(content: bytes, seed: int) -> bytes:
    """Damage a file's footer; its frame, the length and the magic, stays sound."""
    chance = random.Random(seed)
    start = _footer_start(content)
    footer = bytearray(content[start:-_FRAME_BYTES])
    chance.choice(FOOTER_DAMAGES)(footer, chance)
    return content[:start] + bytes(footer) + len(footer).to_bytes(4, "little") + content[-4:]


def damage_frame(content: bytes, seed: int) -> bytes:
    """Cut a file short, or change its last bytes."""
    chance = random.Random(seed)
    if chance.random() < 0.5:
        return content[: chance.randrange(len(content))]
    damaged = bytearray(content)
    damaged[-chance.randint(1, _FRAME_BYTES)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _flip(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _flip_several(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(2, 6)):
        _flip(content, chance)


def _overwrite(content: bytearray, chance: random.Random) -> None:
    start, end = _range(content, chance)
    content[start:end] = chance.randbytes(end - start)


def _blank(content: bytearray, chance: random.Random) -> None:
    start, end = _range(content, chance)
    content[start:end] = bytes(end - start)


def _drop(content: bytearray, chance: random.Random) -> None:
    start, end = _range(content, chance)
    del content[start:end]


def _repeat(content: bytearray, chance: random.Random) -> None:
    start, end = _range(content, chance)
    content[start:start] = content[start:end]


def _swap(content: bytearray, chance: random.Random) -> None:
    start, end = _range(content, chance)
    size = end - start
    other = chance.randrange(len(content) - size + 1)
    if abs(other - start) >= size:
        there, here = content[other : other + size], content[start:end]
        content[start:end], content[other : other + size] = there, here


def _enlarge_number(content: bytearray, chance: random.Random) -> None:
    """Put the varint of a huge or a negative number where a byte was."""
    place = chance.randrange(len(content))
    numbers = (b"\xff\xff\xff\xff\x0f", b"\xfe\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01")
    content[place : place + 1] = chance.choice(numbers)


def _range(content: bytearray, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(content))
    return start, min(len(content), start + chance.randint(1, 80))


def _footer_start(content: bytes) -> int:
    size = int.from_bytes(content[-_FRAME_BYTES:-4], "little")
    return len(content) - _FRAME_BYTES - size


Damage = Callable[[bytearray, random.Random], None]
# Half of the damages are single bits.
PAGE_DAMAGES: tuple[Damage, ...] = (
    *(_flip,) * 6,
    _flip_several,
    _overwrite,
    _blank,
    _drop,
    _repeat,
    _swap,
)
FOOTER_DAMAGES: tuple[Damage, ...] = (*PAGE_DAMAGES, _enlarge_number)
