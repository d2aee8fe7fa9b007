"""What the object store knows of a job's chunks. A chunk is done if its result object exists.

`survey` looks at names alone and is cheap; `tally` reads the footers of results and the dead
letters, for the summary and to restore a lost ledger.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from schemas import layout
from schemas.budget import Limits, limits_of
from schemas.dead_letter import DeadLetter
from schemas.errors import InputCorrupt
from schemas.generation import generation_of_chunks, read_generations
from schemas.job import Manifest, parse_record
from schemas.manifest import read_chunks
from schemas.results import ResultAccount, ResultFooter, read_footer
from schemas.states import ChunkState
from schemas.storage import Storage
from schemas.tally import Tally

# Small objects read at the same time; each costs a round trip to the store.
CONCURRENT_READS = 16

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Which chunks have a result, which are buried (chunk → generation), and what else is known."""

    chunks: int
    results: frozenset[int]
    dead: dict[int, int]
    generation: int
    limits: Limits
    cancelled: bool

    @property
    def missing(self) -> list[int]:
        """Chunks with neither a result nor a dead letter that still counts."""
        return [c for c in range(self.chunks) if c not in self.results and c not in self.dead]

    def state_of(self, chunk: int) -> ChunkState:
        """Return the state that storage alone gives a chunk."""
        if chunk in self.results:
            return ChunkState.SUCCEEDED
        if chunk in self.dead:
            return ChunkState.DEAD
        return ChunkState.CANCELLED if self.cancelled else ChunkState.QUEUED


def survey(storage: Storage, manifest: Manifest) -> Survey:
    """Look at the names under a job's output."""
    output = manifest.spec.output
    # Dead letters first, results last: a chunk that is sent again or finished meanwhile then
    # shows as pending or as done, never as buried for good.
    buried = _dead_letters(storage, manifest)
    generations = read_generations(storage, output)
    results = _results(storage, manifest)
    sent_again = generation_of_chunks(generations)
    return Survey(
        chunks=manifest.chunks,
        results=results,
        dead={
            chunk: number
            for chunk, number in buried.items()
            if chunk not in results
            and (chunk not in sent_again or number >= sent_again[chunk].number)
        },
        generation=max((g.number for g in generations), default=0),
        limits=limits_of(manifest, generations),
        cancelled=storage.exists(layout.cancelled(output)),
    )


def tally(storage: Storage, manifest: Manifest, found: Survey) -> Tally:
    """Sum what the results and dead letters of a survey say.

    A result that is not that of its chunk is no result: it is set aside in `damaged`.
    """
    sums = Tally()
    for chunk, footer in _footers(storage, manifest, found.results):
        if isinstance(footer, ResultFooter):
            sums.add_result(footer)
        else:
            sums.damaged[chunk] = footer
    for letter in read_dead_letters(storage, manifest, found):
        sums.add_dead_letter(letter)
    return sums


def accounts(
    storage: Storage, manifest: Manifest, chunks: Collection[int]
) -> Iterator[tuple[int, ResultAccount]]:
    """Yield each chunk whose result is its own and sound, with the account in its footer."""
    for chunk, footer in _footers(storage, manifest, chunks):
        if isinstance(footer, ResultFooter):
            yield chunk, footer.account


def read_dead_letters(storage: Storage, manifest: Manifest, found: Survey) -> list[DeadLetter]:
    """Return the dead letters that still count, by chunk."""
    output = manifest.spec.output
    uris = [layout.dead_letter(output, chunk, g) for chunk, g in sorted(found.dead.items())]
    bodies = _concurrently(storage.read, uris)
    return [parse_record(DeadLetter, body, uri) for uri, body in zip(uris, bodies, strict=True)]


def _footers(
    storage: Storage, manifest: Manifest, chunks: Collection[int]
) -> Iterator[tuple[int, ResultFooter | str]]:
    """Yield each chunk, in rising order, with its result's footer or what is wrong with it."""
    rows = read_chunks(storage, manifest).column("rows")

    def read(chunk: int) -> ResultFooter | str:
        uri = layout.result(manifest.spec.output, chunk)
        try:
            footer = read_footer(storage, uri)
        except InputCorrupt as error:
            return str(error)
        account = footer.account
        told = (account.job_id, account.model_digest, account.chunk, account.rows)
        if told == (manifest.job_id, manifest.model_digest, chunk, rows[chunk]):
            return footer
        return (
            f"{uri} is no result of chunk {chunk}: it has {account.rows} rows of chunk "
            f"{account.chunk} of job {account.job_id}, by model {account.model_digest[:12]}"
        )

    ordered = sorted(chunks)
    yield from zip(ordered, _concurrently(read, ordered), strict=True)


def _results(storage: Storage, manifest: Manifest) -> frozenset[int]:
    names = (_name(o.uri) for o in storage.list_objects(manifest.spec.output))
    chunks = map(layout.chunk_of_result, names)
    return frozenset(c for c in chunks if c is not None and c < manifest.chunks)


def _dead_letters(storage: Storage, manifest: Manifest) -> dict[int, int]:
    """Return the chunks that were ever buried, each with the newest generation it died in."""
    newest: dict[int, int] = {}
    for found in storage.list_objects(layout.dead_letters(manifest.spec.output)):
        place = layout.chunk_of_dead_letter(_name(found.uri))
        if place is not None and place[0] < manifest.chunks:
            chunk, generation = place
            newest[chunk] = max(generation, newest.get(chunk, 0))
    return newest


def _concurrently(read: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Apply `read` with bounded concurrency, in order, a bounded number ahead."""
    with ThreadPoolExecutor(CONCURRENT_READS, thread_name_prefix="survey") as pool:
        for start in range(0, len(items), 1024):
            yield from pool.map(read, items[start : start + 1024])


def _name(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]
