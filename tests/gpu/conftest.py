"""Every test here needs a CUDA device, and says so where there is none."""

import pytest
import torch


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    """The first GPU; skips the test on a machine without one."""
    if not torch.cuda.is_available():
        pytest.skip(f"no CUDA device that torch {torch.__version__} can use")
    return torch.device("cuda", 0)
