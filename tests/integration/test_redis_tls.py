"""Redis by TLS: the certificate is verified everywhere, and what is refused is said."""

from collections.abc import Iterator
from pathlib import Path

import kombu.pools
import pytest

from producer.broker import UNUSABLE, Broker, celery_app
from schemas.errors import BrokerRefused, BrokerUnavailable, ExitCode
from schemas.ledger import Ledger
from schemas.redis_connection import broker_error
from schemas.settings import BrokerSettings, load
from support.certificates import Authority
from support.secured_redis import SecuredRedis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredRedis]:
    with SecuredRedis(tmp_path_factory.mktemp("redis")) as running:
        yield running


def settings(server: SecuredRedis, **changes: str | None) -> BrokerSettings:
    given: dict[str, str | None] = {
        "redis_url": server.url("producer"),
        "redis_ca_file": str(server.authority.file),
    }
    return load(BrokerSettings, **{**given, **changes})


def connect_kombu(url: str) -> None:
    """Connect as Celery does, without its several tries."""
    kombu.pools.reset()  # they know a connection by its address alone
    try:
        connection = celery_app(url).connection_for_write()
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    except UNUSABLE as error:
        raise broker_error(url, error) from error


def test_the_certificate_is_verified_by_redis_py_and_by_kombu(server: SecuredRedis) -> None:
    for host in ("127.0.0.1", "localhost"):
        trusted = settings(server, redis_url=server.url("producer", host=host))
        Ledger(trusted).ping()
        Broker(trusted.redis_url).publish_task("task")


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("no authority", "cannot be trusted.*BULKSCORE_REDIS_CA_FILE"),
        ("another authority", "cannot be trusted.*BULKSCORE_REDIS_CA_FILE"),
        ("another host", "cannot be trusted.*127.0.0.2"),
        ("another password", "refuses the login"),
        ("no such user", "refuses the login"),
        ("no TLS", "does not answer"),
    ],
)
def test_what_is_refused_is_said_by_both(
    server: SecuredRedis, tmp_path: Path, trouble: str, says: str
) -> None:
    url = server.url("producer")
    cases: dict[str, dict[str, str | None]] = {
        "no authority": {"redis_ca_file": None},
        "another authority": {"redis_ca_file": str(Authority(tmp_path).file)},
        "another host": {"redis_url": server.url("producer", host="127.0.0.2")},
        "another password": {"redis_url": server.url("producer", password="not-it")},
        "no such user": {"redis_url": url.replace("producer:", "stranger:")},
        "no TLS": {"redis_url": url.replace("rediss", "redis")},
    }
    wrong = settings(server, **cases[trouble])
    kind = BrokerUnavailable if trouble == "no TLS" else BrokerRefused

    with pytest.raises(kind, match=says) as by_redis:
        Ledger(wrong).ping()
    with pytest.raises(kind, match=says) as by_kombu:
        connect_kombu(wrong.redis_url)

    for error in (by_redis.value, by_kombu.value):
        assert "not-it" not in str(error)
        assert server.passwords["producer"] not in str(error)


def test_where_redis_asks_for_a_certificate_of_the_client_ours_is_shown_by_both(
    server: SecuredRedis,
) -> None:
    certificate, key = server.authority.issue("client", "localhost")
    known = settings(server, redis_cert_file=str(certificate), redis_key_file=str(key))
    unknown = settings(server)
    with server.client() as admin:
        admin.config_set("tls-auth-clients", "yes")
        try:
            Ledger(known).ping()
            connect_kombu(known.redis_url)
            Broker(known.redis_url).publish_task("task")

            # In TLS 1.3 the client hears of it after its handshake, or finds the line cut.
            for connect in (Ledger(unknown).ping, lambda: connect_kombu(unknown.redis_url)):
                with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{server.port}") as error:
                    connect()
                assert error.value.exit_code == ExitCode.UNAVAILABLE
        finally:
            admin.config_set("tls-auth-clients", "optional")
