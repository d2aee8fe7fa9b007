"""Fixtures of the tests that drive the whole product."""

from collections.abc import Iterator

import pytest

from support.bad_models import choking_model
from support.live_stack import LiveStack, live_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """One broker, one worker and one tiny model for all tests that leave them as they are."""
    folder = tmp_path_factory.mktemp("stack")
    with live_stack(folder, choking_model(folder / "model")) as running:
        yield running
