"""Loaded by Python before all else in the workers under test, through `PYTHONPATH`.

Stands in for what a test cannot have: a device that takes its time, a row that kills it, and a
clock that is wrong. It reads its orders from the JSON file that `CHAOS_ORDERS` names, again
whenever that changes:

    clock_skew_seconds   added to `time.time()`
    seconds_a_row        slept in each forward pass, for each of its rows
    poison_ids           rows of exactly these token ids end the process with SIGSEGV
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import time
from typing import Any

MODEL_MODULE = "transformers.models.bert.modeling_bert"
CLASSIFIER = "BertForSequenceClassification"

real_time, sleep = time.time, time.sleep


class Orders:
    """The content of the file, read again when it was replaced."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._version = -1
        self._orders: dict[str, Any] = {}

    def get(self, name: str, default: Any) -> Any:
        try:
            version = os.stat(self._path).st_ino
            if version != self._version:
                with open(self._path, encoding="utf-8") as file:
                    self._orders = json.load(file)
                self._version = version
        except FileNotFoundError:
            pass
        return self._orders.get(name, default)


class PatchAfterImport(importlib.abc.MetaPathFinder):
    """Wraps the classifier's forward pass once its module has been imported."""

    def find_spec(
        self, name: str, path: Any, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != MODEL_MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_patch(module: Any) -> None:
            load(module)
            patch_forward(getattr(module, CLASSIFIER))

        spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec


def patch_forward(classifier: Any) -> None:
    forward = classifier.forward

    def slow_forward(self: Any, input_ids: Any = None, **options: Any) -> Any:
        sleep(len(input_ids) * orders.get("seconds_a_row", 0.0))
        poison = orders.get("poison_ids", [])
        if poison:
            lengths = options["attention_mask"].sum(dim=1).tolist()
            rows = [ids[:n] for ids, n in zip(input_ids.tolist(), lengths, strict=True)]
            if any(ids in rows for ids in poison):
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                os.kill(os.getpid(), signal.SIGSEGV)
        return forward(self, input_ids=input_ids, **options)

    classifier.forward = slow_forward


if "CHAOS_ORDERS" in os.environ:
    orders = Orders(os.environ["CHAOS_ORDERS"])
    time.time = lambda: real_time() + float(orders.get("clock_skew_seconds", 0.0))
    sys.meta_path.insert(0, PatchAfterImport())
