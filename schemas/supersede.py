"""Sets the results aside that a model wrote which was replaced, so that their chunks are pending.

A result is moved, never changed: it is copied to its place among the job's records first, and then
its name is free for the next one. The marker comes last. A chunk is begun anew only after it, so
that without it every result is one from before.
"""

from concurrent.futures import ThreadPoolExecutor

from schemas import layout
from schemas.errors import InputCorrupt, InputMissing
from schemas.generation import Generation, read_generations
from schemas.job import Manifest
from schemas.results import parse_footer, split_result
from schemas.storage import Storage

# Results in memory at the same time; each has up to 100 MB.
CONCURRENT_MOVES = 4


def unfinished(storage: Storage, output: str) -> list[Generation]:
    """Return the generations with other models whose older results are not all set aside."""
    return [
        record
        for record in read_generations(storage, output)
        if record.models and not storage.exists(layout.superseded_all(output, record.number))
    ]


def supersede(storage: Storage, manifest: Manifest) -> None:
    """Set aside what models wrote that were replaced; safe at any time and any number of times."""
    output = manifest.spec.output
    for record in unfinished(storage, output):
        storage.delete(layout.success_marker(output))
        storage.delete(layout.summary(output))

        def move(chunk: int, record: Generation = record) -> None:
            _move(storage, output, chunk, record)

        with ThreadPoolExecutor(CONCURRENT_MOVES, thread_name_prefix="supersede") as pool:
            for _ in pool.map(move, record.chunks):
                pass
        storage.create(layout.superseded_all(output, record.number), b"{}")


def _move(storage: Storage, output: str, chunk: int, record: Generation) -> None:
    uri = layout.result(output, chunk)
    content = _older(storage, uri, record)
    if content is None:
        return
    created = storage.create(layout.superseded(output, chunk, record.number), content)
    # There already: another process moves it as well, and may be ahead of us.
    if created or _older(storage, uri, record) is not None:
        storage.delete(uri)


def _older(storage: Storage, uri: str, record: Generation) -> bytes | None:
    """Return a result that was written before the generation; None when it is gone or newer."""
    try:
        content = storage.read(uri)
    except InputMissing:
        return None
    try:
        footer = parse_footer(split_result(content, uri)[1], uri)
    except InputCorrupt:
        return content
    return content if footer.account.generation < record.number else None
