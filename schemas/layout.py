"""Where the objects of a job lie under its output URI. Pure functions, nothing else.

OUTPUT/part-000042.parquet                        result of chunk 42, created once
OUTPUT/_SUCCESS                                   written last
OUTPUT/_bulkscore/manifest.json                   what the job is
OUTPUT/_bulkscore/chunks-<sha256>.table           the chunk table, Parquet by another
                                                      name, so that OUTPUT/**/*.parquet is
                                                      the result and nothing else
OUTPUT/_bulkscore/generations/0001.json           what reprocess 1 sent again, and how
OUTPUT/_bulkscore/dead-letters/000042-g0.json     chunk 42 buried in generation 0
OUTPUT/_bulkscore/superseded/000042-g1.table      what chunk 42 had before generation 1,
                                                      by a model that was found to be bad
OUTPUT/_bulkscore/superseded/0001.json            generation 1 has set all of them aside
OUTPUT/_bulkscore/cancelled.json                  the job was cancelled
OUTPUT/_bulkscore/summary.json                    the account
OUTPUT/_bulkscore/results-<sha256>.table          checksums of the results it counts

With --incremental, OUTPUT holds jobs instead, each in a folder of its own: OUTPUT/job=<job id>.
"""

import re

JOB_FOLDER_PREFIX = "job="

_PART = re.compile(r"part-(\d{6}|[1-9]\d{6,})\.parquet", re.ASCII)
_RESULT_TABLE = re.compile(r"results-[0-9a-f]{12}\.table", re.ASCII)
_DEAD_LETTER = re.compile(r"(\d{6}|[1-9]\d{6,})-g(\d+)\.json", re.ASCII)


def _under(output: str, *parts: str) -> str:
    return "/".join((output.rstrip("/"), *parts))


def result(output: str, chunk: int) -> str:
    """URI of a chunk's result object."""
    return _under(output, f"part-{chunk:06d}.parquet")


def job_folder(collection: str, job_id: str) -> str:
    """URI of the output of one job among those that `--incremental` collects."""
    return _under(collection, f"{JOB_FOLDER_PREFIX}{job_id}")


def success_marker(output: str) -> str:
    """URI of the marker that says the job is complete."""
    return _under(output, "_SUCCESS")


def manifest(output: str) -> str:
    """URI of the manifest."""
    return _under(output, "_bulkscore", "manifest.json")


def chunk_table(output: str, sha256: str) -> str:
    """URI of the chunk table with this SHA-256: two submitters never write over each other's."""
    return _under(output, "_bulkscore", f"chunks-{sha256[:12]}.table")


def generation(output: str, number: int) -> str:
    """URI of the record of reprocess number `number`."""
    return _under(output, "_bulkscore", "generations", f"{number:04d}.json")


def generations(output: str) -> str:
    """URI of the folder of reprocess records."""
    return _under(output, "_bulkscore", "generations")


def dead_letters(output: str) -> str:
    """URI of the folder of dead letters."""
    return _under(output, "_bulkscore", "dead-letters")


def dead_letter(output: str, chunk: int, generation: int) -> str:
    """URI of the dead letter of a chunk in a generation."""
    return _under(output, "_bulkscore", "dead-letters", f"{chunk:06d}-g{generation}.json")


def superseded(output: str, chunk: int, generation: int) -> str:
    """URI of the result that a chunk had before a generation with other models."""
    return _under(output, "_bulkscore", "superseded", f"{chunk:06d}-g{generation}.table")


def superseded_all(output: str, generation: int) -> str:
    """URI of the marker that every result from before a generation is set aside."""
    return _under(output, "_bulkscore", "superseded", f"{generation:04d}.json")


def cancelled(output: str) -> str:
    """URI of the marker of a cancelled job."""
    return _under(output, "_bulkscore", "cancelled.json")


def summary(output: str) -> str:
    """URI of the summary."""
    return _under(output, "_bulkscore", "summary.json")


def records(output: str) -> str:
    """URI of the folder of the job's records."""
    return _under(output, "_bulkscore")


def result_table(output: str, sha256: str) -> str:
    """URI of the table of results with this SHA-256; the summary names the one it goes with."""
    return _under(output, "_bulkscore", f"results-{sha256[:12]}.table")


def is_result_table(name: str) -> bool:
    """Say whether a file of this name is a table of results."""
    return _RESULT_TABLE.fullmatch(name) is not None


def chunk_of_result(name: str) -> int | None:
    """Return the chunk whose result has this file name, or None for another file."""
    match = _PART.fullmatch(name)
    return int(match[1]) if match else None


def chunk_of_dead_letter(name: str) -> tuple[int, int] | None:
    """Return chunk and generation of a dead letter's file name, or None for another file."""
    match = _DEAD_LETTER.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None
