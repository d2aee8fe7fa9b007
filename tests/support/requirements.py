"""What a test needs from the machine: skip where it may be missing, fail where it must not."""

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it under `CI`: a CI run that skips its real servers proves nothing."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (required because CI is set)", pytrace=False)
    pytest.skip(reason)
