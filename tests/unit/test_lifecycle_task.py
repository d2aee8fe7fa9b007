"""What a worker is asked to do means there what it means here, and what it says is understood."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from producer.task_arguments import for_worker
from schemas.errors import ConfigurationError, InputMissing, StorageFull, UsageError
from schemas.storage import Storage
from schemas.task_record import LifecycleTask, TaskFolder, TaskOutcome, open_tasks, tasks_root
from worker.lifecycle.task_work import told_error

TIME = datetime(2025, 6, 1, 20, 15, tzinfo=UTC)


def test_local_paths_become_absolute_and_all_else_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "encoder").mkdir()

    asked = for_worker(
        [
            *("--model=encoder", "--model=tiny-bert", "--baseline=mood@prod", "--out=mood"),
            *("--out=./mood", "--data=train.csv", "--data=s3://lake/a.csv", "--labels=a/b"),
            *("--record", "--", "mood@1"),
        ]
    )

    assert asked.arguments == (
        *(f"--model={tmp_path}/encoder", "--model=tiny-bert", "--baseline=mood@prod"),
        *("--out=mood", f"--out={tmp_path}/mood", f"--data={tmp_path}/train.csv"),
        *("--data=s3://lake/a.csv", "--labels=a/b", "--record", "--", "mood@1"),
    )
    assert asked.local_paths == [f"{tmp_path}/{name}" for name in ("encoder", "mood", "train.csv")]


def test_a_gate_goes_with_the_request_and_a_report_comes_back(tmp_path: Path) -> None:
    (tmp_path / "strict.yaml").write_text("accuracy: {min: 0.9}")

    asked = for_worker([f"--gate={tmp_path}/strict.yaml", f"--report={tmp_path}/r.html"])

    assert asked.arguments == ("--gate=gate.yaml", "--report=report.html")
    assert asked.files == {"gate.yaml": "accuracy: {min: 0.9}"}
    assert asked.keeps == {"report.html": tmp_path / "r.html"}
    with pytest.raises(InputMissing, match=r"none\.yaml"):
        for_worker(["--gate=none.yaml"])


def test_the_error_a_module_tells_of_is_the_one_it_raised() -> None:
    told = told_error("error [storage_full]: /models: no room")

    assert type(told) is StorageFull
    assert str(told) == "/models: no room"
    assert told_error("error [unheard_of]: x") is None
    assert told_error("step 3/9  loss 0.2") is None
    assert type(told_error("error [usage]: x")) is UsageError


def test_tasks_need_a_registry() -> None:
    with pytest.raises(ConfigurationError, match="BULKSCORE_MODELS_URI"):
        tasks_root(None)


def test_a_task_ends_once_and_is_open_until_then(tmp_path: Path) -> None:
    storage, root = Storage(), tasks_root(str(tmp_path))
    for name in ("evaluate-20250601-201501-00000b", "train-20250601-201500-00000a"):
        task = LifecycleTask(
            task_id=name, kind="train", arguments=(), created_at=TIME, created_by="me"
        )
        assert TaskFolder(storage, f"{root}/{name}").create(task)
    assert [name[:5] for name in open_tasks(storage, root)] == ["train", "evalu"]
    folder = TaskFolder(storage, f"{root}/train-20250601-201500-00000a")
    for attempt in (2, 10, 1):
        folder.write_log(attempt, b"said")

    first = folder.end(outcome("succeeded"))
    second = folder.end(outcome("cancelled"))

    assert (first.state, second.state) == ("succeeded", "succeeded")
    assert [name[:5] for name in open_tasks(storage, root)] == ["evalu"]
    assert [uri.rpartition("/")[2] for uri in folder.logs()] == [
        *("log-1.txt", "log-2.txt", "log-10.txt")
    ]


def outcome(state: str) -> TaskOutcome:
    return TaskOutcome.model_validate(
        {
            "task_id": "train-20250601-201500-00000a",
            "state": state,
            "exit_code": 0,
            "ended_at": TIME,
        }
    )
