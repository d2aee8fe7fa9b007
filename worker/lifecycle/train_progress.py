"""What happens while a training runs: progress, checkpoints now and then, the order of the rows."""

import math
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from transformers import TrainerCallback

from schemas.errors import UsageError
from worker.lifecycle.train_order import LengthGroupedOrder

LINE_SECONDS = 5.0
_EVALUATION = "eval_"
_NOT_METRICS = ("runtime", "per_second", "time")


class Progress(TrainerCallback):  # type: ignore[misc]
    """A bar on a terminal, a line every few seconds elsewhere; all on stderr.

    Args:
        name: Goes before each line.
    """

    def __init__(self, name: str = "") -> None:
        self._name = f"{name}  " if name else ""
        self._bar: Bar | None = None
        self._last, self._began, self._first_step = 0.0, 0.0, 0
        self._loss = math.nan

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Begin to count."""
        self._began = self._last = time.monotonic()
        self._first_step = state.global_step
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._bar = Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True))
            self._bar.add_task(self._name or "training", total=state.max_steps)
            self._bar.start()

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Move the bar, or print a line if the last one is some seconds old."""
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=state.global_step)
        elif now - self._last >= LINE_SECONDS or state.global_step >= state.max_steps:
            self._last = now
            self._say(self._line(state, now - self._began))

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        """Remember the loss.

        Raises:
            UsageError: It is no number any more.
        """
        if not logs or "loss" not in logs:
            return
        self._loss = float(logs["loss"])
        if not math.isfinite(self._loss):
            raise UsageError(
                f"step {state.global_step}: the loss is no finite number any more: give a smaller "
                "--learning-rate, or --dtype fp32"
            )

    def on_evaluate(self, _args: Any, state: Any, _control: Any, **given: Any) -> None:
        """Print what was measured on the validation data."""
        found = {
            name.removeprefix(_EVALUATION): value
            for name, value in (given.get("metrics") or {}).items()
            if name.startswith(_EVALUATION) and not name.endswith(_NOT_METRICS)
        }
        metrics = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
        self._say(f"validation at step {state.global_step}  {metrics}")

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _line(self, state: Any, seconds: float) -> str:
        done = state.global_step - self._first_step
        left = (state.max_steps - state.global_step) * seconds / max(done, 1)
        loss = "" if math.isnan(self._loss) else f"  loss {self._loss:.4f}"
        return (
            f"step {state.global_step}/{state.max_steps}  epoch {state.epoch:.2f}{loss}  "
            f"{done / max(seconds, 1e-9):.2f} steps/s  {left:.0f} s left"
        )

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(f"{self._name}{line}", highlight=False)
        else:
            print(f"{self._name}{line}", file=sys.stderr, flush=True)


class TimedCheckpoints(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint when the last one is some time old.

    Only where the loss is logged: the next log is then of the same steps as without a break.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def on_log(self, _args: Any, _state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Ask for one if it is time."""
        if logs and "loss" in logs and time.monotonic() - self._last >= self._seconds:
            control.should_save = True

    def on_save(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Begin to wait anew."""
        self._last = time.monotonic()


class EpochOrder(TrainerCallback):  # type: ignore[misc]
    """Tells the order of the rows which epoch it is, also after a break."""

    def __init__(self, order: LengthGroupedOrder, steps_per_epoch: int) -> None:
        self._order, self._steps = order, steps_per_epoch

    def on_epoch_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Set the epoch."""
        self._order.epoch = state.global_step // self._steps


class LastStep(TrainerCallback):  # type: ignore[misc]
    """Has the last step logged, whatever its number."""

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for it."""
        if state.global_step >= state.max_steps:
            control.should_log = True
