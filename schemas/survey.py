"""What the object store knows of a job's chunks. A chunk is done if its result object exists.

`survey` looks at names alone and is cheap; `tally` reads the footers of results and the dead
letters, for the summary and to restore a lost ledger.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from schemas import layout
from schemas.dead_letter import DeadLetter
from schemas.generation import Generation, generation_of_chunks, read_generations
from schemas.job import Manifest
from schemas.results import ResultAccount, read_account
from schemas.states import ChunkState
from schemas.storage import Storage

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


@dataclass(slots=True, kw_only=True)
class Tally:
    """Sums over results and dead letters."""

    rows_scored: int = 0
    rows_error: int = 0
    rows_dead: int = 0
    tokens: int = 0
    truncated_rows: int = 0
    scoring_seconds: float = 0.0
    row_errors: Counter[str] = field(default_factory=Counter)
    dead_by_code: Counter[str] = field(default_factory=Counter)
    workers: set[str] = field(default_factory=set)

    def add_result(self, account: ResultAccount) -> None:
        """Add what one result object says of itself."""
        self.rows_scored += account.rows_scored
        self.rows_error += account.rows - account.rows_scored
        self.tokens += account.tokens
        self.truncated_rows += account.truncated_rows
        self.scoring_seconds += account.seconds
        self.row_errors.update(account.errors)
        self.workers.add(account.worker)

    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Add one buried chunk."""
        self.rows_dead += letter.rows
        self.dead_by_code[letter.code] += 1

    def counters(self) -> dict[str, float]:
        """Return the sums under the names that the ledger uses."""
        numbers = {
            "rows_scored": self.rows_scored,
            "rows_error": self.rows_error,
            "rows_dead": self.rows_dead,
            "tokens": self.tokens,
            "truncated_rows": self.truncated_rows,
            "scoring_seconds": self.scoring_seconds,
        }
        codes = {f"row:{code}": count for code, count in self.row_errors.items()}
        dead = {f"chunk:{code}": count for code, count in self.dead_by_code.items()}
        return {**numbers, **codes, **dead}


def survey(storage: Storage, manifest: Manifest) -> Survey:
    """Look at the names under a job's output."""
    output = manifest.spec.output
    names = (_name(o.uri) for o in storage.list_objects(output))
    results = {c for c in map(layout.chunk_of_result, names) if c is not None}
    generations = read_generations(storage, output)
    return Survey(
        chunks=manifest.chunks,
        results=frozenset(c for c in results if c < manifest.chunks),
        dead=_current_dead_letters(storage, output, generation_of_chunks(generations), results),
        generation=max((g.number for g in generations), default=0),
        cancelled=storage.exists(layout.cancelled(output)),
    )


def tally(storage: Storage, manifest: Manifest, found: Survey) -> Tally:
    """Sum what the results and dead letters of a survey say."""
    sums = Tally()
    for _, account in accounts(storage, manifest, found.results):
        sums.add_result(account)
    for letter in read_dead_letters(storage, manifest, found):
        sums.add_dead_letter(letter)
    return sums


def accounts(
    storage: Storage, manifest: Manifest, chunks: Collection[int]
) -> Iterator[tuple[int, ResultAccount]]:
    """Yield each chunk with the account in its result's footer."""
    output = manifest.spec.output
    ordered = sorted(chunks)
    read = _concurrently(lambda c: read_account(storage, layout.result(output, c)), ordered)
    yield from zip(ordered, read, strict=True)


def read_dead_letters(storage: Storage, manifest: Manifest, found: Survey) -> list[DeadLetter]:
    """Return the dead letters that still count, by chunk."""
    output = manifest.spec.output
    uris = [layout.dead_letter(output, chunk, g) for chunk, g in sorted(found.dead.items())]
    bodies = _concurrently(storage.read, uris)
    return [DeadLetter.model_validate_json(body) for body in bodies]


def _current_dead_letters(
    storage: Storage, output: str, sent_again: dict[int, Generation], results: Collection[int]
) -> dict[int, int]:
    current: dict[int, int] = {}
    for found in storage.list_objects(layout.dead_letters(output)):
        place = layout.chunk_of_dead_letter(_name(found.uri))
        if place is None or place[0] in results:
            continue
        chunk, generation = place
        newest = sent_again.get(chunk)
        if newest is None or generation >= newest.number:
            current[chunk] = generation
    return current


def _concurrently(read: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Apply `read` with bounded concurrency, in order, a bounded number ahead."""
    with ThreadPoolExecutor(CONCURRENT_READS, thread_name_prefix="survey") as pool:
        for start in range(0, len(items), 1024):
            yield from pool.map(read, items[start : start + 1024])


def _name(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]
