"""The result of a chunk: its Arrow schema and the account in its file's metadata."""

from collections.abc import Mapping
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from schemas.errors import InputCorrupt
from schemas.job import JobId, Record
from schemas.parquet import open_parquet
from schemas.storage import Storage

RESULT_VERSION: Final = 1
# At most this many rows in one row group of a result, so that readers stay small.
RESULT_ROW_GROUP_ROWS = 65_536
_METADATA_KEY = b"bulkscore"

# Names of our own columns; an id column may not be called like one of them.
RESERVED_COLUMNS = (
    "source_file",
    "source_row",
    "label",
    "score",
    "scores",
    "n_tokens",
    "truncated",
    "error",
)


class ResultAccount(Record):
    """What one result object says of itself; the summary is the sum of these.

    `rows` = `rows_scored` + the sum of `errors`.
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
    seconds: float
    worker: str
    device: str
    dtype: str
    libraries: dict[str, str]


def result_schema(id_fields: list[pa.Field], *, all_scores: bool) -> pa.Schema:
    """Return the schema of a result file: the ids as they were, then our columns."""
    scores = [pa.field("scores", pa.list_(pa.float32()))] if all_scores else []
    return pa.schema(
        [
            *id_fields,
            pa.field("source_file", pa.string(), nullable=False),
            pa.field("source_row", pa.int64(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("score", pa.float32()),
            *scores,
            pa.field("n_tokens", pa.int32(), nullable=False),
            pa.field("truncated", pa.bool_(), nullable=False),
            pa.field("error", pa.string()),
        ]
    )


def account_metadata(account: ResultAccount) -> dict[bytes, bytes]:
    """Return the key-value metadata that carries `account` in a Parquet footer."""
    return {_METADATA_KEY: account.model_dump_json().encode()}


def parse_account(metadata: Mapping[bytes, bytes] | None, uri: str) -> ResultAccount:
    """Return the account in a result's footer.

    Raises:
        InputCorrupt: The file at `uri` is not a result of ours.
    """
    if not metadata or _METADATA_KEY not in metadata:
        raise InputCorrupt(f"{uri} is not a result of bulkscore: its footer carries no account")
    try:
        return ResultAccount.model_validate_json(metadata[_METADATA_KEY])
    except ValidationError as error:
        problems = "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors(include_input=False))
        raise InputCorrupt(f"the account in the footer of {uri} is damaged: {problems}") from None


def read_account(storage: Storage, uri: str) -> ResultAccount:
    """Read the account of the result object at `uri`, from its footer alone."""
    with open_parquet(storage, uri) as file:
        return parse_account(_footer(file), uri)


def _footer(file: pq.ParquetFile) -> Mapping[bytes, bytes] | None:
    metadata: Mapping[bytes, bytes] | None = file.metadata.metadata
    return metadata
