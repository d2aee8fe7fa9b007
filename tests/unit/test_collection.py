"""The root of a collection is no job, and says which jobs lie below it."""

from pathlib import Path

import pytest

from schemas import layout
from schemas.collection import job_folders, why_no_job
from schemas.errors import ManifestMissing
from schemas.manifest import read_manifest
from schemas.storage import Storage
from support.stored_jobs import store_job


def collected(root: Path, *job_ids: str) -> str:
    for job_id in job_ids:
        store_job(Storage(), layout.job_folder(str(root), job_id), job_id=job_id)
    return str(root)


def test_the_jobs_of_a_collection_are_found_by_the_names_of_their_folders(tmp_path: Path) -> None:
    root = collected(tmp_path, "b", "a")
    (tmp_path / "notes").mkdir()

    assert job_folders(Storage(), root) == [f"{root}/job=a", f"{root}/job=b"]


def test_a_collection_that_is_taken_for_a_job_names_its_newest_jobs(tmp_path: Path) -> None:
    root = collected(tmp_path, *(f"2025-06-0{day}" for day in range(1, 8)))

    with pytest.raises(ManifestMissing, match="made with --incremental") as raised:
        read_manifest(Storage(), root)

    newest = [f"{root}/job=2025-06-0{day}" for day in (7, 6, 5, 4, 3)]
    assert str(raised.value).endswith(f": {', '.join(newest)} and 2 more")


def test_a_folder_without_jobs_is_said_to_hold_none(tmp_path: Path) -> None:
    assert why_no_job(Storage(), str(tmp_path)).startswith(f"{tmp_path} holds no job")
