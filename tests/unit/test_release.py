"""Promoting asks a gate, rolling back goes one version back each time, and nothing in use goes."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from producer.cli import models
from producer.gate import failures
from producer.registry import promote, remove, rollback, verify
from schemas.errors import GateFailed, InputMissing, ModelIncompatible, UsageError
from schemas.gate import parse_gate
from schemas.model_version import Alias, PlainFile, VersionManifest
from schemas.registry import METRICS, Registry
from schemas.storage import Storage


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Storage(), str(tmp_path))


def publish(registry: Registry, version: str, accuracy: float | None = None) -> None:
    """Create a version that has no model, only metrics."""
    body = json.dumps({"accuracy": accuracy}).encode()
    document = PlainFile(path=METRICS, size=len(body), sha256=hashlib.sha256(body).hexdigest())
    manifest = VersionManifest(
        name="m",
        version=version,
        created_at=registry.clock(),
        created_by="me",
        bulkscore_version="0",
        folder="files-1",
        digest="0" * 64,
        files=(),
        documents=() if accuracy is None else (document,),
    )
    registry.storage.create(f"{registry.folder(manifest)}/{METRICS}", body)
    place = registry.version_place("m", version, "manifest.json")
    registry.storage.create(place, manifest.model_dump_json().encode())


def test_a_version_that_is_worse_or_was_not_measured_is_not_promoted(registry: Registry) -> None:
    for version, accuracy in (("1", 0.90), ("2", 0.895), ("3", 0.88), ("4", None)):
        publish(registry, version, accuracy)
    promote(registry, "m@1", "prod")
    promote(registry, "m@2", "prod")

    with pytest.raises(GateFailed, match=r"accuracy: 0\.88 is more than 0\.01 below 0\.895"):
        promote(registry, "m@3", "prod")
    with pytest.raises(GateFailed, match="no metrics were recorded"):
        promote(registry, "m@4", "prod")

    assert registry.resolve("m@prod").version == "2"
    assert promote(registry, "m@4", "prod", gated=False).version == "4"


def test_a_rollback_goes_one_version_back_each_time(registry: Registry) -> None:
    for version in ("1", "2", "3", "4"):
        publish(registry, version, 0.9)
        promote(registry, f"m@{version}", "prod")
    remove(registry, "m@2")

    assert rollback(registry, "m", "prod").version == "3"
    assert rollback(registry, "m", "prod").version == "1"
    with pytest.raises(UsageError, match="no version before 1"):
        rollback(registry, "m", "prod")

    actions = [event.action for event in registry.history("m")]
    assert actions == ["promote"] * 4 + ["remove", "rollback", "rollback"]


def test_a_version_that_an_alias_points_to_is_not_removed(registry: Registry) -> None:
    publish(registry, "1", 0.9)
    promote(registry, "m@1", "prod")

    with pytest.raises(UsageError, match="alias prod points to it"):
        remove(registry, "m@1")
    with pytest.raises(InputMissing):
        remove(registry, "m@9")

    assert registry.resolve("m@prod").version == "1"


def test_changed_metrics_are_refused(registry: Registry) -> None:
    publish(registry, "1", 0.9)
    version = registry.resolve("m@1")
    registry.storage.replace(f"{registry.folder(version)}/{METRICS}", b'{"accuracy": 1.0}')

    with pytest.raises(ModelIncompatible, match=r"metrics\.json was changed"):
        promote(registry, "m@1", "prod")
    with pytest.raises(ModelIncompatible):
        verify(registry, "m@1")


def test_a_gate_asks_what_its_file_says() -> None:
    gate = parse_gate(b'{"accuracy": {"min": 0.9}, "f1": {"max_drop_from_alias": 0.1}}', "gate")

    assert failures(gate, {"accuracy": 0.9, "f1": 0.5}, None) == []
    assert failures(gate, {"accuracy": 0.8, "f1": 0.5}, {"f1": 0.7}) == [
        "accuracy: 0.8 is below 0.9",
        "f1: 0.5 is more than 0.1 below 0.7",
    ]
    assert failures(gate, {"accuracy": 0.9}, {}) == ["f1: not recorded"]


@pytest.mark.parametrize("content", [b"[1]", b'{"accuracy": {"least": 1}}', b"{", b"a: b: c"])
def test_a_gate_that_makes_no_sense_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="gate here"):
        parse_gate(content, "here")


def test_the_commands_release_and_take_back(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()
    app.command("other")(lambda: None)
    models.register(app)
    monkeypatch.setenv("BULKSCORE_MODELS_URI", registry.root)
    for version in ("1", "2"):
        publish(registry, version, 0.9)

    def run(*args: str) -> str:
        done = CliRunner().invoke(app, ["models", *args], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert run("promote", "m@1", "--alias", "prod") == "m@1\n"
    assert run("promote", "m@2", "--alias", "prod", "--no-gate", "--reason", "why") == "m@2\n"
    assert "prod" in run("list", "m")
    assert run("rollback", "m", "--alias", "prod") == "m@1\n"
    assert json.loads(run("rm", "m@2", "--json")) == {"removed": "m@2"}
    assert [v["version"] for v in json.loads(run("list", "--json"))] == ["1"]

    left = Path(registry.version_place("m", "3", "files-dead", "config.json"))
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    told = run("rm", "m", "--unfinished")
    assert "nothing" in told
    assert f"of no version: {left.parent}" in told
    os.utime(left, (0, 0))
    assert json.loads(run("rm", "m", "--unfinished", "--json")) == {"removed": [str(left.parent)]}
    assert not left.parent.exists()


@pytest.mark.parametrize("alias", ["prod", "new"])
def test_a_version_that_is_removed_while_an_alias_moves_to_it_leaves_the_alias_as_it_was(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, alias: str
) -> None:
    publish(registry, "1", 0.9)
    publish(registry, "2", 0.9)
    promote(registry, "m@1", "prod")
    swap = Registry._swap

    def removed_meanwhile(self: Registry, moved: Alias, expected: Alias | None) -> bool:
        monkeypatch.setattr(Registry, "_swap", swap)
        remove(self, "m@2")
        return swap(self, moved, expected)

    monkeypatch.setattr(Registry, "_swap", removed_meanwhile)
    with pytest.raises(InputMissing, match=f"m@2 was removed while {alias} was moved to it"):
        promote(registry, "m@2", alias)

    assert [a.alias for a in registry.aliases("m")] == ["prod"]
    assert registry.resolve("m@prod").version == "1"
    assert [event.version for event in registry.history("m")] == ["1", "2"]
