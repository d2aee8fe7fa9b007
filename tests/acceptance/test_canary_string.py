"""A string that stands in every column of a corpus turns up nowhere but in the ids of the result.

One job with bad rows, a text at which the tokenizer panics and a chunk that dies; then everything
that any process wrote or sent is searched, and asked whether it says why the chunk died.
"""

import base64
import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import redis

from producer.sample import damage_text_page
from support.bad_models import PANIC, choking_model
from support.corpora import write_table
from support.daemon import free_port
from support.otlp import Receiver, attributes, otlp_receiver
from support.processes import run_cli, start_cli, start_command
from support.servers import ValkeyServer
from support.waiting import wait_until
from worker.tracing import job_context

pytestmark = pytest.mark.acceptance

CANARY = "xylophonist"
JOB = "canary-7"
ROWS = 12
PANICS, DEAD = 1, 2
LOGIN = "bulkscore:correct-horse"
PAGES = ("workers", "tasks", "broker", "api/workers", "api/tasks", "api/task/types")


@dataclass(frozen=True, kw_only=True)
class Written:
    """All that a job has left behind, by where it was found."""

    output: Path
    env: dict[str, str]
    log: str
    receiver: Receiver
    found: dict[str, bytes]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """A job that has ended with a dead chunk, watched in all that it says."""
    folder = tmp_path_factory.mktemp("canary")
    model, output = choking_model(folder / "model"), folder / "scored"
    for number in range(3):
        write_corpus(folder / "corpus" / f"{number}.parquet", number)
    damage_text_page(folder / "corpus" / f"{DEAD}.parquet")
    port, flower_port = free_port(), free_port()
    with ValkeyServer(folder) as broker, otlp_receiver() as receiver:
        env = {
            "BULKSCORE_REDIS_URL": broker.url,
            "BULKSCORE_LOG_LEVEL": "DEBUG",
            "BULKSCORE_HTTP_PORT": str(port),
            "BULKSCORE_RUN_DIR": str(folder / "run"),
            "BULKSCORE_MODEL_CACHE_DIR": str(folder / "cache"),
            "BULKSCORE_TORCH_THREADS": "1",
            "BULKSCORE_RECONCILE_SECONDS": "0.2",
            "BULKSCORE_FLOWER_PORT": str(flower_port),
            "BULKSCORE_FLOWER_PASSWORD": LOGIN.partition(":")[2],
            "XDG_STATE_HOME": str(folder / "state"),
        }
        traced = {**env, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        found: dict[str, bytes] = {}
        with Monitor(broker.url, found):
            command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
            with (
                start_command(command, env=traced) as worker,
                start_cli("flower", env=env, cwd=folder) as flower,
            ):
                worker.wait_for_output("ready", timeout=90)
                dashboard = f"http://127.0.0.1:{flower_port}"
                wait_until(lambda: get(f"{dashboard}/healthcheck"), 60, ignore=(OSError,))
                done = run_cli(
                    *("submit", "--wait", "--job-id", JOB, "--input", folder / "corpus"),
                    *("--model", model, "--text-column", "text", "--id-column", "id"),
                    *("--output", output, "--chunk-rows", "100"),
                    env=env,
                    timeout=180,
                )
                assert done.exit_code == 3, f"{done}\n{worker}"
                wait_until(lambda: len(roots(receiver)) >= 3, 30, message=lambda: worker.stderr)
                log = worker.stderr
                found["metrics"] = get(f"http://127.0.0.1:{port}/metrics")
                found["run dir"] = all_files(folder / "run")
                found |= shown_by_flower(dashboard)
            found["flower"] = (flower.stdout + flower.stderr).encode()
            all_of_it = worker.stderr
        with redis.Redis.from_url(broker.url) as client:
            found["redis"] = b"\n".join(
                key + b" " + (client.dump(key) or b"") + readable(client, key)
                for key in client.scan_iter()
            )
        found |= {"log": (worker.stdout + all_of_it).encode(), "submit": str(done).encode()}
        found["spans"] = b"".join(receiver.bodies)
        found["objects"] = b"".join(
            path.read_bytes()
            for path in sorted(output.rglob("*"))
            if path.is_file() and not path.name.startswith("part-")
        )
        found["state"] = all_files(folder / "state")
        yield Written(output=output, env=env, log=log, receiver=receiver, found=found)


def write_corpus(path: Path, number: int) -> None:
    texts = [f"the {CANARY} of row {row} was very good".encode() for row in range(ROWS)]
    texts[3:6] = [f"{CANARY} \udcff".encode(errors="surrogateescape"), b" ", CANARY.encode()]
    if number == PANICS:
        texts[5] = f"{CANARY} {PANIC}".encode()
    text = pa.Array.from_buffers(pa.string(), ROWS, pa.array(texts, pa.binary()).buffers())
    ids = [f"{CANARY}-{number}-{row}" for row in range(ROWS)]
    table = pa.table({"id": ids, "other": [CANARY] * ROWS, "text": text})
    write_table(path, table, use_dictionary=False, write_page_checksum=True)


class Monitor:
    """Every command that Redis is sent during the block."""

    def __init__(self, url: str, found: dict[str, bytes]) -> None:
        self._client, self._found, self._lines = (
            redis.Redis.from_url(url, socket_timeout=None),
            found,
            list[str](),
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._ready = threading.Event()

    def _listen(self) -> None:
        with self._client.monitor() as monitor:
            self._ready.set()
            for command in monitor.listen():
                self._lines.append(command["command"])
                if command["command"].endswith("that is all"):
                    return

    def __enter__(self) -> None:
        self._thread.start()
        self._ready.wait(10)

    def __exit__(self, *_: object) -> None:
        with self._client as client:
            client.echo("that is all")
            self._thread.join(20)
        assert not self._thread.is_alive()
        self._found["monitor"] = "\n".join(self._lines).encode()


def readable(client: redis.Redis, key: bytes) -> bytes:
    """Return a key that Redis may keep compressed in its dump."""
    match client.type(key):
        case b"hash":
            return repr(client.hgetall(key)).encode()
        case b"zset":
            return repr(client.zrange(key, 0, -1)).encode()
        case b"string":
            return client.get(key) or b""  # type: ignore[return-value]
    return b""


def shown_by_flower(dashboard: str) -> dict[str, bytes]:
    """Return pages and answers of the dashboard when it knows of the end of every task."""

    def tasks() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(get(f"{dashboard}/api/tasks"))
        return {uuid: task for uuid, task in found.items() if task["state"] == "SUCCESS"}

    wait_until(lambda: len(tasks()) >= 3, 30, message=lambda: f"the tasks, of which {tasks()}")
    pages = (*PAGES, *(f"task/{uuid}" for uuid in tasks()))
    return {f"flower {page}": get(f"{dashboard}/{page}") for page in pages}


def get(url: str) -> bytes:
    login = base64.b64encode(LOGIN.encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {login}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        body: bytes = answer.read()
    return body


def all_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def roots(receiver: Receiver) -> list[Any]:
    return [span for span in receiver.spans if not span.parent_span_id]


def test_the_string_is_nowhere_but_in_the_ids_of_the_result(written: Written) -> None:
    commands = (
        ("show", JOB),
        ("show", str(written.output), "--chunk", str(DEAD)),
        ("show", str(written.output), "--chunk", str(DEAD), "--json"),
        ("dead-letters", str(written.output), "--show", str(DEAD)),
        ("logs", str(written.output)),
        ("logs", str(written.output), "--json"),
        ("replay", str(written.output), "--chunk", str(PANICS), "--careful"),
        ("replay", str(written.output), "--chunk", str(DEAD)),
    )
    said = {" ".join(words): str(run_cli(*words, env=written.env)) for words in commands}

    for place, content in {**written.found, **{k: v.encode() for k, v in said.items()}}.items():
        where = content.find(CANARY.encode())
        assert where < 0, f"{place}: {content[max(0, where - 300) : where + 100]!r}"
    assert len(written.found["monitor"]) > 1_000
    panicked, died = (text for words, text in said.items() if words.startswith("replay"))
    assert "1 tokenizer_failed: rows 5" in panicked
    assert "failed [input_corrupt]" in died
    assert JOB.encode() in written.found["flower tasks"] + written.found["flower api/tasks"]
    results = [pq.read_table(path) for path in sorted(written.output.glob("part-*.parquet"))]
    assert len(results) == 2
    for table in results:
        assert all(CANARY in value for value in table["id"].to_pylist())
        assert CANARY not in str(table.drop_columns(["id"]).to_pylist())
    errors = pc.value_counts(pa.chunked_array([c for t in results for c in t["error"].chunks]))
    assert {e["values"]: e["counts"] for e in errors.to_pylist() if e["values"]} == {
        "text_invalid_utf8": 2,
        "text_blank": 2,
        "tokenizer_failed": 1,
    }


def test_each_line_of_the_log_is_json_and_those_of_an_attempt_say_which(written: Written) -> None:
    # Before logging is set up, Celery warns of a worker that is run by root.
    raw = written.log[written.log.index("\n{") :].splitlines()
    lines = [json.loads(line) for line in raw if line.startswith("{")]
    other = [line for line in raw if line and not line.startswith("{")]

    ends = [line for line in lines if line.get("action") == "attempt_ended"]
    (buried,) = [line for line in lines if line.get("action") == "buried"]
    names = {"job_id": JOB, "chunk": DEAD, "attempt": 1, "generation": 0}
    assert sorted(line["chunk"] for line in ends) == [0, 1, 2]
    assert names.items() <= buried.items()
    assert buried["model"].endswith("model")
    assert buried["worker"]
    assert other == [], "not JSON"


def test_an_attempt_is_a_trace_with_its_stages_and_linked_to_its_job(written: Written) -> None:
    spans = written.receiver.spans
    trace_id, span_id = job_context(JOB)

    by_chunk = {attributes(span)["bulkscore.chunk"]: span for span in roots(written.receiver)}
    assert set(by_chunk) == {0, 1, DEAD}
    assert len({span.trace_id for span in by_chunk.values()}) == 3
    for chunk, root in by_chunk.items():
        (link,) = root.links
        assert int.from_bytes(link.trace_id) == trace_id
        assert int.from_bytes(link.span_id) == span_id
        stages = {span.name: span for span in spans if span.parent_span_id == root.span_id}
        assert {"load", "read"} <= set(stages)
        if chunk != DEAD:
            assert set(stages) == {"load", "read", "tokenize", "score", "write"}
        for span in stages.values():
            assert span.trace_id == root.trace_id
            assert root.start_time_unix_nano - 10**7 <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= root.end_time_unix_nano
    assert attributes(by_chunk[DEAD])["bulkscore.code"] == "input_corrupt"
    assert attributes(by_chunk[0])["bulkscore.outcome"] == "succeeded"
