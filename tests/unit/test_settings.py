"""Settings come from the command line, the environment, secret files or defaults, in that order."""

from pathlib import Path

import pytest

from schemas.errors import ConfigurationError, ExitCode
from schemas.settings import (
    BrokerSettings,
    ScheduleSettings,
    StorageSettings,
    WorkerSettings,
    load,
    redact,
)

Patch = pytest.MonkeyPatch


def test_without_any_variable_the_defaults_hold() -> None:
    settings = load(BrokerSettings)

    assert settings.redis_url == "redis://127.0.0.1:6379/0"


def test_the_environment_goes_before_a_secret_file_and_an_argument_before_both(
    monkeypatch: Patch, tmp_path: Path
) -> None:
    secret = tmp_path / "url"
    secret.write_text("redis://file/0\n")
    monkeypatch.setenv("BULKSCORE_REDIS_URL_FILE", str(secret))
    from_file = load(BrokerSettings)
    monkeypatch.setenv("BULKSCORE_REDIS_URL", "redis://environment/0")
    from_environment = load(BrokerSettings)

    from_argument = load(BrokerSettings, redis_url="redis://argument/0")

    assert from_file.redis_url == "redis://file/0"
    assert from_environment.redis_url == "redis://environment/0"
    assert from_argument.redis_url == "redis://argument/0"


def test_an_argument_that_was_not_given_leaves_the_environment_in_place(monkeypatch: Patch) -> None:
    monkeypatch.setenv("BULKSCORE_WINDOW_CHUNKS", "7")

    assert load(ScheduleSettings, window_chunks=None).window_chunks == 7


def test_an_empty_variable_counts_as_not_set(monkeypatch: Patch) -> None:
    monkeypatch.setenv("BULKSCORE_S3_ENDPOINT_URL", "")
    monkeypatch.setenv("BULKSCORE_S3_RETRIES", "")
    monkeypatch.setenv("BULKSCORE_REDIS_URL_FILE", "")

    assert load(StorageSettings).s3_endpoint_url is None
    assert load(StorageSettings).s3_retries == 2
    assert load(BrokerSettings).redis_url == "redis://127.0.0.1:6379/0"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not UTF-8"])
def test_a_secret_file_that_cannot_be_read_is_named_with_its_variable(
    monkeypatch: Patch, tmp_path: Path, content: bytes | None
) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    monkeypatch.setenv("BULKSCORE_REDIS_URL_FILE", str(secret))

    with pytest.raises(ConfigurationError, match="BULKSCORE_REDIS_URL_FILE") as caught:
        load(BrokerSettings)

    assert str(secret) in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "variable", "value"),
    [
        (ScheduleSettings, "BULKSCORE_WINDOW_CHUNKS", "many"),
        (ScheduleSettings, "BULKSCORE_WINDOW_CHUNKS", "0"),
        (ScheduleSettings, "BULKSCORE_LEASE_SECONDS", "nan"),
        (ScheduleSettings, "BULKSCORE_LEASE_SECONDS", "inf"),
        (ScheduleSettings, "BULKSCORE_MAX_ATTEMPTS", "-1"),
        (StorageSettings, "BULKSCORE_S3_RETRIES", "99"),
        (WorkerSettings, "BULKSCORE_DEVICE", "tpu"),
        (WorkerSettings, "BULKSCORE_LOG_LEVEL", "LOUD"),
        (BrokerSettings, "BULKSCORE_REDIS_URL", "localhost:6379"),
        (BrokerSettings, "BULKSCORE_REDIS_URL", "http://localhost:6379"),
        (BrokerSettings, "BULKSCORE_REDIS_URL", "redis://"),
        (BrokerSettings, "BULKSCORE_REDIS_URL", "redis://host:port"),
        (BrokerSettings, "BULKSCORE_REDIS_URL", "redis://[::1"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_and_its_variable_named(
    monkeypatch: Patch,
    kind: type[BrokerSettings] | type[ScheduleSettings],
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError, match=f"{variable}: ") as caught:
        load(kind)

    assert caught.value.exit_code is ExitCode.CONFIGURATION


def test_a_refused_url_is_not_quoted_with_its_password(monkeypatch: Patch) -> None:
    monkeypatch.setenv("BULKSCORE_REDIS_URL", "redis://:hidden@host:port")

    with pytest.raises(ConfigurationError) as caught:
        load(BrokerSettings)

    assert "hidden" not in str(caught.value)


def test_settings_do_not_show_the_broker_url_and_cannot_be_changed() -> None:
    settings = load(BrokerSettings, redis_url="redis://:hidden@host:1/0")

    assert "hidden" not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.redis_url = "redis://other/0"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:hidden@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://user:hidden@host/1", "rediss://user:***@host/1"),
        ("redis://user:h%40dden@[::1]:6379/0", "redis://user:***@[::1]:6379/0"),
        ("unix:///run/redis.sock?db=1&password=hidden", "unix:///run/redis.sock?db=1&password=***"),
        ("redis://user@host/0", "redis://user@host/0"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_the_endpoint_is_ours_or_that_of_s3_or_that_of_aws(monkeypatch: Patch) -> None:
    found = [load(StorageSettings).s3_endpoint_url]

    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "BULKSCORE_S3_ENDPOINT_URL"):
        monkeypatch.setenv(variable, f"http://{variable.lower()}")
        found.append(load(StorageSettings).s3_endpoint_url)

    assert found == [
        None,
        "http://aws_endpoint_url",
        "http://aws_endpoint_url_s3",
        "http://bulkscore_s3_endpoint_url",
    ]


def test_a_lost_message_is_put_back_only_after_a_lost_worker_s_lease_has_run_out() -> None:
    schedule = load(ScheduleSettings)

    assert schedule.enqueue_grace_seconds > schedule.lease_seconds


@pytest.mark.parametrize("variable", ["BULKSCORE_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize("url", ["minio", "minio:9000", "ftp://minio", "http://", "http://h:x"])
def test_an_endpoint_that_is_no_http_url_is_a_configuration_error(
    monkeypatch: Patch, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)

    with pytest.raises(ConfigurationError, match=r"S3_ENDPOINT_URL.*expected http"):
        load(StorageSettings)
