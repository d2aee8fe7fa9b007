"""Secrets are nowhere to be read, and no message can bring code along."""

import base64
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from schemas.settings import BrokerSettings, StorageSettings, load
from support.corpora import write_corpus
from support.processes import run_cli, start_command
from support.servers import ValkeyServer
from support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

# Planted; none may be in any output, in `ps`, or in what a record says of itself.
SECRETS = ("planted-redis-pw", "planted-aws-secret", "planted-session-token", "planted-flower-pw")


def env(folder: Path, port: int) -> dict[str, str]:
    """Settings with secrets, as files where there is a choice, for servers that do not answer."""
    (folder / "redis-url").write_text(f"redis://producer:{SECRETS[0]}@127.0.0.1:{port}/0\n")
    (folder / "flower-password").write_text(SECRETS[3])
    return {
        "BULKSCORE_REDIS_URL_FILE": str(folder / "redis-url"),
        "BULKSCORE_FLOWER_PASSWORD_FILE": str(folder / "flower-password"),
        "BULKSCORE_LOG_LEVEL": "DEBUG",
        "BULKSCORE_S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "BULKSCORE_S3_RETRIES": "1",
        "AWS_ACCESS_KEY_ID": "AKPLANTED",
        "AWS_SECRET_ACCESS_KEY": SECRETS[1],
        "AWS_SESSION_TOKEN": SECRETS[2],
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def assert_silent(text: str) -> None:
    assert text
    assert [secret for secret in SECRETS if secret in text] == [], text


def test_commands_that_fail_say_no_secret(
    valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = env(tmp_path, valkey.port)
    corpus = write_corpus(tmp_path / "a.parquet", 10)
    submit = ("submit", "--input", corpus, "--model", "s3://models/m", "--text-column", "text")
    for words in (
        ("doctor", "--output", "s3://results/x"),
        (*submit, "--output", "s3://results/x"),
        ("flower",),
    ):
        done = run_cli(*words, env=planted, timeout=60)
        assert done.exit_code not in (0, 1), done
        assert_silent(done.stdout + done.stderr)

    # A worker whose Redis is not there waits for it, and says so for as long.
    away = {**planted, **env(tmp_path, 1)}
    command = [sys.executable, "-P", "-m", "worker", "--device=cpu"]
    with start_command(command, env=away) as running:
        running.wait_for_output("Cannot connect to redis", timeout=60)
        assert_silent(" ".join(" ".join(psutil.Process(p).cmdline()) for p in running.processes()))
        assert_silent(running.stdout + running.stderr)

    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    assert_silent(repr([load(BrokerSettings), load(StorageSettings)]))


class _Bomb:
    """What runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.mark,)


def test_a_worker_unpickles_no_message(valkey: ValkeyServer, tmp_path: Path) -> None:
    valkey.empty()
    mark = tmp_path / "code-was-run"
    message = {
        "body": base64.b64encode(pickle.dumps(([_Bomb(mark)], {}, {}))).decode(),
        "content-encoding": "binary",
        "content-type": "application/x-python-serialize",
        "headers": {"id": "bomb", "task": "bulkscore.score_chunk", "lang": "py", "argsrepr": ""},
        "properties": {
            "body_encoding": "base64",
            "correlation_id": "bomb",
            "delivery_info": {"exchange": "", "routing_key": "bulkscore.normal"},
            "delivery_tag": "bomb",
        },
    }
    command = [sys.executable, "-P", "-m", "worker", "--device=cpu"]
    settings = {"BULKSCORE_REDIS_URL": valkey.url}
    with valkey.client() as client, start_command(command, env=settings) as running:
        client.lpush("bulkscore.normal", json.dumps(message))
        running.wait_for_output("Refusing to deserialize untrusted content", timeout=90)
        wait_until(lambda: not client.llen("bulkscore.normal") and not client.hlen("unacked"))
        assert running.poll() is None, running
        assert not mark.exists()
