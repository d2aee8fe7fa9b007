"""A store that is silent, or breaks off, is an outage within a bounded time."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from schemas import s3_connection
from schemas.errors import StorageUnavailable
from schemas.settings import StorageSettings
from schemas.storage import Storage
from support.daemon import free_port
from support.storage_calls import CALLS, all_fail

pytestmark = pytest.mark.integration


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


@pytest.mark.usefixtures("credentials")
def test_a_port_where_nobody_listens_is_an_outage_to_every_call() -> None:
    all_fail(impatient(free_port()), "s3://bucket/key", "does not answer")


@pytest.mark.usefixtures("credentials")
def test_a_server_that_never_answers_is_an_outage_to_every_call(silent_port: int) -> None:
    all_fail(impatient(silent_port), "s3://bucket/key", "does not answer")


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
