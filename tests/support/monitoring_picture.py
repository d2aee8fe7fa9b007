"""Takes a picture of Prometheus' own graphs while a job runs.

Usage: PYTHONPATH=tests python -m support.monitoring_picture docs/figures/prometheus.png
"""

import sys
import tempfile
import time
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

from selenium.webdriver.common.by import By

from schemas.ledger import Ledger
from schemas.settings import BrokerSettings
from support.browser import open_browser
from support.corpora import make_table, write_table
from support.daemon import find_program, free_port
from support.models import tiny_model
from support.monitoring import RULES
from support.processes import run_cli, start_cli, start_command
from support.requirements import missing
from support.servers import ValkeyServer
from support.texts import distinct_texts
from support.waiting import wait_until

CHUNK_ROWS = 400
CHUNKS = 24
SECONDS = 75
GRAPHS = (
    "sum(rate(bulkscore_rows_scored_total[20s]))",
    "sum by (stage) (rate(bulkscore_stage_seconds_total[20s]))",
    "label_replace(max(bulkscore_chunks_pending), 'chunks', 'pending', '', '')"
    " or sum by (outcome) (bulkscore_chunk_attempts_total)",
)
GRAPH_PIXELS = 840


def main(picture: Path) -> None:
    """Run a job, have Prometheus look at it, and photograph what it draws."""
    ports = {name: free_port() for name in ("worker", "reconciler", "prometheus")}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulkscore-picture-")))
        broker = stack.enter_context(ValkeyServer(folder))
        env = {
            "BULKSCORE_REDIS_URL": broker.url,
            "BULKSCORE_MODEL_CACHE_DIR": str(folder / "cache"),
            "BULKSCORE_TORCH_THREADS": "1",
        }
        worker = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
        for name, started in (
            ("worker", lambda **given: start_command(worker, **given)),
            ("reconciler", lambda **given: start_cli("reconcile", "--forever", **given)),
        ):
            port = {"BULKSCORE_HTTP_PORT": str(ports[name])}
            stack.enter_context(started(env={**env, **port}))
        stack.enter_context(start_command(_prometheus(folder, ports)))
        texts = [*distinct_texts(CHUNK_ROWS * CHUNKS - CHUNKS), *[None] * CHUNKS]
        write_table(folder / "corpus.parquet", make_table(texts), row_group_rows=CHUNK_ROWS)
        done = run_cli(
            *("submit", "--input", folder / "corpus.parquet", "--job-id", "picture"),
            *("--model", tiny_model(folder / "model"), "--text-column", "text"),
            *("--output", folder / "scored", "--chunk-rows", str(CHUNK_ROWS)),
            *("--token-budget", "1"),
            env=env,
        )
        assert done.exit_code == 0, done
        ledger = Ledger(BrokerSettings(redis_url=broker.url))
        wait_until(lambda: ledger.status("picture").rows_scored > 0, 120)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and not ledger.status("picture").ended:
            time.sleep(1)
        _photograph(ports["prometheus"], picture, folder / "chromium")


def _prometheus(folder: Path, ports: dict[str, int]) -> list[str]:
    targets = [f"127.0.0.1:{ports[name]}" for name in ("worker", "reconciler")]
    configuration = folder / "prometheus.yml"
    configuration.write_text(
        f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{RULES}']\n"
        f"scrape_configs: [{{job_name: bulkscore, static_configs: [{{targets: {targets}}}]}}]\n"
    )
    program = find_program("prometheus")
    if program is None:
        missing("prometheus is not installed")
    return [
        str(program),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
    ]


def _photograph(port: int, picture: Path, profile: Path) -> None:
    asked: dict[str, str] = {}
    for number, query in enumerate(GRAPHS):
        asked |= {
            f"g{number}.expr": query,
            f"g{number}.tab": "0",
            f"g{number}.range_input": "2m",
            f"g{number}.step_input": "1",
        }
    with open_browser(profile, width=1000, height=GRAPH_PIXELS * len(GRAPHS)) as browser:
        browser.get(f"http://127.0.0.1:{port}/graph?{urllib.parse.urlencode(asked)}")
        wait_until(lambda: len(browser.find_elements(By.TAG_NAME, "svg")) >= len(GRAPHS), 60)
        time.sleep(2)  # for the last curve
        browser.execute_script("window.scrollTo(0, 0)")
        picture.parent.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(picture))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
