"""A broker or a store that cannot be used is named, with exit code 69, within 15 seconds."""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from support import corpora
from support.live_stack import LiveStack
from support.processes import CompletedCli
from support.s3 import S3Bucket

pytestmark = pytest.mark.acceptance

# Unreachable things must be told of within so many seconds.
TOLD_SECONDS = 15


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield int(server.getsockname()[1])


@pytest.fixture(scope="module")
def finished(stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a job that is done."""
    folder = tmp_path_factory.mktemp("finished")
    path, output = corpora.write_corpus(folder / "a.parquet", 30), folder / "scored"
    done = stack.submit(path, output, "--job-id", "finished", "--wait")
    assert done.exit_code == 0, done
    return output


def assert_unreachable(done: CompletedCli, *says: str) -> None:
    assert done.exit_code == 69, done
    assert "Traceback" not in done.stderr, done
    assert done.seconds < TOLD_SECONDS, done
    for words in says:
        assert words in done.stderr, f"{words!r} is not said:\n{done}"


def waits_for_an_answer(commands: Sequence[list[str]]) -> list[ParameterSet]:
    """Each of the commands with nobody answering; it waits for that, so most are slow tests."""
    return [
        pytest.param("no answer", command, marks=[pytest.mark.slow] if number % 4 else [])
        for number, command in enumerate(commands)
    ]


NEED_THE_BROKER = (
    ["jobs"],
    ["show", "finished"],
    ["watch", "finished"],
    ["wait", "finished"],
    ["cancel", "finished"],
    ["dead-letters", "finished"],
    ["reprocess", "finished"],
    ["reconcile"],
    ["resume", "OUTPUT"],
    ["wait", "OUTPUT"],
    ["submit"],
)


@pytest.mark.parametrize(
    ("trouble", "command"),
    [
        *(("nobody listens", command) for command in NEED_THE_BROKER),
        *waits_for_an_answer(NEED_THE_BROKER[::2]),
        *(("wrong password", command) for command in NEED_THE_BROKER[::2]),
    ],
    ids=lambda words: words if isinstance(words, str) else " ".join(words),
)
def test_a_broker_that_cannot_be_used_is_named_in_time(
    stack: LiveStack,
    finished: Path,
    tmp_path: Path,
    silent_port: int,
    command: list[str],
    trouble: str,
) -> None:
    output = tmp_path / "scored"
    words = [word.replace("OUTPUT", str(finished)) for word in command]
    if command == ["submit"]:
        path = corpora.write_corpus(tmp_path / "a.parquet", 10)
        words += stack.scoring(path, "--output", output)
    port = {"nobody listens": 1, "no answer": silent_port, "wrong password": stack.broker.port}

    url = f"redis://:not-it@127.0.0.1:{port[trouble]}/0"
    done = stack.cli(*words, env={"BULKSCORE_REDIS_URL": url})

    code = "broker_refused" if trouble == "wrong password" else "broker_unavailable"
    assert_unreachable(done, f"error [{code}]", f"127.0.0.1:{port[trouble]}")
    assert "not-it" not in done.stderr
    assert not output.exists()


NEED_THE_STORAGE = (
    ["plan", "--input", "s3://corpus/a.parquet"],
    ["submit", "--input", "s3://corpus/a.parquet", "--output", "LOCAL"],
    ["submit", "--input", "CORPUS", "--output", "s3://results/scored"],
    ["submit", "--input", "CORPUS", "--output", "LOCAL", "--model", "s3://models/sentiment"],
    ["run", "--input", "CORPUS", "--output", "s3://results/scored"],
    ["show", "s3://results/scored"],
    ["watch", "s3://results/scored"],
    ["dead-letters", "s3://results/scored"],
    ["reprocess", "s3://results/scored"],
    ["resume", "s3://results/scored"],
    ["verify", "s3://results/scored"],
    ["report", "s3://results/scored"],
    ["doctor", "--output", "s3://results/scored"],
)


@pytest.mark.parametrize(
    ("trouble", "command"),
    [
        *waits_for_an_answer(NEED_THE_STORAGE),
        *(("nobody listens", command) for command in NEED_THE_STORAGE[::3]),
    ],
    ids=lambda words: words if isinstance(words, str) else " ".join(words),
)
def test_storage_that_cannot_be_reached_is_named_in_time(
    stack: LiveStack, tmp_path: Path, silent_port: int, command: list[str], trouble: str
) -> None:
    path, local = corpora.write_corpus(tmp_path / "a.parquet", 10), tmp_path / "scored"
    places = {"CORPUS": str(path), "LOCAL": str(local)}
    words = [places.get(word, word) for word in command]
    if command[0] in ("plan", "submit", "run"):
        words += ["--text-column", "text"]
        words += [] if "--model" in words else ["--model", str(stack.model)]
    endpoint = f"http://127.0.0.1:{silent_port if trouble == 'no answer' else 1}"
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "not-it"}

    done = stack.cli(*words, env={"BULKSCORE_S3_ENDPOINT_URL": endpoint, **keys})

    bucket = next(word for word in command if word.startswith("s3://")).split("/")[2]
    told = done.stdout if command[0] == "doctor" else done.stderr
    assert f"s3://{bucket}" in told, done
    assert endpoint in told, done
    assert "not-it" not in done.stdout + done.stderr
    assert_unreachable(done)
    assert not local.exists()


def test_wrong_credentials_for_storage_are_told_apart_from_storage_that_is_away(
    stack: LiveStack, tmp_path: Path, ceph_bucket: S3Bucket
) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet", 10)
    env = {**ceph_bucket.env, "AWS_SECRET_ACCESS_KEY": "not-it"}

    done = stack.submit(path, ceph_bucket.key_uri("scored"), env=env)
    shown = stack.cli("verify", ceph_bucket.key_uri("scored"), env=env)

    for told in (done, shown):
        assert_unreachable(told, "error [credentials_refused]", f"s3://{ceph_bucket.name}")
        assert "not-it" not in told.stderr
    assert ceph_bucket.filesystem().ls(ceph_bucket.uri) == []
