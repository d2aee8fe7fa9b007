"""Collects the rows of a chunk's result in a local file, and publishes it once, whole."""

import tempfile
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.results import RESULT_ROW_GROUP_ROWS, ResultAccount, account_metadata
from schemas.storage import Storage


class ResultWriter:
    """Context manager around a local file; what is not published leaves nothing behind.

    The schema is that of the first rows written; rows of another are a bug.
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
        if self._writer is not None:
            self._writer.close()
        self._folder.cleanup()

    def write(self, rows: pa.Table) -> None:
        """Append rows; they are held until they make a row group."""
        self._held.append(rows)
        self._rows += rows.num_rows
        if sum(table.num_rows for table in self._held) >= RESULT_ROW_GROUP_ROWS:
            self._flush()

    def publish(self, storage: Storage, uri: str, account: ResultAccount) -> bool:
        """Close the file and create the result object.

        Returns:
            True when this call created it, False when another attempt had.
        """
        if self._rows != account.rows:
            raise AssertionError(
                f"bug: {self._rows} rows written for {uri}, its chunk has {account.rows}"
            )
        writer = self._flush()
        writer.add_key_value_metadata(account_metadata(account))
        writer.close()
        return storage.create(uri, self._path.read_bytes())

    def _flush(self) -> pq.ParquetWriter:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path, self._held[0].schema, compression="zstd", write_page_checksum=True
            )
        if self._held:
            table = pa.concat_tables(self._held)
            self._writer.write_table(table, row_group_size=RESULT_ROW_GROUP_ROWS)
            self._held = []
        return self._writer
