"""Parquet files that are broken, locked or at odds with each other, one way per function."""

import base64
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from support.corpora import make_table, write_corpus, write_table
from support.texts import ordinary_texts

Damage = Literal["checksum", "codec"]

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ROW_GROUP_ROWS = 40
FOOTER_TAIL_BYTES = 8  # length of the footer, then "PAR1"


def write_not_parquet(path: Path) -> Path:
    """Write a CSV file under the name of a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("id,text\n1,not a Parquet file\n" * 20)
    return path


def write_zero_bytes(path: Path) -> Path:
    """Write a file without a single byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def write_truncated(path: Path, *, keep: float = 0.5) -> Path:
    """Write a file that lost its end, and so its footer, as after an upload that broke off."""
    content = write_corpus(path).read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def write_broken_footer(path: Path) -> Path:
    """Write a file whose frame is sound and whose footer is noise."""
    content = bytearray(write_corpus(path).read_bytes())
    length = int.from_bytes(content[-FOOTER_TAIL_BYTES:-4], "little")
    start = len(content) - FOOTER_TAIL_BYTES - length
    content[start : start + length] = b"\xff" * length
    path.write_bytes(content)
    return path


def write_damaged_row_group(
    path: Path,
    *,
    row_group: int = 1,
    damage: Damage = "checksum",
    rows: int = 120,
    column: str = "text",
) -> Path:
    """Write a file in which one page of one row group has changed since it was written.

    Args:
        path: File to write.
        row_group: Which row group of 40 rows is hit.
        damage: `checksum`: an uncompressed page with a checksum has one letter changed; only a
            reader that verifies checksums can see it. `codec`: a zstd page without a checksum has
            lost its first bytes; no reader can decode it.
        rows: Rows in the file.
        column: Which column is hit.
    """
    write_corpus(
        path,
        rows,
        row_group_rows=ROW_GROUP_ROWS,
        use_dictionary=False,
        compression="none" if damage == "checksum" else "zstd",
        write_page_checksum=damage == "checksum",
    )
    start, end = _column_bytes(path, row_group, column)
    content = bytearray(path.read_bytes())
    # The last byte of a column chunk is the last of its last page; a page begins after its header.
    place = end - 1 if damage == "checksum" else content.index(ZSTD_MAGIC, start, end)
    content[place] ^= 0x01
    path.write_bytes(content)
    return path


def write_missing_column(folder: Path) -> list[Path]:
    """Write two files of which the second has no column `text`."""
    return [
        write_corpus(folder / "0.parquet"),
        write_table(folder / "1.parquet", make_table(ordinary_texts(50, 1)).drop(["text"])),
    ]


def write_changed_type(folder: Path) -> list[Path]:
    """Write two files of which the second has integers in the column `text`."""
    table = make_table(ordinary_texts(50, 1)).set_column(1, "text", pa.array(range(50)))
    return [
        write_corpus(folder / "0.parquet"),
        write_table(folder / "1.parquet", table),
    ]


def write_changed_id_type(folder: Path) -> list[Path]:
    """Write two files of which the first has string ids and the second integer ids."""
    return [
        write_corpus(folder / "0.parquet"),
        write_corpus(folder / "1.parquet", 50, seed=1, id_type="int64"),
    ]


def write_duplicate_column(path: Path) -> Path:
    """Write a file with two columns called `text`."""
    table = make_table(ordinary_texts(50))
    return write_table(path, table.append_column("text", pa.array(ordinary_texts(50, 1))))


class InMemoryKms(pe.KmsClient):
    """A key service that "wraps" a key by writing the master key's name before it."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        """Return the key under the master key's name."""
        return base64.b64encode(master_key_identifier.encode() + b"=" + key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        """Return the key again."""
        name, _, key = base64.b64decode(wrapped_key).partition(b"=")
        assert name == master_key_identifier.encode()
        return key


def write_encrypted(path: Path, *, footer: Literal["encrypted", "plaintext"]) -> Path:
    """Write a file with an encrypted `text`; a plaintext footer leaves schema and `id` readable."""
    configuration = pe.EncryptionConfiguration(
        footer_key="footer",
        column_keys={"text": ["text"]},
        plaintext_footer=footer == "plaintext",
    )
    properties = _crypto_factory().file_encryption_properties(_KMS, configuration)
    return write_corpus(path, encryption_properties=properties)


def read_encrypted(path: Path) -> pa.Table:
    """Read an encrypted file with its keys, to prove that the file itself is sound."""
    properties = _crypto_factory().file_decryption_properties(_KMS)
    return pq.read_table(path, decryption_properties=properties)


_KMS = pe.KmsConnectionConfig()


def _crypto_factory() -> pe.CryptoFactory:
    return pe.CryptoFactory(lambda _: InMemoryKms())


def _column_bytes(path: Path, row_group: int, column: str) -> tuple[int, int]:
    """Return where a column chunk's data pages begin and end in the file."""
    metadata = pq.read_metadata(path)
    chunk = metadata.row_group(row_group).column(metadata.schema.names.index(column))
    return chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
