"""A search for batch size and learning rate, each trial a short training of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from schemas.errors import DeviceOutOfMemory, UsageError
from worker.lifecycle.fitting import Task, fit
from worker.lifecycle.train_data import say
from worker.lifecycle.train_recipe import SMALLER_IS_BETTER, Recipe

if TYPE_CHECKING:
    import optuna

BATCH_ROWS = (8, 16, 32, 64)
# Around the learning rate of the recipe.
SMALLEST, LARGEST = 0.1, 5.0


def search(
    recipe: Recipe, task: Task, load: Callable[[], tuple[Any, Any]], folder: Path
) -> tuple[Recipe, tuple[dict[str, Any], ...]]:
    """Return the recipe with the best batch size and learning rate there was, and all trials.

    The first trial is the recipe as it is; the others are drawn by optuna's tree-structured Parzen
    estimator (Bergstra et al. 2011), and end early when they are worse than half of those before.
    Trials that are done are kept in `folder`, and not done again.

    Args:
        recipe: Says how many trials.
        task: With validation data.
        load: Returns the model to begin with, and its tokenizer.
        folder: For the record of the trials.

    Raises:
        UsageError: None of them came to an end.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    metric = recipe.metric_for(task.problem)
    study = optuna.create_study(
        study_name="search",
        storage=JournalStorage(JournalFileBackend(str(folder / "search.jsonl"))),
        sampler=optuna.samplers.TPESampler(seed=recipe.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        direction="minimize" if metric in SMALLER_IS_BETTER else "maximize",
        load_if_exists=True,
    )
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    if not study.trials:
        first = {"batch_rows": recipe.batch_rows, "learning_rate": recipe.largest_step}
        study.enqueue_trial(first)
    while (done := len(study.get_trials(states=ended))) < recipe.search:
        study.optimize(lambda trial: _trial(trial, recipe, task, load, folder, metric), n_trials=1)
        last = study.trials[-1]
        value = "ended early" if last.value is None else f"{metric} {last.value:.4f}"
        say(f"trial {done + 1}/{recipe.search}: {_shown(last.params)}: {value}")
    if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        raise UsageError(f"--search {recipe.search}: no trial came to an end: see what they said")
    best = study.best_trial
    say(f"best: {_shown(best.params)}: {metric} {best.value:.4f}")
    trials = tuple(
        trial.params | {"value": trial.value} for trial in study.get_trials(states=ended)
    )
    return replace(recipe, **best.params), trials


def _trial(
    trial: "optuna.Trial",
    recipe: Recipe,
    task: Task,
    load: Callable[[], tuple[Any, Any]],
    folder: Path,
    metric: str,
) -> float:
    import optuna

    sizes = sorted({recipe.batch_rows, *(n for n in BATCH_ROWS if n <= len(task.train))})
    rate = recipe.largest_step
    tried = replace(
        recipe,
        batch_rows=trial.suggest_categorical("batch_rows", sizes),
        learning_rate=trial.suggest_float(
            "learning_rate", rate * SMALLEST, rate * LARGEST, log=True
        ),
    )
    reports = _Reports(trial, metric)
    model, tokenizer = load()
    try:
        name = f"trial {trial.number + 1}"
        fit(model, tokenizer, task, tried, folder / "trial", name=name, callbacks=[reports])
    except (DeviceOutOfMemory, UsageError) as error:
        say(f"{name}: {error}")
        raise optuna.TrialPruned from error
    return reports.best


class _Reports(TrainerCallback):  # type: ignore[misc]
    """Tells a trial what was measured, and ends it when there is no hope."""

    def __init__(self, trial: "optuna.Trial", metric: str) -> None:
        self._trial, self._metric = trial, metric
        self._found: list[float] = []

    @property
    def best(self) -> float:
        """The best value so far."""
        return min(self._found) if self._metric in SMALLER_IS_BETTER else max(self._found)

    def on_evaluate(self, _args: Any, _state: Any, _control: Any, **given: Any) -> None:
        """Report a value.

        Raises:
            TrialPruned: It is worse than half of the trials before.
        """
        import optuna

        self._found.append(float(given["metrics"][f"eval_{self._metric}"]))
        self._trial.report(self._found[-1], len(self._found))
        if self._trial.should_prune():
            raise optuna.TrialPruned


def _shown(params: dict[str, Any]) -> str:
    return f"batch size {params['batch_rows']}, learning rate {params['learning_rate']:.3g}"
