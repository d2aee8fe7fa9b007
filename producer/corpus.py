"""The files of a corpus: from what the user named to a list of objects, one listing per input."""

from collections.abc import Sequence

from schemas.storage import ObjectStat, Storage


def find_files(storage: Storage, inputs: Sequence[str]) -> list[ObjectStat]:
    """Return the Parquet files that `inputs` name, in order of the inputs and then of their names.

    An input is a file, a folder (searched with all folders in it) or a glob of `*`, `?`, `[…]`
    and `**`; local, `file://` or `s3://`. In a folder the files called `*.parquet`, `*.parq` or
    `*.pq` count, and names that begin with `_` or `.` are passed over, as every dataset reader
    does. A glob takes what it matches, whatever the ending. A file that is named twice is taken
    once.

    Raises:
        InputMissing: An input does not exist, or no file was found there.
        StorageUnavailable: Storage does not answer.
    """
    raise NotImplementedError
