"""A store that refuses, stammers or is silent is told in our own words, within a bounded time."""

import contextlib
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from schemas import s3_connection
from schemas.errors import (
    AccessDenied,
    BulkError,
    CredentialsRefused,
    InputMissing,
    StorageFull,
    StorageUnavailable,
    UsageError,
)
from schemas.settings import StorageSettings
from schemas.storage import Storage
from support.daemon import free_port
from support.flaky_s3 import FlakyGateway, Refusal, flaky_gateway
from support.s3 import S3Bucket

pytestmark = pytest.mark.integration

Call = Callable[[Storage, str], Any]


def open_and_read(storage: Storage, uri: str) -> bytes:
    """Read an object as Parquet is read."""
    with storage.open(uri) as stream:
        return stream.read()


CALLS: dict[str, Call] = {
    "stat": lambda storage, uri: storage.stat(uri),
    "exists": lambda storage, uri: storage.exists(uri),
    "list": lambda storage, uri: list(storage.list_objects(uri)),
    "glob": lambda storage, uri: storage.glob(f"{uri}/*"),
    "is_folder": lambda storage, uri: storage.is_folder(uri),
    "read": lambda storage, uri: storage.read(uri),
    "open": open_and_read,
    "create": lambda storage, uri: storage.create(uri, b"1"),
    "replace": lambda storage, uri: storage.replace(uri, b"1"),
    "delete": lambda storage, uri: storage.delete(uri),
}


def use(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def impatient(port: int, seconds: float = 0.15) -> Storage:
    """Storage at a port of this machine that waits for nothing long."""
    return Storage(
        StorageSettings(
            s3_endpoint_url=f"http://127.0.0.1:{port}",
            s3_connect_timeout_seconds=seconds,
            s3_read_timeout_seconds=seconds,
            s3_retries=1,
        )
    )


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are accepted and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def rude_port() -> Iterator[int]:
    """A port where every connection is cut in the middle of the answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        thread = threading.Thread(target=_cut_answers, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _cut_answers(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the test is over
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")


# What is not there


@pytest.mark.parametrize("name", ["read", "stat", "open"])
def test_a_missing_key_is_a_missing_input(output: str, storage: Storage, name: str) -> None:
    with pytest.raises(InputMissing, match="does not exist") as raised:
        CALLS[name](storage, f"{output}/nothing")
    assert f"{output}/nothing" in str(raised.value)


@pytest.mark.parametrize("name", ["list", "create", "replace"])
def test_a_missing_bucket_is_named(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    use(s3_bucket, monkeypatch)

    with pytest.raises(InputMissing, match="s3://no-such-bucket/folder does not exist"):
        CALLS[name](Storage(), "s3://no-such-bucket/folder")


def test_a_missing_bucket_is_found_out_by_the_probe(
    each_s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(each_s3_bucket, monkeypatch)
    Storage().probe(each_s3_bucket.key_uri("anything"))

    with pytest.raises(InputMissing, match="s3://no-such-bucket does not exist"):
        Storage().probe("s3://no-such-bucket/anything")


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("uri", ["s3://A_B/key", "s3://b/key", "s3://bucket/" + "k" * 1_100])
def test_what_s3_cannot_have_is_refused(s3_bucket: S3Bucket, uri: str) -> None:
    storage = Storage(StorageSettings(s3_endpoint_url=s3_bucket.endpoint_url))

    with pytest.raises(BulkError) as raised:
        storage.create(uri, b"1")
    assert not isinstance(raised.value, StorageUnavailable)


# What is refused


def test_a_wrong_secret_is_denied_to_every_call(
    ceph_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(ceph_bucket, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    storage = Storage()

    for call in CALLS.values():
        with pytest.raises(AccessDenied, match="access denied"):
            call(storage, ceph_bucket.key_uri("object"))


def test_a_wrong_secret_is_found_out_by_the_probe_with_the_endpoint(
    ceph_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(ceph_bucket, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")

    with pytest.raises(AccessDenied, match=ceph_bucket.endpoint_url):
        Storage().probe(ceph_bucket.uri)


def test_missing_credentials_are_told_with_the_variables_to_set(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    storage = Storage(StorageSettings(s3_endpoint_url=s3_bucket.endpoint_url))

    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
        storage.stat(s3_bucket.key_uri("object"))


def test_a_folder_without_permission_is_denied(tmp_path: Path, storage: Storage) -> None:
    tmp_path.chmod(0o500)
    folder = "/sys/kernel" if os.geteuid() == 0 else str(tmp_path)  # the kernel refuses root too

    with pytest.raises(AccessDenied, match="access denied"):
        storage.create(f"{folder}/bulkscore", b"1")


# What does not answer


@pytest.mark.usefixtures("credentials")
def test_a_port_where_nobody_listens_is_an_outage_to_every_call() -> None:
    all_fail(impatient(free_port()), "s3://bucket/key", "does not answer")


@pytest.mark.usefixtures("credentials")
def test_a_server_that_never_answers_is_an_outage_to_every_call(silent_port: int) -> None:
    all_fail(impatient(silent_port), "s3://bucket/key", "does not answer")


def all_fail(storage: Storage, uri: str, reason: str) -> None:
    """Make every call and check that each tells of the outage within a bounded time."""
    for name, call in CALLS.items():
        began = time.monotonic()
        with pytest.raises(StorageUnavailable) as raised:
            call(storage, uri)
        assert uri in str(raised.value), name
        assert re.search(reason, str(raised.value)), name
        assert time.monotonic() - began < 5, name


@pytest.mark.usefixtures("credentials")
def test_a_server_that_stops_reading_an_upload_is_an_outage(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_connection, "SLOWEST_UPLOAD_BYTES_PER_SECOND", 30_000_000)
    began = time.monotonic()

    with pytest.raises(StorageUnavailable, match="does not answer"):
        impatient(silent_port).create("s3://bucket/key", bytes(30_000_000))
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("name", ["stat", "list", "read", "create"])
def test_an_answer_that_breaks_off_is_an_outage(rude_port: int, name: str) -> None:
    began = time.monotonic()

    with pytest.raises(StorageUnavailable):
        CALLS[name](impatient(rude_port, seconds=1), "s3://bucket/key")
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("credentials")
def test_the_probe_of_a_server_that_never_answers_ends_within_ten_seconds(
    silent_port: int,
) -> None:
    settings = StorageSettings(s3_endpoint_url=f"http://127.0.0.1:{silent_port}")
    began = time.monotonic()

    with pytest.raises(StorageUnavailable, match=rf"endpoint http://127\.0\.0\.1:{silent_port}"):
        Storage(settings).probe("s3://bucket/key")
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("credentials")
def test_the_probe_of_a_port_where_nobody_listens_ends_at_once() -> None:
    settings = StorageSettings(s3_endpoint_url=f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()

    with pytest.raises(StorageUnavailable, match="does not answer"):
        Storage(settings).probe("s3://bucket/key")
    assert time.monotonic() - began < 5


# What answers badly


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
    began = time.monotonic()

    with pytest.raises(StorageUnavailable, match="SlowDown"):
        Storage().probe(s3_bucket.uri)
    assert time.monotonic() - began < 5


def test_a_key_that_is_too_long_for_the_disk_is_bad_usage(tmp_path: Path, storage: Storage) -> None:
    with pytest.raises(UsageError, match="File name too long"):
        storage.create(str(tmp_path / ("k" * 300)), b"1")
