"""Model files on local disk: fetched once, verified, shared by all processes of a machine."""

from pathlib import Path

from schemas.job import ModelPin
from schemas.storage import Storage


class ModelStore:
    """Local folders of pinned models under `cache_dir`, one for each digest."""

    def __init__(self, storage: Storage, cache_dir: Path) -> None:
        raise NotImplementedError

    def fetch(self, pin: ModelPin) -> Path:
        """Return a local folder with exactly the pinned files, verified.

        Raises:
            ModelIncompatible: The files at the pinned place are no longer the pinned ones.
            ModelNotReady: They could not be fetched completely; trying again may help.
        """
        raise NotImplementedError
