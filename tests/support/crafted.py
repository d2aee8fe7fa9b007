"""Parquet files whose footers nobody's writer would write, field by field in Thrift's encoding."""

from collections.abc import Sequence
from pathlib import Path

MAGIC = b"PAR1"
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12
_BYTE_ARRAY, _UTF8, _OPTIONAL, _PLAIN, _UNCOMPRESSED = 6, 0, 1, 0, 0

Field = tuple[int, int, bytes]


def write_footer(
    path: Path,
    groups: Sequence[bytes],
    *,
    rows: int,
    column: str = "text",
    schema: bytes | None = None,
) -> Path:
    """Write a file that is all footer, with these row groups and one column of strings."""
    elements = schema or _list(_STRUCT, [schema_root(1), schema_leaf(column)])
    footer = _struct(
        [
            (1, _I32, _number(2)),
            (2, _LIST, elements),
            (3, _I64, _number(rows)),
            (4, _LIST, _list(_STRUCT, groups)),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(MAGIC + footer + len(footer).to_bytes(4, "little") + MAGIC)
    return path


def row_group(
    rows: int,
    *,
    text_bytes: int = 1,
    place: int = len(MAGIC),
    levels: int = 2,
    column: str = "text",
) -> bytes:
    """Return a row group of one column chunk of a single byte.

    Args:
        rows: How many rows it is said to have.
        text_bytes: How large the texts are said to be.
        place: Where the chunk is said to begin.
        levels: How many definition levels are counted; an optional column has two.
        column: Name of the column.
    """
    histogram = _list(_I64, [_number(0)] * levels)
    metadata = _struct(
        [
            (1, _I32, _number(_BYTE_ARRAY)),
            (2, _LIST, _list(_I32, [_number(_PLAIN)])),
            (3, _LIST, _list(_BINARY, [_binary(column)])),
            (4, _I32, _number(_UNCOMPRESSED)),
            (5, _I64, _number(rows)),
            (6, _I64, _number(text_bytes)),
            (7, _I64, _number(1)),
            (9, _I64, _number(place)),
            (16, _STRUCT, _struct([(3, _LIST, histogram)])),
        ]
    )
    chunk = _struct([(2, _I64, _number(0)), (3, _STRUCT, metadata)])
    return _struct(
        [
            (1, _LIST, _list(_STRUCT, [chunk])),
            (2, _I64, _number(text_bytes)),
            (3, _I64, _number(rows)),
        ]
    )


def deep_schema(depth: int) -> bytes:
    """Return a schema of structs within structs."""
    nested = [schema_root(1, name=f"level{n}") for n in range(depth)]
    return _list(_STRUCT, [*nested, schema_leaf("text")])


def schema_root(children: int, *, name: str = "schema") -> bytes:
    """Return a schema element that holds others."""
    return _struct([(4, _BINARY, _binary(name)), (5, _I32, _number(children))])


def schema_leaf(name: str) -> bytes:
    """Return a schema element of optional strings."""
    return _struct(
        [
            (1, _I32, _number(_BYTE_ARRAY)),
            (3, _I32, _number(_OPTIONAL)),
            (4, _BINARY, _binary(name)),
            (6, _I32, _number(_UTF8)),
        ]
    )


def _struct(fields: Sequence[Field]) -> bytes:
    content = bytearray()
    previous = 0
    for number, kind, value in fields:
        content += bytes([(number - previous) << 4 | kind]) + value
        previous = number
    return bytes(content) + b"\0"


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    size = len(items)
    head = bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind]) + _varint(size)
    return head + b"".join(items)


def _binary(text: str) -> bytes:
    return _varint(len(text.encode())) + text.encode()


def _number(value: int) -> bytes:
    return _varint((value << 1) ^ (value >> 63))


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(content) + bytes([value])
