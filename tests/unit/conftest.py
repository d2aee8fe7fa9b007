"""What the tests of `verify` share."""

from pathlib import Path

import pytest

from support.verified_job import VerifiedJob


@pytest.fixture
def job(tmp_path: Path) -> VerifiedJob:
    return VerifiedJob(tmp_path)


@pytest.fixture
def scored(job: VerifiedJob) -> VerifiedJob:
    job.score_all()
    return job
