"""Whose fault a failed attempt is, as a table, with stores that answer as the table says."""

import pytest

from schemas.errors import (
    AccessDenied,
    BulkError,
    CredentialsRefused,
    InputCorrupt,
    InputMissing,
    ModelIncompatible,
    ModelNotReady,
    StorageFull,
    StorageUnavailable,
    UnexpectedError,
)
from worker.blame import blame

INPUT, OUTPUT = "s3://corpus/1.parquet", "s3://scored/part-000000.parquet"

AWAY = StorageUnavailable("nobody answers")
NOT_LISTED = AccessDenied("may not list")
EXPIRED = CredentialsRefused("expired")
NO_BUCKET = InputMissing("no bucket")


class Store:
    """Gives one answer to every probe, and notes what it was asked."""

    def __init__(self, answer: BulkError | None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int]] = []

    def probe(self, uri: str, *, room: int = 0) -> None:
        self.asked.append((uri, room))
        if self.answer is not None:
            raise self.answer


def at(place: str, error: BulkError) -> BulkError:
    error.place = place
    return error


@pytest.mark.parametrize(
    ("error", "place", "answer", "fault"),
    [
        # A request was not served: is it the object, or the store?
        (StorageUnavailable("time-out"), INPUT, None, "chunk"),
        (StorageUnavailable("time-out"), INPUT, AWAY, "storage"),
        (StorageUnavailable("time-out"), OUTPUT, AWAY, "storage"),
        (StorageUnavailable("time-out"), INPUT, NOT_LISTED, "chunk"),
        # Not about the chunk, whatever the store says now.
        (StorageFull("no space"), OUTPUT, None, "storage"),
        (ModelNotReady("half of it"), None, None, "storage"),
        # The store answers and refuses.
        (AccessDenied("403"), INPUT, None, "chunk"),
        (AccessDenied("403"), INPUT, NOT_LISTED, "chunk"),
        (AccessDenied("403"), INPUT, EXPIRED, "job"),
        (AccessDenied("403"), INPUT, AWAY, "storage"),
        (AccessDenied("403"), OUTPUT, None, "job"),
        (AccessDenied("403"), OUTPUT, AWAY, "storage"),
        (CredentialsRefused("expired"), INPUT, None, "job"),
        (InputMissing("404"), INPUT, None, "chunk"),
        (InputMissing("404"), INPUT, NO_BUCKET, "job"),
        (InputMissing("no bucket"), OUTPUT, NO_BUCKET, "job"),
        # No word of storage in it.
        (InputMissing("nothing matches"), None, AWAY, "chunk"),
        (InputCorrupt("page"), INPUT, AWAY, "chunk"),
        (UnexpectedError("bug"), None, AWAY, "chunk"),
        (ModelIncompatible("head"), None, None, "job"),
    ],
)
def test_an_error_is_blamed_on_what_it_is_about(
    error: BulkError, place: str | None, answer: BulkError | None, fault: str
) -> None:
    error.place = place
    store = Store(answer)

    assert blame(error, store.probe, lambda uri: uri == INPUT)[0] == fault
    assert len(store.asked) <= 1


def test_what_a_head_did_not_tell_is_told_by_the_bucket() -> None:
    refused = at(OUTPUT, AccessDenied("400"))

    assert blame(refused, Store(EXPIRED).probe, lambda _uri: False) == ("job", EXPIRED)
    assert blame(refused, Store(NOT_LISTED).probe, lambda _uri: False) == ("job", refused)


def test_the_store_is_asked_where_it_failed() -> None:
    store = Store(None)

    blame(at(OUTPUT, StorageUnavailable("time-out")), store.probe, lambda _uri: False)

    assert store.asked == [(OUTPUT, 0)]
