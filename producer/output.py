"""What an output must be before a job is created there: apart from the inputs, and empty."""

import os
import re
from fnmatch import fnmatchcase

from producer.corpus import is_hidden, split_glob
from schemas import layout
from schemas.errors import OutputTaken, UsageError
from schemas.job import JobSpec
from schemas.locations import canonical, is_s3
from schemas.storage import Storage

# A submitter that was interrupted leaves these, and another job may still need none of them.
_LEFT_OVER = re.compile(r"_bulkscore/chunks-[0-9a-f]+\.\w+")

# Comes before the results in a listing, so that it is what the user is told.
_COLLECTED = re.compile(rf"{layout.JOB_FOLDER_PREFIX}[^/]+/_bulkscore/manifest\.json")


def require_apart(spec: JobSpec) -> None:
    """Refuse an output whose result would be read as corpus, or among which the corpus lies.

    Raises:
        UsageError: Output and an input overlap.
    """
    output = _real(canonical(spec.output))
    for given in spec.inputs:
        root, pattern = split_glob(canonical(given))
        root = _real(root)
        if _is_within(root, output):
            raise UsageError(
                f"input {given} lies inside the output {spec.output}: whoever reads the result "
                "would read the corpus as well; choose another --output"
            )
        if _is_within(output, root) and _takes_results(pattern, output[len(root) + 1 :]):
            raise UsageError(
                f"the output {spec.output} lies inside the input {given}: the next job would read "
                "the result as corpus; choose another --output"
            )


def require_empty(storage: Storage, output: str) -> None:
    """Refuse an output that holds something, though no job.

    Hidden objects of others do no harm: dataset readers pass over them as we do.

    Raises:
        OutputTaken: There is a visible object, a record of a job that lost its manifest, or a
            collection of jobs.
    """
    if not is_s3(output) and os.path.isfile(output):
        raise OutputTaken(f"{output} is a file; the output must be a new or empty folder")
    below = len(output.rstrip("/")) + 1
    for found in storage.list_objects(output, recursive=True):
        if _COLLECTED.fullmatch(found.uri[below:]):
            raise OutputTaken(
                f"{output} is a collection of jobs made with --incremental: submit with that "
                "option as well, or choose another --output"
            )
        if _is_in_the_way(found.uri[below:]):
            raise OutputTaken(
                f"{output} holds no job, but is not empty: there is {found.uri}. Choose another "
                "--output, or remove what is there"
            )


def require_collection(storage: Storage, output: str) -> None:
    """Refuse an output for `--incremental` that holds anything visible but collected jobs.

    Raises:
        OutputTaken: There is a job of its own, or something that its readers would take for rows.
    """
    if not is_s3(output) and os.path.isfile(output):
        raise OutputTaken(f"{output} is a file; the output must be a new or empty folder")
    if storage.exists(layout.manifest(output)):
        raise OutputTaken(
            f"{output} holds a single job, made without --incremental: choose another --output"
        )
    below = len(output.rstrip("/")) + 1
    names = [found.uri[below:] for found in storage.list_objects(output)]
    names += [folder[below:] for folder in storage.list_folders(output)]
    for name in names:
        if not is_hidden(name) and not name.startswith(layout.JOB_FOLDER_PREFIX):
            raise OutputTaken(
                f"{output} is to hold jobs and nothing else, but there is {name}: choose another "
                "--output, or remove it"
            )


def _is_in_the_way(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    if folder.partition("/")[0] == "_bulkscore":
        return not (name.startswith(".") or _LEFT_OVER.fullmatch(path))
    return path == "_SUCCESS" or not is_hidden(path)


def _takes_results(pattern: str, output: str) -> bool:
    """Say whether an input takes result objects from a folder that lies at `output` below it."""
    from fsspec.utils import glob_translate

    if not pattern:
        return not is_hidden(output)
    *folders, name = pattern.split("/")
    in_folder = re.match(glob_translate("/".join((*folders, "*"))), f"{output}/x")
    part = layout.result("", 0).lstrip("/")
    takes_name = fnmatchcase(part, name) or name.startswith("part")
    takes_all = name == "**"
    reaches = takes_all or (in_folder is not None and takes_name)
    return reaches and (is_hidden(pattern) or not is_hidden(output))


def _is_within(place: str, folder: str) -> bool:
    return place == folder or place.startswith(f"{folder.rstrip('/')}/")


def _real(uri: str) -> str:
    return uri if is_s3(uri) else os.path.realpath(uri)
