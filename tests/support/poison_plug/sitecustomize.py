"""Runs at the start of every Python process that finds this folder on its PYTHONPATH.

Once torch is imported, looking up a poisonous token in a vocabulary of so many tokens does what
`POISON_PLUG` says: `203 killed=7 refused=8 full=9 broken=10`. See `support.poison`.
"""

import importlib.abc
import importlib.machinery
import os
import resource
import signal
import sys
from typing import Any


def _killed():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), signal.SIGSEGV)


def _refused():
    raise RuntimeError("the poison plug refuses this token")


def _full():
    raise MemoryError


def _broken():
    raise RuntimeError("CUDA error: device-side assert triggered")


_EFFECTS = {"killed": _killed, "refused": _refused, "full": _full, "broken": _broken}


def _plug_into(functional):
    """Wrap what every model calls with the ids of its rows."""
    vocabulary, *pairs = os.environ["POISON_PLUG"].split()
    poisons = [pair.split("=") for pair in pairs]
    plain = functional.embedding

    def embedding(ids, table, *args, **options):
        for effect, token in poisons:
            # Positions are looked up as well, in a table of another length.
            if len(table) == int(vocabulary) and (ids == int(token)).any():
                _EFFECTS[effect]()
        return plain(ids, table, *args, **options)

    functional.embedding = embedding


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "torch.nn.functional":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        loader: Any = spec.loader if spec else None
        execute = loader.exec_module

        def exec_module(module):
            execute(module)
            _plug_into(module)

        loader.exec_module = exec_module
        return spec


if os.environ.get("POISON_PLUG"):
    sys.meta_path.insert(0, _Finder())
