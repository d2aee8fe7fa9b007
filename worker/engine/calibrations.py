"""Calibrations kept on disk beside the models, one file for each, so that one is made once."""

import hashlib
import json
import logging
import os
import tempfile
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

logger = logging.getLogger(__name__)

# A new version of any of these may have another best budget.
_LIBRARIES = ("bulkscore", "torch", "transformers")


class Calibration(BaseModel):
    """What was found for a model, in a precision, on a device.

    Attributes:
        token_budget: The budget that was chosen.
        rates: Tokens per second by budget, for whoever looks into the file.
        token_bytes: What a token takes of the memory of a GPU; 0 on a CPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_budget: int = Field(ge=1)
    rates: dict[int, float]
    token_bytes: float = Field(default=0.0, ge=0)


class CalibrationFile:
    """The file of one calibration; a folder that cannot be written to is no failure.

    Args:
        folder: Where calibrations are kept.
        digest: Digest of the model.
        dtype: What it is computed in.
        device: Name of the device, and how many threads of it.
    """

    def __init__(self, folder: Path, *, digest: str, dtype: str, device: str) -> None:
        versions = {name: metadata.version(name) for name in _LIBRARIES}
        key = json.dumps([digest, dtype, device, versions], sort_keys=True)
        self._path = folder / f"budget-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def read(self) -> Calibration | None:
        """Return the calibration, or None when there is none that can be understood."""
        try:
            return Calibration.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            logger.warning("calibration %s is not used: %s", self._path, type(error).__name__)
            return None

    def write(self, calibration: Calibration) -> None:
        """Keep a calibration; another process sees all of it or none."""
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=self._path.parent, prefix=".budget-", delete=False
            ) as file:
                file.write(calibration.model_dump_json())
            os.replace(file.name, self._path)
        except OSError as error:
            logger.warning("calibration %s is not kept: %s", self._path, error.strerror or error)
