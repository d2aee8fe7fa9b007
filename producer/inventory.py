"""What a job would read: the files of its corpus with their footers, and what is left out."""

from dataclasses import dataclass

from producer.corpus import distinct, files_of
from producer.footers import Footer, Progress, read_footers
from schemas.errors import BulkError, InputCorrupt, InputMissing, SchemaMismatch, UsageError
from schemas.job import JobSpec, SkippedFile
from schemas.objects import ObjectStat
from schemas.results import result_schema
from schemas.storage import Storage

ADVICE = "mend or remove it, or leave out what is bad with --skip-bad-files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files that the inputs of a job give, and the inputs that give none."""

    files: list[ObjectStat]
    missing: list[SkippedFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The footers of a corpus in order, and what `--skip-bad-files` leaves out of it."""

    footers: list[Footer]
    skipped: list[SkippedFile]


def take_inventory(
    storage: Storage, spec: JobSpec, progress: Progress = lambda _done, _all: None
) -> Inventory:
    """Return what a job would read of all that its inputs give.

    Left out are files that cannot be read or do not agree with the others, and inputs that give
    no file at all.

    Raises:
        InputMissing: An input gives no file, or a file is gone since it was listed.
        InputCorrupt: A file is not Parquet, damaged or encrypted.
        SchemaMismatch: A column is absent or of a wrong type, or files disagree.
        UsageError: An id column is named twice or like a result column, or all is bad.
    """
    listing = list_corpus(storage, spec)
    found = read_corpus(storage, spec, listing, progress)
    if not found.footers:
        raise all_bad(listing, found)
    return found


def all_bad(listing: Listing, found: Inventory) -> UsageError:
    """Return the error of an inventory that found no file fit to be scored."""
    first = found.skipped[len(listing.missing)]
    return UsageError(f"all {len(listing.files)} files are bad; the first: {first.reason}")


def list_corpus(storage: Storage, spec: JobSpec) -> Listing:
    """Return the files of the corpus in the order of the inputs and by name, each once.

    Raises:
        InputMissing: An input gives no file.
        UsageError: No input gives a file, and that was to be passed over.
    """
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
    return Listing(files=distinct(listed), missing=missing)


def read_corpus(
    storage: Storage, spec: JobSpec, listing: Listing, progress: Progress = lambda _done, _all: None
) -> Inventory:
    """Return the footers of the files in `listing`; none when all are bad and may be left out.

    Raises:
        InputMissing, InputCorrupt, SchemaMismatch, UsageError: As `take_inventory`.
    """
    own = result_schema([], all_scores=True, suffixes=spec.suffixes).names
    if taken := [name for name in spec.id_columns if name in own]:
        raise UsageError(
            f"id column {taken[0]!r} has the name of a result column; rename it in the corpus"
        )
    try:
        footers, bad = read_footers(
            storage,
            listing.files,
            text_column=spec.text_column,
            id_columns=spec.id_columns,
            skip_bad_files=spec.skip_bad_files,
            progress=progress,
        )
    except (InputCorrupt, InputMissing) as error:
        raise _advised(error) from error
    except SchemaMismatch as error:
        # Of a single file it is the option that is wrong, not the file.
        raise (_advised(error) if len(listing.files) > 1 else error) from error
    return Inventory(footers=footers, skipped=[*listing.missing, *bad])


def _advised(error: BulkError) -> BulkError:
    return type(error)(f"{error}; {ADVICE}")
