"""Versions appear whole and never change, aliases move for one at a time, history only grows."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from producer.unfinished import find_unfinished, remove_unfinished
from schemas.errors import (
    AliasMoved,
    BulkError,
    InputMissing,
    ModelIncompatible,
    StorageFull,
    UsageError,
    VersionTaken,
)
from schemas.model_files import pin_model
from schemas.model_version import Alias, VersionManifest
from schemas.registry import SIGNATURE, Registry
from schemas.signature import Signature
from schemas.storage import Storage
from support.models import tiny_model
from worker.lifecycle.publish import Draft, publish

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("models")
    return [tiny_model(root / str(seed), seed=seed) for seed in range(2)]


@pytest.fixture
def registry(output: str, storage: Storage) -> Registry:
    return Registry(storage, output)


def draft(folder: Path) -> Draft:
    pin = pin_model(Storage(), str(folder))
    signature = Signature(
        model_type=pin.model_type,
        problem_type=pin.problem_type,
        labels=pin.labels,
        max_length=pin.max_length,
        padding_side="right",
        golden=(),
        libraries={},
    )
    body = signature.model_dump_json().encode()
    return Draft(pin=pin, source=folder, documents={SIGNATURE: body})


def move(registry: Registry, version: str, alias: str = "prod") -> Alias:
    now = registry.alias("m", alias)
    before = () if now is None else (*now.before, now.version)
    return registry.move("m", alias, version, expected=now, action="promote", before=before)


def files_of(registry: Registry, version: VersionManifest) -> set[str]:
    place = registry.version_place(version.name, version.version)
    found = registry.storage.list_objects(place, recursive=True)
    return {stat.uri.removeprefix(f"{place}/") for stat in found}


def test_a_version_is_pinned_as_the_folder_it_was_made_of(
    registry: Registry, models: list[Path]
) -> None:
    made = draft(models[0])

    version = publish(registry, made, "m", "1")
    move(registry, "1")

    for ref in ("m@1", "m@prod"):
        pin = pin_model(registry.storage, ref, registry.root)
        assert (pin.name, pin.version, pin.ref) == ("m", "1", "m@1")
        assert (pin.digest, pin.files, pin.labels) == (
            made.pin.digest,
            made.pin.files,
            made.pin.labels,
        )
        assert pin.uri == registry.folder(version)
        assert pin.signature is not None


def test_a_version_without_a_name_is_called_by_time_and_digest(
    registry: Registry, models: list[Path]
) -> None:
    made = draft(models[0])

    version = publish(registry, made, "m")

    assert version.version.endswith(f"-{made.pin.digest[:8]}")
    assert [v.version for v in registry.versions("m")] == [version.version]
    assert registry.names() == ["m"]


def test_the_same_content_again_is_the_version_there_is_and_another_one_is_refused(
    registry: Registry, models: list[Path]
) -> None:
    first = publish(registry, draft(models[0]), "m", "1")

    assert publish(registry, draft(models[0]), "m", "1") == first
    with pytest.raises(VersionTaken, match="another content"):
        publish(registry, draft(models[1]), "m", "1")

    assert registry.resolve("m@1") == first


def test_of_two_publishers_at_once_one_wins_and_its_version_is_whole(
    registry: Registry, models: list[Path]
) -> None:
    drafts = [draft(folder) for folder in models]
    start = threading.Barrier(2)

    def attempt(number: int) -> bool:
        start.wait()
        try:
            publish(Registry(Storage(), registry.root), drafts[number], "m", "1")
        except VersionTaken:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(attempt, range(2)))

    version = registry.resolve("m@1")
    assert won.count(True) == 1
    assert version.digest == drafts[won.index(True)].pin.digest
    assert pin_model(registry.storage, "m@1", registry.root).digest == version.digest


def test_what_a_killed_publisher_left_is_no_version_and_in_nobodys_way(
    output: str, registry: Registry, models: list[Path]
) -> None:
    _publish_and_die(output, models[0])

    assert registry.versions("m") == []
    assert [left.size > 1_000 for left in find_unfinished(registry, "m")] == [True]
    assert list(remove_unfinished(registry, "m", older_than=timedelta(hours=1))) == []
    with pytest.raises(InputMissing, match="no version or alias 1"):
        registry.resolve("m@1")
    version = publish(registry, draft(models[1]), "m", "1")
    assert {name.partition("/")[0] for name in files_of(registry, version)} == {
        "manifest.json",
        version.folder,
    }


def test_what_was_left_is_removed_when_it_is_old_and_no_version_is_touched(
    registry: Registry, models: list[Path]
) -> None:
    whole = publish(registry, draft(models[0]), "m", "1")
    for version in ("1", "2"):
        left = registry.version_place("m", version, "files-dead", "model.safetensors")
        registry.storage.replace(left, b"half")
    before = files_of(registry, whole)
    tomorrow = Registry(
        registry.storage, registry.root, clock=lambda: datetime.now(UTC) + timedelta(hours=25)
    )

    assert list(remove_unfinished(registry, "m", older_than=timedelta(hours=24))) == []
    gone = list(remove_unfinished(tomorrow, "m", older_than=timedelta(hours=24)))

    assert {left.uri.removeprefix(registry.place("m", "versions/")) for left in gone} == {
        "1/files-dead",
        "2/files-dead",
    }
    assert files_of(registry, whole) == before - {"files-dead/model.safetensors"}
    assert find_unfinished(registry, "m") == []
    assert pin_model(registry.storage, "m@1", registry.root).digest == whole.digest


def test_a_disk_that_is_full_in_the_middle_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model", hidden=256, layers=4, intermediate_size=1024)
    registry = Registry(Storage(), str(small_disk / "registry"))

    with pytest.raises(StorageFull):
        publish(registry, draft(model), "m", "1")

    assert registry.versions("m") == []
    assert list(registry.storage.list_objects(registry.root, recursive=True)) == []


def test_a_document_or_file_that_was_changed_is_refused(
    registry: Registry, models: list[Path]
) -> None:
    version = publish(registry, draft(models[0]), "m", "1")
    place = f"{registry.folder(version)}/{SIGNATURE}"
    original = registry.storage.read(place)

    registry.storage.replace(place, original.replace(b"positive", b"negative"))
    with pytest.raises(ModelIncompatible, match=r"signature\.json was changed"):
        pin_model(registry.storage, "m@1", registry.root)
    registry.storage.replace(place, original)
    registry.storage.replace(f"{registry.folder(version)}/model.safetensors", b"short")
    with pytest.raises(ModelIncompatible, match=r"model\.safetensors is not the file"):
        pin_model(registry.storage, "m@1", registry.root)


def test_of_many_who_move_an_alias_at_once_one_wins_and_the_others_are_told_who(
    registry: Registry, models: list[Path]
) -> None:
    for version in ("1", "2", "3"):
        publish(registry, draft(models[0]), "m", version)
    for alias, expected in (("new", None), ("prod", move(registry, "1"))):
        outcomes = _race(registry, alias, expected)

        (won,) = (o for o in outcomes if isinstance(o, Alias))
        lost = [o for o in outcomes if isinstance(o, AliasMoved)]
        assert registry.alias("m", alias) == won
        assert len(lost) == 3
        assert all(f"by {won.moved_by}" in str(error) for error in lost)


def _race(registry: Registry, alias: str, expected: Alias | None) -> Sequence[object]:
    start = threading.Barrier(4)

    def attempt(number: int) -> object:
        mine = Registry(Storage(), registry.root)
        start.wait()
        try:
            return mine.move(
                "m",
                alias,
                "23"[number % 2],
                expected=expected,
                action="promote",
                before=(),
                reason=str(number),
            )
        except BulkError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(attempt, range(4)))


def test_an_alias_to_nowhere_is_told(registry: Registry, models: list[Path]) -> None:
    version = publish(registry, draft(models[0]), "m", "1")
    move(registry, "1")
    registry.storage.delete(registry.version_place("m", "1", "manifest.json"))

    with pytest.raises(InputMissing, match="points to version 1, which does not exist"):
        registry.resolve("m@prod")
    with pytest.raises(InputMissing, match="no version 1"):
        move(registry, version.version)


def test_history_is_in_order_also_when_clocks_differ(
    registry: Registry, models: list[Path]
) -> None:
    for version in ("1", "2"):
        publish(registry, draft(models[0]), "m", version)
    move(registry, "1")
    late = Registry(
        registry.storage, registry.root, clock=lambda: datetime.now(UTC) - timedelta(hours=1)
    )
    move(late, "2")

    moves = [(e.action, e.alias, e.before, e.version) for e in registry.history("m") if e.alias]

    assert moves == [("promote", "prod", None, "1"), ("promote", "prod", "1", "2")]


def test_the_note_of_a_mover_who_died_is_written_by_the_next(
    registry: Registry, models: list[Path]
) -> None:
    for version in ("1", "2"):
        publish(registry, draft(models[0]), "m", version)
    move(registry, "1")
    registry.storage.delete_folder(registry.place("m", "history"))

    move(registry, "2")

    assert [event.version for event in registry.history("m")] == ["1", "2"]


@pytest.mark.parametrize("name", ["", ".", "..", "../m", "a/b", "a b", "-a", "a\n", "x" * 64])
def test_a_name_that_could_lead_elsewhere_is_refused(
    registry: Registry, models: list[Path], name: str
) -> None:
    made = draft(models[0])

    with pytest.raises(UsageError):
        publish(registry, made, name, "1")
    if name:
        with pytest.raises(UsageError):
            publish(registry, made, "m", name)
    with pytest.raises(UsageError):
        registry.alias("m", name)


def test_version_and_alias_never_have_one_name(registry: Registry, models: list[Path]) -> None:
    publish(registry, draft(models[0]), "m", "1")
    move(registry, "1")

    with pytest.raises(UsageError, match="alias of m has this name"):
        publish(registry, draft(models[0]), "m", "prod")
    with pytest.raises(UsageError, match="a version of m has this name"):
        move(registry, "1", "1")


def _publish_and_die(root: str, model: Path) -> None:
    """Publish in a process that is killed when half of the files are there."""
    program = (
        "import sys, time\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parent)]!r}\n"
        "from pathlib import Path\n"
        "from test_registry import draft\n"
        "from schemas.registry import Registry\n"
        "from schemas.storage import Storage\n"
        "from worker.lifecycle.publish import publish\n"
        "class Slow(Storage):\n"
        "    def replace(self, uri, data):\n"
        "        print('half', flush=True)\n"
        "        time.sleep(60)\n"
        f"publish(Registry(Slow(), {root!r}), draft(Path({str(model)!r})), 'm', '1')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
