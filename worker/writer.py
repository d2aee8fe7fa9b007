"""Collects the rows of a chunk's result in a local file, and publishes it once, whole."""

import contextlib
import hashlib
import tempfile
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.results import (
    RESULT_ROW_GROUP_ROWS,
    ResultAccount,
    footer_metadata,
    split_result,
)
from schemas.storage import Storage
from schemas.storage_errors import translated

# Rows wait for their row group in memory; id columns can be wide, so it ends early at this size.
ROW_GROUP_BYTES = 32 << 20


class ResultWriter:
    """Context manager around a local file; nothing of it stays behind, however the block ends.

    The schema is that of the first rows written; rows of another are a bug. A full disk is a
    `StorageUnavailable`.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bulkscore-result-")
        self._path = Path(self._folder.name) / "result.parquet"
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []
        self._rows = 0

    def __enter__(self) -> "ResultWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._folder:
            if self._writer is not None:
                # What was not published is thrown away: it need not be whole.
                with contextlib.suppress(OSError, pa.ArrowException):
                    self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Append rows; they are held until they make a row group."""
        self._held.append(rows)
        self._rows += rows.num_rows
        if (
            sum(table.num_rows for table in self._held) >= RESULT_ROW_GROUP_ROWS
            or sum(table.nbytes for table in self._held) >= ROW_GROUP_BYTES
        ):
            self._flush()

    def publish(self, storage: Storage, uri: str, account: ResultAccount) -> bool:
        """Close the file and create the result object; nothing may be written afterwards.

        Returns:
            True when this call created it, False when another attempt had.
        """
        accounted = account.rows_scored + sum(account.errors.values())
        if not self._rows == accounted == account.rows:
            raise AssertionError(
                f"bug: {self._rows} rows written for {uri} and {accounted} accounted for, its "
                f"chunk has {account.rows}"
            )
        writer = self._flush()
        with translated(str(self._path)):
            # Every row group is in the file by now; what follows is the footer and nothing else.
            with self._path.open("rb") as rows:
                data_sha256 = hashlib.file_digest(rows, "sha256")
                data_bytes = rows.tell()
            writer.add_key_value_metadata(footer_metadata(account, data_sha256.hexdigest()))
            writer.close()
            content = self._path.read_bytes()
        data, _ = split_result(content, uri)
        if len(data) != data_bytes:
            raise AssertionError(
                f"bug: {data_bytes} bytes of {uri} were summed, its footer begins at {len(data)}"
            )
        return storage.create(uri, content)

    def _flush(self) -> pq.ParquetWriter:
        """Write the rows held as row groups and return the open file."""
        with translated(str(self._path)):
            if self._writer is None:
                self._writer = pq.ParquetWriter(
                    self._path, self._held[0].schema, compression="zstd", write_page_checksum=True
                )
            if self._held:
                table = pa.concat_tables(self._held)
                self._writer.write_table(table, row_group_size=RESULT_ROW_GROUP_ROWS)
                self._held = []
        return self._writer
