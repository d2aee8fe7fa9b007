"""Makes a later release of every Python process that finds this folder on its PYTHONPATH.

Its messages and manifests are of version 2 and hold something that version 1 does not know; it
reads both. See `integration/test_rolling_upgrade.py`.
"""

import importlib.abc
import importlib.machinery
import os
import sys
from typing import Any, Literal


def _later_message(module: Any) -> None:
    earlier: Any = module.ChunkMessage

    class ChunkMessage(earlier):
        version: Literal[1, 2] = 2
        hint: str = "of version 2"

    module.ChunkMessage, module.MESSAGE_VERSION = ChunkMessage, 2


def _later_manifest(module: Any) -> None:
    earlier: Any = module.Manifest

    class Manifest(earlier):
        version: Literal[1, 2] = 2
        hint: str = "of version 2"

    module.Manifest, module.MANIFEST_VERSION = Manifest, 2


_PLUGS = {"schemas.message": _later_message, "schemas.job": _later_manifest}


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in _PLUGS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        loader: Any = spec.loader if spec else None
        execute = loader.exec_module

        def exec_module(module):
            execute(module)
            _PLUGS[name](module)

        loader.exec_module = exec_module
        return spec


if os.environ.get("VERSION_PLUG"):
    sys.meta_path.insert(0, _Finder())
