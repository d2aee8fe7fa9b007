"""Checks what a chunk's result says of itself against what its rows say."""

from collections import Counter
from collections.abc import Iterator

from producer.findings import Finding, FindingKind, of_result
from producer.value_check import ModelColumns
from schemas.chunks import Chunk
from schemas.job import Manifest
from schemas.model_account import ModelAccount
from schemas.results import ResultAccount

Pair = tuple[str, object, object]


def account_findings(
    manifest: Manifest,
    chunk: Chunk,
    account: ResultAccount,
    *,
    rows: int,
    rows_scored: int,
    errors: Counter[str],
    sums: dict[str, int],
) -> Iterator[Finding]:
    """Yield where the account says otherwise of all models together.

    Args:
        manifest: The job.
        chunk: The chunk.
        account: What its result says.
        rows: Rows that it has; `rows_scored` and `errors` likewise.
        rows_scored: Those that are scored.
        errors: Those with an error, by code.
        sums: `tokens` and `truncated` rows.
    """
    yield from _unequal(
        chunk,
        [
            ("job", account.job_id, manifest.job_id),
            ("chunk", account.chunk, chunk.index),
            ("model digest", account.model_digest, manifest.model_digest),
            ("rows", account.rows, rows),
            ("scored rows", account.rows_scored, rows_scored),
            ("errors", Counter(account.errors), errors),
            ("tokens", account.tokens, sums["tokens"]),
            ("truncated rows", account.truncated_rows, sums["truncated"]),
        ],
    )
    if tuple(model.name for model in account.models) != manifest.spec.names:
        text = "has an account of other models than the job's"
        yield of_result(FindingKind.ACCOUNT, chunk, text, 1)


def model_findings(
    chunk: Chunk, account: ResultAccount, name: str, found: ModelColumns, same: dict[str, int]
) -> Iterator[Finding]:
    """Yield where the account says otherwise of a model; one it does not know is told elsewhere.

    Args:
        chunk: The chunk.
        account: What its result says.
        name: Of the model.
        found: Its columns.
        same: Rows `compared` with the first model, and those that `agreed`.
    """
    of = f" of {name}" if name else ""
    for said in account.models:
        if said.name == name:
            yield from _unequal(
                chunk,
                [
                    (f"model digest{of}", said.model_digest, found.pin.digest),
                    (
                        f"rows scored{of and f' by {name}'}",
                        said.rows_scored,
                        found.counts["scored"],
                    ),
                    (f"errors{of}", Counter(said.errors), found.errors),
                    (f"tokens{of}", said.tokens, found.counts["tokens"]),
                    (f"truncated rows{of}", said.truncated_rows, found.counts["truncated"]),
                    *_agreement(said, of, same),
                ],
            )


def _agreement(said: ModelAccount, of: str, same: dict[str, int]) -> list[Pair]:
    if said.rows_compared is None:
        return []
    return [
        (f"rows compared{of}", said.rows_compared, same["compared"]),
        (f"rows agreed{of}", said.rows_agreed, same["agreed"]),
    ]


def _unequal(chunk: Chunk, pairs: list[Pair]) -> Iterator[Finding]:
    for name, said, found in pairs:
        if said != found:
            text = f"says {name} {_plain(said)} of itself, it should be {_plain(found)}"
            yield of_result(FindingKind.ACCOUNT, chunk, text, 1)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Counter) else value
