"""What is refused before anything connects, and what never shows a secret."""

from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import BrokerSettings, load, redact
from schemas.transport import celery_settings
from support.certificates import Authority

URL = "rediss://producer:s3cret@redis.example:6380/0"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("ssl_cert_reqs=none", "ssl_cert_reqs=none would leave the server unverified"),
        ("ssl_cert_reqs=optional", "ssl_cert_reqs=optional would"),
        ("ssl_check_hostname=false", "ssl_check_hostname=false would"),
        ("ssl_ca_certs=/nowhere/ca.crt", "the authority /nowhere/ca.crt cannot be read"),
    ],
)
def test_a_url_cannot_switch_the_verification_off(query: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"BULKSCORE_REDIS_URL.*{says}") as refused:
        load(BrokerSettings, redis_url=f"{URL}?{query}")
    assert "s3cret" not in str(refused.value)


def test_files_of_tls_are_looked_at_first(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    _, key = authority.issue("worker", "worker")
    (tmp_path / "junk").write_text("no certificate")
    for files in (
        {"redis_ca_file": tmp_path / "gone"},
        {"redis_ca_file": tmp_path / "junk"},
        {"redis_cert_file": authority.file, "redis_key_file": key},
    ):
        with pytest.raises(ConfigurationError, match=str(next(iter(files.values())))):
            load(BrokerSettings, redis_url=URL, **files)
    with pytest.raises(ConfigurationError, match="write rediss://"):
        load(BrokerSettings, redis_url="redis://far/0", redis_ca_file=authority.file)
    # The private server of `run` and `up` is on loopback.
    load(BrokerSettings, redis_url="redis://127.0.0.1:1/0", redis_ca_file=authority.file)


def test_celery_is_told_to_verify(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    settings = load(BrokerSettings, redis_url=URL, redis_ca_file=authority.file)
    options = celery_settings(settings.redis_url)["broker_use_ssl"]
    assert options["ssl_ca_certs"] == str(authority.file)
    assert (options["ssl_cert_reqs"].name, options["ssl_check_hostname"]) == ("CERT_REQUIRED", True)
    bare = celery_settings(load(BrokerSettings, redis_url=URL).redis_url)["broker_use_ssl"]
    assert (bare["ssl_cert_reqs"].name, bare["ssl_check_hostname"]) == ("CERT_REQUIRED", True)
    assert celery_settings("redis://127.0.0.1/0")["broker_use_ssl"] is None


def test_a_url_is_shown_without_password_and_options_of_tls() -> None:
    assert redact(f"{URL}?ssl_ca_certs=/a&password=x&ssl_cert_reqs=required") == (
        "rediss://producer:***@redis.example:6380/0&password=***"
    )
