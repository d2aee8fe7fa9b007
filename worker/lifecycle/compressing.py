"""Makes a model smaller: the threshold first, then the smallest size within it."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.errors import GateFailed, UsageError
from schemas.job import Dtype, ModelPin
from schemas.labelled import read_labelled
from schemas.storage import Storage
from worker.lifecycle.compress_candidates import Task, prepare
from worker.lifecycle.compress_judge import Judge, Judged, agreement
from worker.lifecycle.compress_methods import TRAINED, Candidates
from worker.lifecycle.compress_request import Request, require_compressible, training_of
from worker.lifecycle.evaluation import Record, Settings, Tell, plain
from worker.lifecycle.evaluation_facts import data_facts
from worker.lifecycle.smallest import smallest
from worker.model_store import ModelStore
from worker.scratch import folder_of_process

# Rounding of decimal numbers is no drop: 0.90 - 0.89 is more than 0.01 in binary.
_ROUNDING = 1e-9


class Compressor:
    """Compresses one model.

    Args:
        task: What is to be done.

    Raises:
        UsageError: The method is not for this model.
        BulkError: As `read_labelled`.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        require_compressible(task.pin, task.store.fetch(task.pin), task.request)
        self.data = read_labelled(task.storage, task.request.data, task.request.columns)
        files = task.storage.for_own_files
        store = ModelStore(files, task.scratch / "cache")
        self._judge = Judge(files, store, self.data, task.how, task.request.metric)
        self._metric = self._judge.metric_of(task.pin)
        self._tries: list[Record] = []

    def compress(self) -> tuple[Path, Record]:
        """Return the folder of the smallest model within the threshold, and what was measured.

        Raises:
            GateFailed: There is none.
            BulkError: As `scored_rows`, `fit` and `load_model`.
        """
        request, tell = self._task.request, self._task.tell
        make_candidates = prepare(self._task)
        tell(f"{request.ref}: scoring {len(self.data.rows):,} rows")
        before = self._judge.judge(self._task.pin)
        tell(f"{request.ref}: {self._metric} {before.value:.4f}")
        candidates = make_candidates()
        if not candidates.sizes:
            raise UsageError(
                f"{request.ref} has {candidates.whole} {candidates.unit}: "
                + (f"--layers {request.layers} is no less" if request.layers else "nothing to cut")
            )
        found: dict[int, Judged] = {}

        def passes(size: int) -> bool:
            found[size] = self._try(candidates, size, before)
            return bool(self._tries[-1]["passed"])

        size = smallest(candidates.sizes, passes)
        if size is None:
            raise self._failure(candidates, before)
        return self._place(size), self._record(candidates, size, before, found[size])

    def _try(self, candidates: Candidates, size: int, before: Judged) -> Judged:
        request, folder = self._task.request, self._place(size)
        candidates.write(size, folder)
        dtype: Dtype = "auto"
        if request.method == "int8" and self._judge.computes_int8(folder):
            dtype = "int8"
        judged = self._judge.judge_folder(folder, dtype)
        drop = self._judge.drop(before, judged)
        passed = drop <= request.max_drop + _ROUNDING
        if not passed:
            shutil.rmtree(folder)  # what is not kept of a large model is large as well
        self._tries.append({"size": size, "value": judged.value, "drop": drop, "passed": passed})
        self._task.tell(
            f"{size:,} of {candidates.whole:,} {candidates.unit}: {self._metric} "
            f"{judged.value:.4f}, {drop:.4f} worse: {'passed' if passed else 'too much'}"
        )
        return judged

    def _failure(self, candidates: Candidates, before: Judged) -> GateFailed:
        request, best = self._task.request, min(self._tries, key=lambda each: each["drop"])
        more = ", or train longer (--epochs)" if request.method in TRAINED else ""
        return GateFailed(
            f"{request.method} finds no model whose {self._metric} is at most "
            f"{request.max_drop:g} worse than {before.value:.4f}: the best has {best['size']:,} of "
            f"{candidates.whole:,} {candidates.unit} and {best['value']:.4f}; nothing is written. "
            f"Allow more (--max-drop){more}"
        )

    def _place(self, size: int) -> Path:
        return self._task.scratch / f"size-{size}"

    def _record(self, candidates: Candidates, size: int, before: Judged, after: Judged) -> Record:
        request, pin = self._task.request, self._task.pin
        record: Record = {
            "method": request.method,
            "parent": {"ref": pin.ref, "name": pin.name, "digest": pin.digest},
            "metric": self._metric,
            "max_drop": request.max_drop,
            "kept": {"size": size, "whole": candidates.whole, "unit": candidates.unit},
            "tries": self._tries,
            "drop": self._judge.drop(before, after),
            "drop_interval": self._judge.drop_interval(before, after),
            "agreement": agreement(before, after),
            "data": data_facts(self.data, before.rows),
            "training": training_of(request) if request.method in TRAINED else None,
            "settings": asdict(self._task.how),
        }
        self._task.tell("measuring speed and memory")
        speeds = self._judge.efficiencies([before, after])
        for name, judged, speed in zip(("before", "after"), (before, after), speeds, strict=True):
            quality = self._judge.quality(judged)
            record[name] = {
                "quality": quality.metrics,
                "intervals": quality.intervals,
                "efficiency": speed,
                "activations": self._judge.activations(judged),
            }
        made: Record = plain(record)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """A model that is good enough, in a temporary folder.

    Attributes:
        folder: Its files.
        record: What was measured.
        texts: What it was measured on.
    """

    folder: Path
    record: Record
    texts: list[str]


@contextlib.contextmanager
def compressed(
    storage: Storage,
    pin: ModelPin,
    request: Request,
    how: Settings,
    *,
    models_uri: str | None,
    cache_dir: Path,
    tell: Tell,
) -> Iterator[Compressed]:
    """Yield the smallest model within the threshold, and remove its folder afterwards.

    What an earlier one left that was killed is removed first.

    Args:
        storage: The door to objects.
        pin: The model.
        request: What is asked for.
        how: How models score.
        models_uri: Where the registry is, if there is one.
        cache_dir: Where the files of models are kept.
        tell: Called with what is done next.

    Raises:
        BulkError: As `Compressor`.
    """
    with folder_of_process("bulkscore-compress-") as scratch:
        task = Task(
            storage=storage,
            store=ModelStore(storage, cache_dir),
            models_uri=models_uri,
            pin=pin,
            request=request,
            how=how,
            scratch=scratch,
            tell=tell,
        )
        compressor = Compressor(task)
        folder, record = compressor.compress()
        yield Compressed(folder=folder, record=record, texts=compressor.data.texts)
