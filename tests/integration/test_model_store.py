"""Model files are fetched once, verified, and shared by the processes of a machine."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import ModelIncompatible, ModelNotReady
from schemas.job import ModelPin
from schemas.model_files import pin_model
from schemas.storage import Storage
from support.families import change_json, save_tiny_classifier
from support.s3 import S3Bucket
from worker.model_store import ModelStore


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("original"))


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


@pytest.fixture
def pin(model: Path) -> ModelPin:
    return pin_model(Storage(), str(model))


def store(tmp_path: Path) -> ModelStore:
    return ModelStore(Storage(), tmp_path / "cache")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_holds_exactly_the_pinned_files(
    model: Path, pin: ModelPin, tmp_path: Path
) -> None:
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    (model / "adapter_config.json").write_text("{}")

    folder = store(tmp_path).fetch(pin)

    assert {path.name for path in folder.iterdir()} == {file.path for file in pin.files}
    assert content(folder).items() <= content(model).items()


def test_a_local_model_is_linked_not_copied(pin: ModelPin, tmp_path: Path) -> None:
    folder = store(tmp_path).fetch(pin)

    assert all(path.is_symlink() for path in folder.iterdir())


def test_a_model_that_changed_since_it_was_pinned_is_refused(
    model: Path, pin: ModelPin, tmp_path: Path
) -> None:
    change_json(model / "config.json", id2label={"0": "a", "1": "b", "2": "c"})

    with pytest.raises(ModelIncompatible, match=r"changed since the job was submitted: config"):
        store(tmp_path).fetch(pin)


def test_weights_of_equal_size_but_other_content_are_refused_also_when_cached(
    model: Path, pin: ModelPin, tmp_path: Path
) -> None:
    store(tmp_path).fetch(pin)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")

    with pytest.raises(ModelIncompatible, match="another SHA-256"):
        store(tmp_path).fetch(pin)


def test_a_model_that_is_gone_is_refused(model: Path, pin: ModelPin, tmp_path: Path) -> None:
    shutil.rmtree(model)

    with pytest.raises(ModelIncompatible, match="it is gone"):
        store(tmp_path).fetch(pin)


def test_nothing_half_fetched_is_left_behind(model: Path, pin: ModelPin, tmp_path: Path) -> None:
    (model / "tokenizer.json").unlink()

    with pytest.raises(ModelIncompatible):
        store(tmp_path).fetch(pin)

    assert [p.name for p in (tmp_path / "cache").iterdir()] == [f"{pin.digest}.lock"]


def test_a_manifest_that_names_a_file_outside_the_model_is_refused(
    pin: ModelPin, tmp_path: Path
) -> None:
    escaping = pin.files[0].model_copy(update={"path": "../../etc/passwd"})

    with pytest.raises(ModelIncompatible, match="outside its folder"):
        store(tmp_path).fetch(pin.model_copy(update={"files": (escaping,)}))


def test_a_manifest_whose_digest_does_not_fit_its_files_is_refused(
    pin: ModelPin, tmp_path: Path
) -> None:
    with pytest.raises(ModelIncompatible, match="digest"):
        store(tmp_path).fetch(pin.model_copy(update={"digest": "0" * 64}))


def test_a_cache_that_cannot_be_written_is_worth_another_try(pin: ModelPin, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")

    with pytest.raises(ModelNotReady, match="model cache"):
        store(tmp_path).fetch(pin)


def test_several_processes_fetch_one_model_at_once(pin: ModelPin, tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from schemas.job import ModelPin;"
        "from schemas.storage import Storage;"
        "from worker.model_store import ModelStore;"
        "pin = ModelPin.model_validate_json(sys.argv[1]);"
        "print(ModelStore(Storage(), pathlib.Path(sys.argv[2])).fetch(pin))"
    )
    command = [sys.executable, "-c", program, pin.model_dump_json(), str(tmp_path / "cache")]

    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[0].strip() for process in running]

    assert [process.returncode for process in running] == [0] * 4
    assert outputs == [str(tmp_path / "cache" / pin.digest)] * 4


@pytest.mark.integration
class TestOnS3:
    """The same from a bucket."""

    @pytest.fixture
    def remote(self, s3_bucket: S3Bucket, original: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        for name, value in s3_bucket.env.items():
            monkeypatch.setenv(name, value)
        for path in original.iterdir():
            Storage().replace(f"{s3_bucket.uri}/models/tiny/{path.name}", path.read_bytes())
        return f"{s3_bucket.uri}/models/tiny"

    def test_a_model_in_a_bucket_has_the_digest_of_the_same_model_on_disk(
        self, remote: str, original: Path
    ) -> None:
        pin = pin_model(Storage(), remote)

        assert pin.digest == pin_model(Storage(), str(original)).digest
        assert (pin.uri, pin.name) == (remote, "tiny")

    def test_it_is_downloaded_once(self, remote: str, original: Path, tmp_path: Path) -> None:
        pin = pin_model(Storage(), remote)
        folder = store(tmp_path).fetch(pin)
        Storage().delete(f"{remote}/config.json")

        again = store(tmp_path).fetch(pin)

        assert again == folder
        assert content(folder) == content(original)

    @pytest.mark.parametrize("damage", ["shorter", "other"])
    def test_a_damaged_copy_is_fetched_again(
        self, remote: str, original: Path, tmp_path: Path, damage: str
    ) -> None:
        pin = pin_model(Storage(), remote)
        weights = store(tmp_path).fetch(pin) / "model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1] if damage == "shorter" else whole[:-1] + b"\x55")

        folder = store(tmp_path).fetch(pin)

        assert content(folder) == content(original)

    def test_a_model_that_was_replaced_is_refused(self, remote: str, tmp_path: Path) -> None:
        pin = pin_model(Storage(), remote)
        Storage().replace(f"{remote}/tokenizer.json", b"{}")

        with pytest.raises(ModelIncompatible, match="changed since the job was submitted"):
            store(tmp_path).fetch(pin)
