"""The servers that other tests rely on start, answer, and leave nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from botocore.exceptions import ClientError

from support.guard import RUN_ID_VARIABLE, process_exists, processes_of_run
from support.s3 import S3Bucket
from support.servers import CephServer, ValkeyServer
from support.waiting import wait_until

pytestmark = pytest.mark.integration

StartValkey = Callable[..., ValkeyServer]


def test_redis_url_gives_an_empty_server_that_asks_for_its_password(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")

    without_password = "redis://" + redis_url.partition("@")[2]
    with (
        redis.Redis.from_url(without_password) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_redis_url_is_empty_again_in_the_next_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize(("append_only", "kept"), [(True, b"1"), (False, None)])
def test_a_restarted_valkey_keeps_its_data_only_with_the_append_only_file(
    start_valkey: StartValkey, append_only: bool, kept: bytes | None
) -> None:
    server = start_valkey(append_only=append_only)
    with server.client() as client:
        client.set("key", 1)

    server.restart()

    with server.client() as client:
        assert client.get("key") == kept


def test_a_paused_valkey_answers_only_after_it_is_resumed(start_valkey: StartValkey) -> None:
    server = start_valkey(password=None)
    with server.client(socket_timeout=0.2, retry=None) as client:
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()

        server.resume()

        assert client.ping()


def test_a_killed_valkey_is_gone_and_can_be_started_again(start_valkey: StartValkey) -> None:
    server = start_valkey()
    first = server.pid

    server.kill()

    assert not process_exists(first)
    server.restart()
    assert server.running


def test_servers_die_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    run_id = tmp_path.name
    program = (
        "import sys, time; from pathlib import Path; from support.servers import *\n"
        f"ValkeyServer(Path({str(tmp_path)!r})).start(); print('up', flush=True); time.sleep(60)"
    )
    path = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, RUN_ID_VARIABLE: run_id},
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"up\n"
        assert len(processes_of_run(run_id)) == 2

        run.send_signal(signal.SIGKILL)

    wait_until(lambda: not processes_of_run(run_id), 5, message="the end of the server")


def test_a_bucket_takes_one_create_once_write(each_s3_bucket: S3Bucket) -> None:
    key = f"{each_s3_bucket.name}/part"
    each_s3_bucket.filesystem().pipe_file(key, b"first", mode="create")

    with pytest.raises(OSError) as refusal:  # noqa: PT011 - each server has its own words
        each_s3_bucket.filesystem().pipe_file(key, b"second", mode="create")

    assert isinstance(refusal.value.__cause__, ClientError)
    assert refusal.value.__cause__.response["Error"]["Code"] == "PreconditionFailed"
    assert each_s3_bucket.filesystem().cat_file(key) == b"first"


def test_ceph_refuses_a_wrong_secret(ceph_bucket: S3Bucket) -> None:
    with pytest.raises(PermissionError):
        ceph_bucket.filesystem(secret="wrong").ls(ceph_bucket.name)


@pytest.mark.slow
def test_ceph_keeps_its_data_through_a_kill(ceph_s3: CephServer, ceph_bucket: S3Bucket) -> None:
    key = f"{ceph_bucket.name}/part"
    ceph_bucket.filesystem().pipe_file(key, b"kept")
    before = ceph_s3.pids

    ceph_s3.kill()

    assert not any(process_exists(pid) for pid in before)
    ceph_s3.restart()
    assert ceph_bucket.filesystem().cat_file(key) == b"kept"


def test_missing_programs_skip_here_and_fail_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.ceph.PROGRAMS", ("no-such-program",))

    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception):
        CephServer()

    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        CephServer()
