"""The result of a chunk: its Arrow schema, and what its file's footer says and vouches for.

A result is its data and then the footer. The footer holds the account and the SHA-256 of the
data; the SHA-256 of the footer, which the summary keeps, so stands for every byte of the object.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import not_
from typing import BinaryIO, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from schemas.errors import InputCorrupt
from schemas.job import JobId, Record
from schemas.model_account import ModelAccount, is_none
from schemas.parquet import decoding
from schemas.storage import Storage

RESULT_VERSION: Final = 1
# At most this many rows in one row group of a result, so that readers stay small.
RESULT_ROW_GROUP_ROWS = 65_536
_ACCOUNT_KEY = b"bulkscore"
_DATA_SHA256_KEY = b"bulkscore.data_sha256"
# A Parquet file ends with the length of its metadata (4 bytes) and the magic.
_FRAME_BYTES = 8
_MAGIC = b"PAR1"
# Read from the end of a result: its footer fits, unless it has many row groups or columns.
_TAIL_BYTES = 64 * 1024

# The columns that a model fills; of several models each has its own, with its suffix.
MODEL_COLUMNS = ("label", "score", "scores", "n_tokens", "truncated", "error")
# Names of our own columns in a job of one model; an id column is never called like one of them.
RESERVED_COLUMNS = ("source_file", "source_row", *MODEL_COLUMNS)


class ResultAccount(Record):
    """What one result object says of itself; the summary is the sum of these.

    `rows` = `rows_scored` + the sum of `errors`.

    Of several models a row is scored when all have scored it, and else has the error of the first
    that has not; beside a canary, the first alone decides. `tokens` are those of all models
    together, a row is truncated when it was for one of them, and `models` says it of each by
    itself. `unknown_tokens` are as in `ModelAccount`. `model_digest` is that of the manifest.
    `stages` are the seconds in each stage until the footer was written; they overlap.
    """

    version: Literal[1] = RESULT_VERSION
    job_id: JobId
    chunk: int
    generation: int
    attempt: int
    model: str
    model_digest: str
    rows: int
    rows_scored: int
    errors: dict[str, int]
    tokens: int
    truncated_rows: int
    unknown_tokens: int | None = Field(default=None, exclude_if=is_none)
    seconds: float
    worker: str
    device: str
    dtype: str
    libraries: dict[str, str]
    models: tuple[ModelAccount, ...] = Field(default=(), exclude_if=not_)
    stages: dict[str, float] = Field(default_factory=dict, exclude_if=not_)


def result_schema(
    id_fields: list[pa.Field], *, all_scores: bool, suffixes: Sequence[str] = ("",)
) -> pa.Schema:
    """Return the schema of a result file: the ids as they were, then our columns.

    Args:
        id_fields: The id columns.
        all_scores: Whether there is a score for every label.
        suffixes: What stands behind the names of each model's columns. Where none has plain names
            the last column is the error of the row: that of the first model that has not scored it.
            Beside plain names others are of a canary, whose columns are null outside its sample.
    """
    plain = "" in suffixes
    models = [
        field
        for suffix in suffixes
        for field in _model_fields(suffix, all_scores, sampled=plain and suffix != "")
    ]
    return pa.schema(
        [
            *id_fields,
            pa.field("source_file", pa.string(), nullable=False),
            pa.field("source_row", pa.int64(), nullable=False),
            *models,
            *([] if plain else [pa.field("error", pa.string())]),
        ]
    )


def _model_fields(suffix: str, all_scores: bool, *, sampled: bool) -> list[pa.Field]:
    scores = [pa.field(f"scores{suffix}", pa.list_(pa.float32()))] if all_scores else []
    return [
        pa.field(f"label{suffix}", pa.string()),
        pa.field(f"score{suffix}", pa.float32()),
        *scores,
        pa.field(f"n_tokens{suffix}", pa.int32(), nullable=sampled),
        pa.field(f"truncated{suffix}", pa.bool_(), nullable=sampled),
        pa.field(f"error{suffix}", pa.string()),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFooter:
    """What lies behind the data of a result.

    Attributes:
        account: What the result says of itself.
        data_sha256: Hexadecimal SHA-256 of the data when it was written.
        sha256: SHA-256 of the footer itself, 32 bytes.
    """

    account: ResultAccount
    data_sha256: str
    sha256: bytes


def footer_metadata(account: ResultAccount, data_sha256: str) -> dict[bytes, bytes]:
    """Return the key-value metadata that a result's footer carries."""
    return {
        _ACCOUNT_KEY: account.model_dump_json().encode(),
        _DATA_SHA256_KEY: data_sha256.encode(),
    }


def split_result(content: bytes, uri: str) -> tuple[memoryview, bytes]:
    """Return the data and the footer of a whole result object.

    Raises:
        InputCorrupt: It does not end as a Parquet file does.
    """
    size = _footer_bytes(content[-_FRAME_BYTES:], len(content), uri)
    return memoryview(content)[:-size], content[-size:]


def parse_footer(footer: bytes, uri: str) -> ResultFooter:
    """Return what the footer of the result at `uri` says.

    Raises:
        InputCorrupt: It is damaged, or not that of a result of ours.
    """
    with decoding(uri):
        metadata: Mapping[bytes, bytes] = pq.read_metadata(pa.BufferReader(footer)).metadata or {}
    account, data_sha256 = metadata.get(_ACCOUNT_KEY), metadata.get(_DATA_SHA256_KEY)
    if account is None or data_sha256 is None:
        raise InputCorrupt(f"{uri} is not a result of bulkscore: its footer carries no account")
    return ResultFooter(
        account=_parse_account(account, uri),
        data_sha256=data_sha256.decode(errors="replace"),
        sha256=hashlib.sha256(footer).digest(),
    )


def read_footer(storage: Storage, uri: str) -> ResultFooter:
    """Read the footer of the result object at `uri`, and no data.

    Raises:
        InputMissing: There is no such object.
        InputCorrupt: It is damaged, or not a result of ours.
    """
    with storage.open(uri) as stream:
        length = stream.seek(0, io.SEEK_END)
        tail = _last_bytes(stream, length, _TAIL_BYTES)
        size = _footer_bytes(tail[-_FRAME_BYTES:], length, uri)
        if size > len(tail):
            tail = _last_bytes(stream, length, size)
    return parse_footer(tail[-size:], uri)


def read_account(storage: Storage, uri: str) -> ResultAccount:
    """Read the account of the result object at `uri`, from its footer alone."""
    return read_footer(storage, uri).account


def _parse_account(body: bytes, uri: str) -> ResultAccount:
    try:
        return ResultAccount.model_validate_json(body)
    except ValidationError as error:
        problems = "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors(include_input=False))
        raise InputCorrupt(f"the account in the footer of {uri} is damaged: {problems}") from None


def _last_bytes(stream: BinaryIO, length: int, size: int) -> bytes:
    stream.seek(max(0, length - size))
    return stream.read()


def _footer_bytes(frame: bytes, length: int, uri: str) -> int:
    """Return the size of the footer, by the last bytes of an object of so many bytes."""
    size = int.from_bytes(frame[:4], "little") + _FRAME_BYTES
    if frame[4:] != _MAGIC or size > length:
        raise InputCorrupt(f"{uri} is not Parquet, or its end is missing")
    return size
