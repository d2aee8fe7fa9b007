"""The job of a chaos run: its corpus, its submitter, and its results as they appear."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from schemas import layout
from schemas.chunks import Chunk, ChunkTable
from schemas.errors import ManifestMissing
from schemas.manifest import read_chunks, read_manifest
from schemas.results import ResultAccount, read_account
from schemas.storage import Storage
from support.corpora import make_table
from support.processes import CompletedCli, RunningCli, run_cli, start_cli
from support.texts import UNSCORABLE, ordinary_texts

FILES = 8
ROWS_A_FILE = 200
CHUNK_ROWS = 40
# One row in so many has no text that could be scored.
UNSCORABLE_EVERY = 40
TOKEN_BUDGET = 200
MAX_TOKENS = 128  # of the model

# What is compared with the undisturbed job, beside the score.
COLUMNS = ("id", "source_row", "label", "score", "n_tokens", "truncated", "error")


def texts_of(file: int) -> list[str | None]:
    """Return the texts of a file of the corpus."""
    bad = list(UNSCORABLE.values())
    texts: list[str | None] = list(ordinary_texts(ROWS_A_FILE, seed=file))
    for place, row in enumerate(range(0, ROWS_A_FILE, UNSCORABLE_EVERY)):
        texts[row] = bad[place % len(bad)]
    return texts


def row_id(file: int, row: int) -> str:
    """Return the id of a row."""
    return f"doc-{file * ROWS_A_FILE + row:06}"


def corpus_file(file: int) -> bytes:
    """Return a Parquet file of the corpus."""
    sink = pa.BufferOutputStream()
    table = make_table(texts_of(file), first_id=file * ROWS_A_FILE)
    pq.write_table(table, sink, row_group_size=CHUNK_ROWS)
    return bytes(sink.getvalue().to_pybytes())


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the corpus as the model sees it."""

    id: str
    token_ids: list[int]


def rows_of(chunk: Chunk, tokenizer: Tokenizer, *, min_words: int) -> list[Row]:
    """Return the rows of a chunk whose texts are long enough to be there once, and not cut."""
    texts = texts_of(chunk.file)
    rows = [
        Row(row_id(chunk.file, row), tokenizer.encode(text).ids)
        for row in range(chunk.row_start, chunk.row_start + chunk.rows)
        if (text := texts[row]) is not None and len(text.split()) >= min_words
    ]
    return [row for row in rows if len(row.token_ids) <= MAX_TOKENS]


class Job:
    """One job, submitted as a user would and looked at from outside.

    Args:
        job_id: Its id, and the name of its output.
        root: URI of what holds corpus, model and outputs.
        storage: The S3 server behind its front, to see what is really there.
        env: Of the commands.
    """

    def __init__(self, job_id: str, root: str, storage: Storage, env: Mapping[str, str]) -> None:
        self.job_id = job_id
        self.output = f"{root}/{job_id}"
        # Chunk to the time its result was first seen, and to its ETag then.
        self.seen: dict[int, float] = {}
        self._etags: dict[int, str] = {}
        # Ids of the rows that were made to kill their process.
        self.poisoned: set[str] = set()
        self._root = root
        self._storage = storage
        self._env = env
        self._chunks: ChunkTable | None = None
        self._block = ExitStack()
        self._submitter: RunningCli | None = None

    @property
    def submit_words(self) -> list[str]:
        """The command line that submits the job and waits for it."""
        return [
            "submit",
            *("--input", f"{self._root}/corpus"),
            *("--model", f"{self._root}/model"),
            *("--text-column", "text"),
            *("--id-column", "id"),
            *("--output", self.output),
            *("--job-id", self.job_id),
            *("--chunk-rows", str(CHUNK_ROWS)),
            *("--token-budget", str(TOKEN_BUDGET)),
            "--wait",
        ]

    def submit(self) -> None:
        """Start `bulkscore submit --wait`, in place of one that was started before."""
        self._block.close()
        self._submitter = self._block.enter_context(start_cli(*self.submit_words, env=self._env))

    @property
    def submitter(self) -> RunningCli:
        """The command that waits for the job."""
        assert self._submitter is not None, "the job was never submitted"
        return self._submitter

    def cli(self, *args: str, timeout: float = 180.0) -> CompletedCli:
        """Run a command of the user's to its end."""
        return run_cli(*args, env=self._env, timeout=timeout)

    def close(self) -> None:
        """End what waits for the job."""
        self._block.close()

    @property
    def chunks(self) -> ChunkTable | None:
        """The chunks of the job, None as long as it is not planned."""
        if self._chunks is None:
            try:
                self._chunks = read_chunks(self._storage, read_manifest(self._storage, self.output))
            except ManifestMissing:
                return None
        return self._chunks

    @property
    def waiting(self) -> list[Chunk]:
        """The chunks without a result."""
        chunks = self.chunks
        if chunks is None:
            return []
        return [chunks[number] for number in range(len(chunks)) if number not in self.seen]

    @property
    def complete(self) -> bool:
        """Whether every chunk has a result."""
        return self.chunks is not None and len(self.seen) == len(self.chunks)

    def look(self) -> list[str]:
        """Note new results; return what is wrong: a result that changed, or vanished."""
        found = {}
        for stat in self._storage.list_objects(self.output):
            chunk = layout.chunk_of_result(stat.uri.rpartition("/")[2])
            if chunk is not None:
                found[chunk] = stat.etag
        now = time.monotonic()
        for chunk in found.keys() - self.seen.keys():
            self.seen[chunk] = now
            self._etags[chunk] = found[chunk]
        changed = [chunk for chunk, etag in self._etags.items() if found.get(chunk) != etag]
        return [f"{self.job_id}: the result of chunk {chunk} changed" for chunk in changed]

    def objects(self) -> list[str]:
        """Return the names of all objects below the output."""
        found = self._storage.list_objects(self.output, recursive=True)
        return [stat.uri.removeprefix(f"{self.output}/") for stat in found]

    def accounts(self) -> list[ResultAccount]:
        """Return the accounts of all results."""
        uris = [layout.result(self.output, chunk) for chunk in sorted(self.seen)]
        return [read_account(self._storage, uri) for uri in uris]

    def rows(self) -> list[dict[str, Any]]:
        """Return all result rows."""
        rows: list[dict[str, Any]] = []
        for chunk in sorted(self.seen):
            with self._storage.open(layout.result(self.output, chunk)) as file:
                rows += pq.read_table(file).select(COLUMNS).to_pylist()
        return rows
