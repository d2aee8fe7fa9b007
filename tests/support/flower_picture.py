"""`PYTHONPATH=tests python -m support.flower_picture docs/figures/flower.png`: the dashboard.

Of a job that runs on two workers, with chunks that died.
"""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from producer.sample import damage_text_page
from schemas.ledger import Ledger
from schemas.settings import BrokerSettings
from schemas.states import ChunkState
from support.browser import open_browser
from support.corpora import make_table, write_table
from support.daemon import accepts_connections, free_port
from support.models import tiny_model
from support.processes import run_cli, start_cli
from support.servers import ValkeyServer
from support.texts import distinct_texts
from support.waiting import wait_until

JOB = "reviews-2026-06-01"
PASSWORD = "correct-horse"
FILES, ROWS, DAMAGED = 40, 120, (3, 8)
SHOWN_AFTER = 10
WAIT_SECONDS = 300.0


def main(picture: Path) -> None:
    """Run the job and take the picture in the middle of it."""
    with tempfile.TemporaryDirectory(prefix="bulkscore-flower-") as name, ExitStack() as stack:
        folder, port = Path(name), free_port()
        broker = stack.enter_context(ValkeyServer(folder))
        env = {
            "BULKSCORE_REDIS_URL": broker.url,
            "BULKSCORE_FLOWER_PASSWORD": PASSWORD,
            "BULKSCORE_FLOWER_PORT": str(port),
            "BULKSCORE_MODEL_CACHE_DIR": str(folder / "cache"),
            "BULKSCORE_TORCH_THREADS": "1",
        }
        for number in range(2):
            name = f"gpu-{number}"
            stack.enter_context(start_cli("worker", "--device", "cpu", "--name", name, env=env))
        stack.enter_context(start_cli("flower", "--read-only", env=env, cwd=folder))
        wait_until(lambda: accepts_connections(port), WAIT_SECONDS, message="the dashboard")
        submit(folder, env)
        ledger = Ledger(BrokerSettings(redis_url=broker.url))

        def shown() -> bool:
            chunks = ledger.status(JOB).chunks
            return chunks[ChunkState.SUCCEEDED] + chunks[ChunkState.DEAD] >= SHOWN_AFTER

        wait_until(shown, WAIT_SECONDS, message="chunks that have ended")
        browser = stack.enter_context(open_browser(folder / "chromium", width=1900, height=1000))
        browser.get(f"http://bulkscore:{PASSWORD}@127.0.0.1:{port}/tasks")
        wait_until(lambda: JOB in browser.page_source, WAIT_SECONDS, message="the tasks")
        assert not ledger.status(JOB).ended, "the job was over before the picture was taken"
        browser.save_screenshot(str(picture))


def submit(folder: Path, env: dict[str, str]) -> None:
    """Submit a job of a chunk a file, whose rows are batches of their own, so that it lasts."""
    texts = distinct_texts(ROWS)
    for number in range(FILES):
        file = folder / "corpus" / f"{number:02}.parquet"
        write_table(
            file,
            make_table(texts, first_id=ROWS * number),
            use_dictionary=False,
            write_page_checksum=True,
        )
        if number in DAMAGED:
            damage_text_page(file)
    done = run_cli(
        *("submit", "--job-id", JOB, "--input", folder / "corpus", "--output", folder / "scored"),
        *("--model", tiny_model(folder / "model"), "--text-column", "text"),
        *("--chunk-rows", str(ROWS), "--token-budget", "1"),
        env=env,
    )
    assert done.exit_code == 0, done


if __name__ == "__main__":
    main(Path(sys.argv[1]))
