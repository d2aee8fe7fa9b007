"""An attempt at a chunk that fails leaves nothing behind, and a second one changes nothing."""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas import layout
from schemas.errors import DeviceOutOfMemory, InputCorrupt, LeaseLost, StorageUnavailable
from schemas.results import ResultAccount, read_account
from schemas.storage import Storage
from support import bad_corpora
from support.chunk_jobs import TEXTS, different_texts, job_of
from support.files import limited_to, open_under
from support.scoring import plan_job, score, threads_beside
from support.word_models import word_model
from worker.heartbeat import HandBack
from worker.reader import FIRST_WINDOW_ROWS


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder in which temporary files of this test come and go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def fail_in_batch(number: int, error: BaseException) -> Callable[[int], None]:
    def before_batch(batch: int) -> None:
        if batch == number:
            raise error

    return before_batch


@pytest.mark.parametrize("batch", [0, FIRST_WINDOW_ROWS // 16 + 2], ids=["first", "second window"])
@pytest.mark.parametrize(
    "error", [DeviceOutOfMemory("full"), MemoryError(), KeyboardInterrupt()], ids=repr
)
def test_an_engine_that_fails_leaves_nothing_behind(
    tmp_path: Path, scratch: Path, batch: int, error: BaseException
) -> None:
    manifest = job_of(tmp_path, different_texts(12_000), chunk_rows=20_000)
    model = word_model(before_batch=fail_in_batch(batch, error))

    with pytest.raises(type(error)):
        score(Storage(), manifest, model)

    assert_nothing_is_left(tmp_path, scratch)


@pytest.mark.parametrize("error", [HandBack(), LeaseLost("another has it")], ids=repr)
def test_a_chunk_that_is_given_up_between_batches_leaves_nothing_behind(
    tmp_path: Path, scratch: Path, error: Exception
) -> None:
    manifest = job_of(tmp_path, TEXTS * 2_000, chunk_rows=20_000)
    told: list[int] = []

    def progress(tokens: int) -> None:
        told.append(tokens)
        if told.count(0) == 2 and tokens:
            raise error

    with pytest.raises(type(error)):
        score(Storage(), manifest, word_model(), progress=progress)

    assert_nothing_is_left(tmp_path, scratch)


def test_a_page_that_does_not_decode_leaves_nothing_of_the_rows_before_it(
    tmp_path: Path, scratch: Path
) -> None:
    path = bad_corpora.write_damaged_row_group(tmp_path / "corpus.parquet", row_group=2)
    manifest = plan_job(Storage(), path, tmp_path / "scored", word_model(), chunk_rows=500)

    with pytest.raises(InputCorrupt) as raised:
        score(Storage(), manifest, word_model())

    assert raised.value.row_group == 2
    assert_nothing_is_left(tmp_path, scratch)


def test_a_disk_that_is_full_is_trouble_that_may_pass_and_leaves_nothing_behind(
    tmp_path: Path, scratch: Path
) -> None:
    manifest = job_of(tmp_path, TEXTS * 2_000, chunk_rows=20_000)

    with limited_to(20_000), pytest.raises(StorageUnavailable, match="File too large"):
        score(Storage(), manifest, word_model())

    assert_nothing_is_left(tmp_path, scratch)


def test_an_engine_that_gives_too_few_logits_is_a_bug_and_no_result(
    tmp_path: Path, scratch: Path
) -> None:
    manifest = job_of(tmp_path, TEXTS)

    with pytest.raises(AssertionError, match=r"logits of shape \(3, 2\) for 3 rows, 3 labels"):
        score(Storage(), manifest, word_model(label_count=2))

    assert_nothing_is_left(tmp_path, scratch)


def test_a_second_attempt_returns_nothing_and_leaves_the_result_as_it_is(tmp_path: Path) -> None:
    manifest = job_of(tmp_path, TEXTS * 10)
    result = Path(layout.result(manifest.spec.output, 0))
    score(Storage(), manifest, word_model(), attempt=1)
    before = result.read_bytes(), result.stat().st_mtime_ns

    again = score(Storage(), manifest, word_model(), attempt=2)

    assert again is None
    assert (result.read_bytes(), result.stat().st_mtime_ns) == before


def test_two_attempts_at_once_make_one_result_and_one_account(tmp_path: Path) -> None:
    manifest = job_of(tmp_path, TEXTS * 100)
    together = threading.Barrier(2)
    accounts: list[ResultAccount | None] = []

    def attempt(number: int) -> None:
        model = word_model(before_batch=lambda batch: batch or together.wait(10))
        accounts.append(score(Storage(), manifest, model, attempt=number))

    threads = [threading.Thread(target=attempt, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (created,) = [account for account in accounts if account is not None]
    assert len(accounts) == 2
    assert read_account(Storage(), layout.result(manifest.spec.output, 0)) == created


def assert_nothing_is_left(tmp_path: Path, scratch: Path) -> None:
    results = list((tmp_path / "scored").glob("**/*.parquet"))
    assert [path for path in results if not path.name.startswith("chunks-")] == []
    assert list(scratch.iterdir()) == []
    assert threads_beside() == []
    assert open_under(tmp_path) == []
