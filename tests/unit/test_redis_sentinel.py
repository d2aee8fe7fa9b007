"""What a URL of sentinels says, and what redis-py and kombu are told of it."""

from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.redis_connection import connect
from schemas.redis_sentinel import sentinels
from schemas.settings import BrokerSettings, load, redact
from schemas.transport import celery_settings
from support.certificates import Authority

NODES = "a.example:26380,b.example,[::1]:26379"
URL = f"sentinel://worker:s%40cret@{NODES}/2?master_name=main&sentinel_password=other"


def test_nodes_primary_database_and_logins_are_read() -> None:
    found = sentinels(URL)
    assert found.nodes == (("a.example", 26380), ("b.example", 26379), ("::1", 26379))
    assert (found.master_name, found.database) == ("main", 2)
    assert found.sentinel_login == {"password": "other"}
    assert found.tls == {}


def test_the_client_logs_in_to_the_primary_with_the_decoded_password() -> None:
    settings = load(BrokerSettings, redis_url=URL)
    with connect(settings) as client:
        told = client.connection_pool.connection_kwargs
    assert (told["username"], told["password"], told["db"]) == ("worker", "s@cret", 2)
    assert told["socket_timeout"] == settings.redis_socket_timeout_seconds


def test_kombu_is_told_each_sentinel_and_the_name_of_the_primary() -> None:
    settings = celery_settings(load(BrokerSettings, redis_url=URL).redis_url)
    first, _, third = settings["broker_url"].split(";")
    assert first == "sentinel://worker:s%40cret@a.example:26380/2"
    assert third == "sentinel://worker:s%40cret@[::1]:26379/2"
    options = settings["broker_transport_options"]
    assert options["master_name"] == "main"
    assert options["sentinel_kwargs"] == {"password": "other"}
    assert settings["broker_use_ssl"] is None


def test_with_tls_primary_and_sentinels_are_verified_alike(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    url = load(
        BrokerSettings,
        redis_url=URL.replace("sentinel:", "sentinels:"),
        redis_ca_file=authority.file,
    ).redis_url
    settings = celery_settings(url)
    watchers = settings["broker_transport_options"]["sentinel_kwargs"]
    for options in (settings["broker_use_ssl"], watchers):
        assert options["ssl_ca_certs"] == str(authority.file)
        assert options["ssl_cert_reqs"].name == "CERT_REQUIRED"
        assert options["ssl_check_hostname"]
    assert watchers["ssl"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sentinel://a:1", "master_name"),
        ("sentinel://a:1?master_name=", "master_name"),
        ("sentinel://a:1,,b:2?master_name=m", "expected host:port of a sentinel, not ''"),
        ("sentinel://a:x?master_name=m", "expected host:port of a sentinel, not 'a:x'"),
        ("sentinel://a:1/first?master_name=m", "the database is a number, not 'first'"),
        ("sentinel://a:1?master_name=m&quorum=2", "unknown option quorum"),
        ("sentinels://a:1?master_name=m&ssl_cert_reqs=none", "leave the server unverified"),
    ],
)
def test_a_url_that_is_not_complete_is_refused(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match="BULKSCORE_REDIS_URL") as refused:
        load(BrokerSettings, redis_url=url)
    assert says in str(refused.value)


def test_files_of_tls_ask_for_the_scheme_with_tls(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="write sentinels://"):
        load(BrokerSettings, redis_url=URL, redis_ca_file=Authority(tmp_path).file)


def test_no_password_is_shown_in_either_form() -> None:
    assert redact(URL) == (
        f"sentinel://worker:***@{NODES}/2?master_name=main&sentinel_password=***"
    )
    several = redact(sentinels(URL).kombu_url)
    assert "s%40cret" not in several
    assert several.count(":***@") == 3
