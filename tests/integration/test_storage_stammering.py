"""A store that stammers, throttles or loses answers is asked again, within bounds."""

import random
from collections.abc import Iterator
from typing import Literal

import pytest

from schemas.errors import AccessDenied, CredentialsRefused, StorageFull, StorageUnavailable
from schemas.settings import StorageSettings
from schemas.storage import Storage
from support.flaky_s3 import FlakyGateway, Refusal, flaky_gateway
from support.s3 import S3Bucket
from support.storage_calls import CALLS, all_fail, use

pytestmark = pytest.mark.integration


@pytest.fixture
def gateway(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyGateway]:
    use(s3_bucket, monkeypatch)
    with flaky_gateway(s3_bucket) as gateway:
        monkeypatch.setenv("BULKSCORE_S3_ENDPOINT_URL", gateway.url)
        yield gateway


def test_a_server_that_cannot_serve_is_an_outage_to_every_call(
    gateway: FlakyGateway, s3_bucket: S3Bucket
) -> None:
    gateway.fails = lambda _method, _path: True
    storage = Storage(StorageSettings(s3_retries=1))

    all_fail(storage, s3_bucket.key_uri("key"), "SlowDown|503")

    assert gateway.failed <= 3 * len(CALLS)


def test_a_server_that_stammers_is_asked_again(gateway: FlakyGateway, s3_bucket: S3Bucket) -> None:
    uri = s3_bucket.key_uri("key")
    gateway.fails = lambda _method, _path: gateway.failed % 2 == 0
    storage = Storage()

    assert storage.create(uri, b"1")
    gateway.failed = 0
    assert storage.read(uri) == b"1"
    assert gateway.failed == 1


def test_a_create_whose_answer_was_lost_counts_as_anothers_and_stays_whole(
    gateway: FlakyGateway, s3_bucket: S3Bucket
) -> None:
    """The server did it, the client heard 503 and asks again; now the object is there."""
    uri = s3_bucket.key_uri("part-000000.parquet")
    behind = Storage(StorageSettings(s3_endpoint_url=s3_bucket.endpoint_url))

    def lose_the_answer(method: str, _path: str) -> bool:
        return method == "PUT" and behind.create(uri, b"result")

    gateway.fails = lose_the_answer

    assert not Storage().create(uri, b"result")
    assert gateway.failed == 1
    assert behind.read(uri) == b"result"


def test_a_store_that_throttles_a_third_of_all_requests_serves_every_call_in_the_end(
    gateway: FlakyGateway, s3_bucket: S3Bucket
) -> None:
    chance = random.Random(7)
    gateway.fails = lambda _method, _path: chance.random() < 0.33
    storage = Storage()
    bodies = {s3_bucket.key_uri(f"object-{n}"): f"{n}".encode() for n in range(10)}

    for uri, body in bodies.items():
        storage.create(uri, body)  # False where the answer to a first try was the one refused
        assert storage.read(uri) == body

    assert gateway.failed > 5
    assert len(gateway.requests) < 3 * 2 * len(bodies) * 1.33 / 0.67


def test_a_store_that_only_throttles_is_not_stormed(
    gateway: FlakyGateway, s3_bucket: S3Bucket
) -> None:
    gateway.fails = lambda _method, _path: True

    with pytest.raises(StorageUnavailable, match=r"503|SlowDown"):
        Storage().read(s3_bucket.key_uri("object"))

    assert len(gateway.requests) <= 30


def test_a_create_that_collides_with_another_is_sent_again(
    gateway: FlakyGateway, s3_bucket: S3Bucket
) -> None:
    conflict = Refusal(409, "ConditionalRequestConflict")
    gateway.fails = lambda method, _path: method == "PUT" and gateway.failed == 0 and conflict

    assert Storage().create(s3_bucket.key_uri("object"), b"1")
    assert gateway.failed == 1


@pytest.mark.parametrize("if_none_match", ["ignored", "refused"])
def test_a_store_without_conditional_put_is_looked_at_before_an_object_is_created(
    gateway: FlakyGateway, s3_bucket: S3Bucket, if_none_match: Literal["ignored", "refused"]
) -> None:
    gateway.if_none_match = if_none_match
    storage, uri = Storage(), s3_bucket.key_uri("object")

    assert storage.create(uri, b"first")
    assert not storage.create(uri, b"second")

    assert storage.read(uri) == b"first"
    assert not storage.creates_once(uri)


