"""The jobs under one output that were started with `--incremental`, each in a folder of its own."""

from schemas import layout
from schemas.storage import Storage

# How many jobs a message names.
NAMED_JOBS = 5


def job_folders(storage: Storage, output: str) -> list[str]:
    """Return the outputs of the jobs collected under `output`, by name; also unfinished folders."""
    return [
        folder
        for folder in storage.list_folders(output)
        if folder.rsplit("/", 1)[-1].startswith(layout.JOB_FOLDER_PREFIX)
    ]


def why_no_job(storage: Storage, output: str) -> str:
    """Say why `output`, which has no manifest, is not the output of a job."""
    folders = job_folders(storage, output)
    if not folders:
        return f"{output} holds no job: there is no {layout.manifest(output)}"
    newest = ", ".join(reversed(folders[-NAMED_JOBS:]))
    more = f" and {len(folders) - NAMED_JOBS:,} more" if len(folders) > NAMED_JOBS else ""
    return (
        f"{output} is a collection of jobs made with --incremental; name one of them instead: "
        f"{newest}{more}"
    )
