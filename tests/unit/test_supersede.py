"""Setting results aside: broken off anywhere and done again, nothing is lost and nothing mixed."""

from pathlib import Path
from typing import Any

import pytest

from schemas import layout
from schemas.generation import Generation
from schemas.job import Manifest
from schemas.manifest import read_manifest
from schemas.storage import Storage
from schemas.supersede import supersede, unfinished
from support.stored_jobs import JOB, NOW, model_pin, store_job, store_result

GOOD = model_pin(ref="sentiment@1", digest="1" * 64)


class Mortal(Storage):
    """Dies at the change number `last`, before or after it is made."""

    def __init__(self, last: int, *, before: bool) -> None:
        super().__init__()
        self.left, self.before = last, before

    def create(self, uri: str, data: bytes) -> bool:
        return self._change(super().create, uri, data)

    def delete(self, uri: str) -> None:
        self._change(super().delete, uri)

    def _change(self, change: Any, *given: Any) -> Any:
        self.left -= 1
        if self.left < 0 and self.before:
            raise KeyboardInterrupt
        made = change(*given)
        if self.left < 0:
            raise KeyboardInterrupt
        return made


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("last", range(12))
def test_results_are_set_aside_whole_wherever_it_was_broken_off(
    tmp_path: Path, last: int, before: bool
) -> None:
    manifest, old = job_to_supersede(tmp_path)
    output = manifest.spec.output

    try:
        supersede(Mortal(last, before=before), manifest)
    except KeyboardInterrupt:
        for chunk, content in old.items():
            places = (layout.result(output, chunk), layout.superseded(output, chunk, 1))
            assert content in [Path(p).read_bytes() for p in places if Path(p).exists()]
    supersede(Storage(), manifest)

    assert not unfinished(Storage(), output)
    assert not Storage().exists(layout.success_marker(output))
    assert not Storage().exists(layout.summary(output))
    for chunk, content in old.items():
        assert not Path(layout.result(output, chunk)).exists()
        assert Path(layout.superseded(output, chunk, 1)).read_bytes() == content


def test_a_result_of_the_new_generation_stays_where_it_is(tmp_path: Path) -> None:
    manifest, _ = job_to_supersede(tmp_path)
    output = manifest.spec.output
    Storage().delete(layout.result(output, 1))
    store_result(Storage(), manifest, 1, generation=1, model_digest=GOOD.digest)
    new = Path(layout.result(output, 1)).read_bytes()

    supersede(Storage(), manifest)
    supersede(Storage(), manifest)

    assert Path(layout.result(output, 1)).read_bytes() == new
    assert not Path(layout.result(output, 0)).exists()


def test_the_models_of_the_newest_generation_count(tmp_path: Path) -> None:
    manifest, _ = job_to_supersede(tmp_path)

    assert read_manifest(Storage(), manifest.spec.output).model == GOOD
    assert manifest.model != GOOD


def job_to_supersede(folder: Path) -> tuple[Manifest, dict[int, bytes]]:
    """Return a job of three chunks, one of them dead, that has ended, and its results."""
    storage, output = Storage(), str(folder / "scored")
    manifest = store_job(storage, output, chunks=3)
    for chunk in (0, 1):
        store_result(storage, manifest, chunk)
    storage.create(layout.success_marker(output), b"")
    storage.create(layout.summary(output), b"{}")
    record = Generation(
        job_id=JOB, number=1, created_at=NOW, chunks=(0, 1), models=(GOOD,), replaces=manifest.model
    )
    storage.create(layout.generation(output, 1), record.model_dump_json().encode())
    return manifest, {n: Path(layout.result(output, n)).read_bytes() for n in (0, 1)}
