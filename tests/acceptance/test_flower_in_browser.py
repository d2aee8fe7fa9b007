"""`bulkscore flower` as a person sees it: a real browser, with a real worker and a real job.

Set BULKSCORE_TEST_SCREENSHOTS to a folder to keep a picture of each page.
"""

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from producer.sample import damage_text_page
from support.browser import open_browser
from support.corpora import make_table, write_table
from support.daemon import free_port
from support.models import tiny_model
from support.processes import run_cli, start_cli
from support.servers import ValkeyServer
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

# Read before the fixtures clear `BULKSCORE_*`.
SCREENSHOTS = os.environ.get("BULKSCORE_TEST_SCREENSHOTS")
JOB = "nightly"
USER, PASSWORD = "bulkscore", "correct-horse"
# In every text and in nothing else: what of it shows up anywhere has leaked.
SECRET = "xylophonist"


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A dashboard that has seen the job come to its end."""

    port: int

    def url(self, path: str = "", *, login: str = f"{USER}:{PASSWORD}@") -> str:
        return f"http://{login}127.0.0.1:{self.port}/{path}"

    def get(self, path: str) -> bytes:
        """Return what the API answers to one who has logged in."""
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            self.url(path, login=""), headers={"Authorization": f"Basic {token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            body: bytes = answer.read()
        return body

    def status_without_login(self, path: str) -> int:
        try:
            with urllib.request.urlopen(self.url(path, login=""), timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture(scope="module")
def dashboard(
    tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer
) -> Iterator[Dashboard]:
    """A broker, a worker and a dashboard, and a job of four chunks one of which died."""
    valkey.empty()
    folder = tmp_path_factory.mktemp("flower")
    port = free_port()
    env = {
        "BULKSCORE_REDIS_URL": valkey.url,
        "BULKSCORE_FLOWER_PASSWORD": PASSWORD,
        "BULKSCORE_FLOWER_PORT": str(port),
        "BULKSCORE_MODEL_CACHE_DIR": str(folder / "cache"),
        "BULKSCORE_TORCH_THREADS": "1",
    }
    with (
        start_cli("worker", "--device", "cpu", "--name", "gpu-7", env=env) as worker,
        start_cli("flower", env=env, cwd=folder) as flower,
    ):
        worker.wait_for_output("ready", timeout=60)
        wait_until(
            lambda: Dashboard(port=port).status_without_login("api/workers") == 401,
            60,
            message=lambda: f"the dashboard\n{flower}",
            ignore=(OSError,),
        )
        submit_job_with_a_damaged_file(folder, env)
        yield Dashboard(port=port)


def submit_job_with_a_damaged_file(folder: Path, env: dict[str, str]) -> None:
    texts = [f"the {SECRET} of row {row} was very good" for row in range(30)]
    for number in range(4):
        write_table(
            folder / "corpus" / f"{number}.parquet",
            make_table(texts, first_id=30 * number),
            use_dictionary=False,
            write_page_checksum=True,
        )
    damage_text_page(folder / "corpus" / "2.parquet")
    done = run_cli(
        *("submit", "--wait", "--job-id", JOB, "--input", folder / "corpus"),
        *("--model", tiny_model(folder / "model"), "--text-column", "text", "--id-column", "id"),
        *("--output", folder / "scored", "--chunk-rows", "30"),
        env=env,
    )
    assert done.exit_code == 3, done


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


def shown(browser: WebDriver, name: str) -> str:
    """Return the text a person can read on the page, and keep a picture if wanted."""
    if SCREENSHOTS:
        browser.save_screenshot(str(Path(SCREENSHOTS) / f"flower-{name}.png"))
    return browser.find_element(By.TAG_NAME, "body").text


def tasks(dashboard: Dashboard) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dashboard.get("api/tasks"))
    return found


def test_the_worker_is_shown(dashboard: Dashboard, browser: WebDriver) -> None:
    browser.get(dashboard.url("workers"))

    wait_until(lambda: "gpu-7" in shown(browser, "workers"), message="the worker")

    assert "Online" in shown(browser, "workers")
    assert SECRET not in browser.page_source


def test_every_task_says_which_chunk_of_which_job_it_was_and_how_that_ended(
    dashboard: Dashboard, browser: WebDriver
) -> None:
    browser.get(dashboard.url("tasks"))

    wait_until(lambda: f"job={JOB} chunk=3" in shown(browser, "tasks"), message="the tasks")

    lines = shown(browser, "tasks").splitlines()
    for chunk, outcome in enumerate(("succeeded", "succeeded", "dead", "succeeded")):
        start = f"job={JOB} chunk={chunk} generation=0 '{outcome}'"
        assert any(line.startswith(start) for line in lines), lines
    assert SECRET not in browser.page_source


def test_the_page_of_a_task_that_buried_its_chunk_says_so_without_a_text(
    dashboard: Dashboard, browser: WebDriver
) -> None:
    uuid = next(u for u, t in tasks(dashboard).items() if "chunk=2 " in t["kwargs"])

    browser.get(dashboard.url(f"task/{uuid}"))

    page = shown(browser, "task")
    assert f"job={JOB} chunk=2 generation=0" in page
    assert "dead" in page
    assert SECRET not in browser.page_source


def test_the_api_knows_every_chunk_and_no_text(dashboard: Dashboard) -> None:
    answer = dashboard.get("api/tasks")

    kwargs = {task["kwargs"] for task in json.loads(answer).values()}
    assert kwargs == {f"job={JOB} chunk={chunk} generation=0" for chunk in range(4)}
    assert SECRET.encode() not in answer


def test_metrics_are_for_those_who_log_in_and_show_no_text(dashboard: Dashboard) -> None:
    metrics = dashboard.get("metrics")

    assert b"flower_events_total" in metrics
    assert SECRET.encode() not in metrics


def test_a_probe_needs_no_login(dashboard: Dashboard) -> None:
    assert dashboard.status_without_login("healthcheck") == 200


@pytest.mark.parametrize(
    "path", ["", "workers", "tasks", "broker", "api/tasks", "api/workers", "metrics"]
)
def test_without_the_password_there_is_nothing_to_see(dashboard: Dashboard, path: str) -> None:
    assert dashboard.status_without_login(path) == 401