def test_a_store_that_refuses_conditional_puts_is_sent_one_and_no_more(
    gateway: FlakyGateway, s3_bucket: S3Bucket
) -> None:
    gateway.if_none_match = "refused"
    storage = Storage()

    for number in range(3):
        assert storage.create(s3_bucket.key_uri(f"object-{number}"), b"1")

    assert gateway.failed == 1


@pytest.mark.parametrize("name", ["read", "list", "open"])
def test_an_answer_that_breaks_off_once_is_asked_for_again(
    gateway: FlakyGateway, s3_bucket: S3Bucket, name: str
) -> None:
    uri = s3_bucket.key_uri("folder/object")
    body = bytes(range(256)) * 100
    storage = Storage()
    storage.create(uri, body)
    gateway.tears = lambda method, _path: method == "GET" and gateway.torn == 0

    found = CALLS[name](storage, s3_bucket.key_uri("folder") if name == "list" else uri)

    assert gateway.torn == 1
    assert [item.uri for item in found] == [uri] if name == "list" else found == body


@pytest.mark.parametrize("name", ["read", "list", "open"])
def test_an_answer_that_always_breaks_off_is_an_outage_and_never_half_an_object(
    gateway: FlakyGateway, s3_bucket: S3Bucket, name: str
) -> None:
    uri = s3_bucket.key_uri("folder/object")
    storage = Storage()
    storage.create(uri, bytes(100_000))
    gateway.tears = lambda method, _path: method == "GET"

    with pytest.raises(StorageUnavailable):
        CALLS[name](storage, s3_bucket.key_uri("folder") if name == "list" else uri)


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(400, "ExpiredToken"),
        Refusal(403, "InvalidAccessKeyId"),
        Refusal(403, "RequestTimeTooSkewed"),
    ],
    ids=lambda refusal: refusal.code,
)
def test_credentials_that_open_nothing_are_told_from_an_object_that_is_denied(
    gateway: FlakyGateway, s3_bucket: S3Bucket, refusal: Refusal
) -> None:
    gateway.fails = lambda _method, _path: refusal

    for name in ("list", "delete"):
        with pytest.raises(CredentialsRefused, match=refusal.code):
            CALLS[name](Storage(), s3_bucket.key_uri("object"))
    with pytest.raises(CredentialsRefused, match=refusal.code):
        Storage().probe(s3_bucket.uri)
    with pytest.raises(AccessDenied):  # begins with a HEAD, which is answered without a code
        Storage().read(s3_bucket.key_uri("object"))
    gateway.fails = lambda _method, _path: Refusal(403, "AccessDenied")
    with pytest.raises(AccessDenied) as raised:
        Storage().delete(s3_bucket.key_uri("object"))
    assert not isinstance(raised.value, CredentialsRefused)


def test_a_bucket_that_takes_no_more_is_full(gateway: FlakyGateway, s3_bucket: S3Bucket) -> None:
    gateway.fails = lambda method, _path: method == "PUT" and Refusal(403, "QuotaExceeded")

    with pytest.raises(StorageFull, match="QuotaExceeded"):
        Storage().create(s3_bucket.key_uri("object"), b"1")


def test_an_error_of_storage_says_where_it_happened(
    gateway: FlakyGateway, s3_bucket: S3Bucket
) -> None:
    gateway.fails = lambda _method, _path: True
    storage = Storage(StorageSettings(s3_retries=1))

    for name, call in CALLS.items():
        with pytest.raises(StorageUnavailable) as raised:
            call(storage, s3_bucket.key_uri("key"))
        assert str(raised.value.place).startswith(s3_bucket.key_uri("key")), name


def test_a_probe_does_not_wait_for_a_server_that_cannot_serve(
    gateway: FlakyGateway, s3_bucket: S3Bucket
) -> None:
    gateway.fails = lambda _method, _path: True

    with pytest.raises(StorageUnavailable, match="SlowDown"):
        Storage().probe(s3_bucket.uri)

    assert len(gateway.requests) == 1
