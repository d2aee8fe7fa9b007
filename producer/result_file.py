"""Reads a result object whole, and takes nothing from it that is not as it was written."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputCorrupt
from schemas.job import Manifest
from schemas.parquet import decoding
from schemas.results import ResultFooter, parse_footer, result_schema, split_result
from schemas.storage import Storage


def read_result(storage: Storage, uri: str) -> tuple[ResultFooter, pa.Table]:
    """Return footer and rows of the result at `uri`, every byte of whose data is as written.

    Raises:
        InputMissing: There is no such object.
        InputCorrupt: It is damaged, or not a result of ours.
    """
    content = storage.read(uri)
    data, tail = split_result(content, uri)
    footer = parse_footer(tail, uri)
    if hashlib.sha256(data).hexdigest() != footer.data_sha256:
        raise InputCorrupt(f"the data of {uri} is not what was written: its SHA-256 is another")
    reader = pa.BufferReader(content)
    with decoding(uri), pq.ParquetFile(reader, page_checksum_verification=True) as file:
        return footer, file.read(use_threads=False)


def own_schema(manifest: Manifest) -> pa.Schema:
    """Return the columns that a result has beside the ids."""
    spec = manifest.spec
    return result_schema([], all_scores=spec.all_scores, suffixes=spec.suffixes)


def schema_problem(manifest: Manifest, schema: pa.Schema) -> str | None:
    """Return what is wrong with the columns of a result, or None."""
    own = own_schema(manifest)
    names = [*manifest.spec.id_columns, *own.names]
    if schema.names != names:
        return f"has the columns {', '.join(schema.names)} instead of {', '.join(names)}"
    for expected in own:
        kind = schema.field(expected.name).type
        if kind != expected.type:
            return f"has a column {expected.name!r} of {kind} instead of {expected.type}"
    return None
