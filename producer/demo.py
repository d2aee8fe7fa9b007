"""The demo: `python -m producer.demo` scores a sample corpus from start to finish on this machine.

Every step is a command a user would type, run as a process of its own. All it writes lies in one
folder; whatever happens, nothing it started keeps running.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import pyarrow.dataset as ds
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from producer import sample
from producer.local import require_worker, stopped_by_signals
from producer.processes import ChildProcess, module_command, wait_until_ready
from schemas.errors import BulkError, ExitCode, UsageError

FILES = 4
ROWS_PER_FILE = 1_500
TRAINING_ROWS = 3_000
SEED = 20
UP_SECONDS = 90.0
# Says that a folder is ours to write in, and to clear at the next run.
MARKER = ".bulkscore-demo"


class Demo:
    """One run of the demo in `folder`."""

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder = folder
        self._console = console
        self._corpus = folder / "corpus"
        self._model = folder / "model"
        self._scored = folder / "scored"
        self._environment = dict(os.environ)
        self._step = 0

    def run(self) -> None:
        """Go through all steps.

        Raises:
            BulkError: A step did not end as it should.
        """
        began = time.monotonic()
        self._prepare()
        damaged, backup = self._make_corpus()
        self._train()
        with self._stack():
            self._score()
            self._look_at_the_dead_letter()
            self._mend(damaged, backup)
            self._reprocess()
        self._verify()
        self._show_labels()
        self._say_what_next(time.monotonic() - began)

    def _prepare(self) -> None:
        if self._folder.exists() and not (self._folder / MARKER).exists():
            raise UsageError(f"{self._folder} exists and is not the demo's: choose another folder")
        for old in (self._corpus, self._scored, self._folder / "backup"):
            shutil.rmtree(old, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / MARKER).touch()

    def _make_corpus(self) -> tuple[Path, Path]:
        """Write the corpus, damage one file, and return that file and its backup."""
        self._title("A sample corpus")
        corpus = sample.write_corpus(
            self._corpus, files=FILES, rows_per_file=ROWS_PER_FILE, seed=SEED
        )
        bad = ", ".join(f"{count} {code}" for code, count in sorted(corpus.bad_rows.items()))
        self._say(
            f"{corpus.rows:,} product reviews, put together from phrases, in {len(corpus.files)} "
            f"Parquet files under {self._corpus}."
        )
        self._say(
            f"As in every real corpus some rows are bad ({bad}), and one review is a million "
            "characters long."
        )
        damaged = corpus.files[-1]
        backup = self._folder / "backup" / damaged.name
        backup.parent.mkdir()
        shutil.copy2(damaged, backup)
        sample.damage_text_page(damaged)
        self._say(
            f"{damaged.name} has a damaged page, as a failing disk leaves it: same size, same "
            "date, other bytes. Its backup is sound."
        )
        return damaged, backup

    def _train(self) -> None:
        self._title("A small classifier, trained on this machine")
        if (self._model / "config.json").exists():
            self._say(f"{self._model} is there from an earlier run.")
            return
        labelled = self._folder / "labelled.parquet"
        sample.write_labelled(labelled, rows=TRAINING_ROWS, seed=SEED + 1)
        self._say(f"{TRAINING_ROWS:,} labelled reviews in {labelled.name}; about a minute of CPU.")
        arguments = ["--data", str(labelled), "--out", str(self._model)]
        self._call(module_command("worker.lifecycle.tiny", arguments))

    def _stack(self) -> ChildProcess:
        """Return the stack, up and known to all further commands."""
        self._title("A broker and a worker on this machine")
        log = self._folder / "up.log"
        log.unlink(missing_ok=True)
        arguments = ["up", "--json", "--state-dir", str(self._folder / "stack")]
        shutil.rmtree(self._folder / "stack", ignore_errors=True)
        self._show_command(arguments, note="   # in the background")
        stack = ChildProcess("the local stack", [_bulkscore(), *arguments], log=log).start()
        try:
            wait_until_ready(
                stack,
                lambda: _announced(log) is not None,
                timeout_seconds=UP_SECONDS,
                pause=time.sleep,
                clock=time.monotonic,
            )
        except BaseException:
            stack.stop()
            raise
        self._environment["BULKSCORE_REDIS_URL"] = str(_announced(log))
        self._say("Up: a private broker behind a password of its own, and one worker.")
        return stack
