"""What a job would read: the files of its corpus with their footers, and what is left out."""

from producer.corpus import distinct, files_of
from producer.footers import Footer, Progress, read_footers
from schemas.errors import BulkError, InputCorrupt, InputMissing, SchemaMismatch, UsageError
from schemas.job import JobSpec, SkippedFile
from schemas.storage import ObjectStat, Storage

ADVICE = "mend or remove it, or leave out what is bad with --skip-bad-files"


def take_inventory(
    storage: Storage, spec: JobSpec, progress: Progress = lambda _done, _all: None
) -> tuple[list[Footer], list[SkippedFile]]:
    """Return the footers of the corpus in order, and what `--skip-bad-files` leaves out.

    Left out are files that cannot be read or do not agree with the others, and inputs that give
    no file at all.

    Raises:
        InputMissing: An input gives no file, or a file is gone since it was listed.
        InputCorrupt: A file is not Parquet, damaged or encrypted.
        SchemaMismatch: A column is absent or of a wrong type, or files disagree.
        UsageError: An id column is named twice or like a result column, or all is bad.
    """
    files, missing = _list_files(storage, spec)
    try:
        footers, bad = read_footers(
            storage,
            files,
            text_column=spec.text_column,
            id_columns=spec.id_columns,
            skip_bad_files=spec.skip_bad_files,
            progress=progress,
        )
    except (InputCorrupt, InputMissing) as error:
        raise _advised(error) from error
    except SchemaMismatch as error:
        # Of a single file it is the option that is wrong, not the file.
        raise (_advised(error) if len(files) > 1 else error) from error
    return footers, [*missing, *bad]


def _list_files(storage: Storage, spec: JobSpec) -> tuple[list[ObjectStat], list[SkippedFile]]:
    listed: list[ObjectStat] = []
    missing: list[SkippedFile] = []
    for given in spec.inputs:
        try:
            listed += files_of(storage, given)
        except InputMissing as error:
            if not spec.skip_bad_files:
                raise
            missing.append(SkippedFile(uri=given, code=error.code, reason=str(error)))
    if missing and not listed:
        raise UsageError(f"no input gives a file; the first: {missing[0].reason}")
    return distinct(listed), missing


def _advised(error: BulkError) -> BulkError:
    return type(error)(f"{error}; {ADVICE}")
