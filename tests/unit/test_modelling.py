"""`score` and `train` know exactly the options of the modules that they become."""

from importlib import import_module
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from producer import processes
from producer.cli.app import build_app

MODULES = {
    "score": "worker.score",
    "train": "worker.lifecycle.train",
    "profile": "worker.lifecycle.profiling",
    "split": "worker.lifecycle.splitting",
    "evaluate": "worker.lifecycle.evaluate",
    "compress": "worker.lifecycle.compress",
}
READING = {
    "data": ["a.csv", "b.csv"],
    "text_column": "body",
    "label_column": "mood",
    "problem": "multi-label",
    "label_separator": ";",
    "header": "yes",
    "as_json": True,
}
# Every option with a value that is not its default.
GIVEN = {
    "score": {
        "model": ["m", "n"],
        "texts": ["-odd", "two words"],
        "all_scores": True,
        "device": "cuda:1",
        "dtype": "bf16",
        "max_length": 64,
        "as_json": True,
    },
    "train": {
        **{name: value for name, value in READING.items() if name != "as_json"},
        "model": "m",
        "out": "o",
        "epochs": 2.5,
        "validation_data": ["v.csv"],
        "test_data": ["t.csv", "u.csv"],
        "labels": "bad,good",
        "new_head": True,
        "learning_rate": 0.001,
        "batch_size": 8,
        "accumulate": 2,
        "max_length": 64,
        "seed": 7,
        "freeze_encoder": True,
        "freeze_layers": 2,
        "optimizer": "sgd",
        "schedule": "cosine",
        "warmup": 0.2,
        "weight_decay": 0.1,
        "dropout": 0.3,
        "label_smoothing": 0.05,
        "clip": 0.5,
        "class_weights": "balanced",
        "patience": 2,
        "metric": "micro_f1",
        "validations": 3,
        "validation_share": 0.2,
        "search": 5,
        "dtype": "bf16",
        "device": "cpu",
        "checkpoint_seconds": 5.0,
    },
    "profile": {**READING, "test_data": ["t.csv"], "model": "m", "max_length": 64},
    "split": {
        **READING,
        "out": "o",
        "validation": 0.2,
        "test": 0.3,
        "seed": 7,
        "group_column": "author",
        "time_column": "day",
    },
}
GIVEN["evaluate"] = {
    **READING,
    "ref": "-odd",
    "baseline": "m@1",
    "replicate": ["a", "b"],
    "gate": "g.yaml",
    "report": "r.html",
    "record": True,
    "skip": ["slices", "efficiency"],
    "max_length": 64,
    "long_text": "windows",
    "dtype": "bf16",
    "device": "cuda:1",
    "threshold": 0.3,
    "seed": 7,
    "seeds": 2,
    "robustness_rows": 9,
    "resamples": 200,
}
GIVEN["compress"] = {
    **{name: value for name, value in READING.items() if name != "problem"},
    "ref": "-odd",
    "method": "distil",
    "out": "o",
    "train_data": ["t.csv", "u.csv"],
    "metric": "macro_f1",
    "max_drop": 0.02,
    "epochs": 2.5,
    "learning_rate": 0.001,
    "batch_size": 8,
    "max_length": 64,
    "student": "bilstm",
    "layers": 3,
    "teacher_share": 0.7,
    "temperature": 3.0,
    "teacher_scores": "s3://jobs/one",
    "device": "cuda:1",
    "seed": 7,
    "resamples": 200,
}
# Say where a command runs, which is none of the module's business.
WHERE = {"--local", "--queue", "--wait"}
COMMANDS = pytest.mark.parametrize("name", list(MODULES))


def command_of(name: str) -> Any:
    group: Any = typer.main.get_command(build_app())
    return group.commands[name]


def module_of(name: str) -> Any:
    return typer.main.get_command(import_module(MODULES[name]).app)


def parameters(command: Any) -> dict[str, Any]:
    return {
        p.name: p for p in command.params if p.name != "help" and not WHERE.intersection(p.opts)
    }


def long_names(command: Any) -> set[str]:
    return {o for p in parameters(command).values() for o in p.opts if o.startswith("--")}


@COMMANDS
def test_command_and_module_have_the_same_options(name: str) -> None:
    assert long_names(command_of(name)) == long_names(module_of(name))
    assert set(parameters(command_of(name))) == set(GIVEN[name])


@COMMANDS
def test_an_option_left_out_means_the_same_to_both(name: str) -> None:
    ours, theirs = parameters(command_of(name)), parameters(module_of(name))

    for option, parameter in ours.items():
        assert parameter.required == theirs[option].required, option
        if parameter.default is not None:  # None is not handed over at all
            assert parameter.default == theirs[option].default, option


def test_the_learning_rates_that_help_shows_are_those_that_are_used() -> None:
    from worker.lifecycle.train_recipe import LEARNING_RATES

    shown = parameters(command_of("train"))["learning_rate"].show_default

    for optimizer, rate in LEARNING_RATES.items():
        assert optimizer in shown
        assert f"{rate:.0e}".replace("e-0", "e-") in shown


@COMMANDS
def test_every_value_given_to_the_command_reaches_the_module(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(processes, "become", lambda *args: became.append(args))

    done = CliRunner().invoke(build_app(), [name, *as_arguments(name, GIVEN[name])])

    assert done.exit_code == 0, done.output
    ((module, arguments),) = became
    assert module == MODULES[name]
    with module_of(name).make_context(name, list(arguments)) as context:
        reached = {key: _plain(value) for key, value in context.params.items()}
    assert reached == GIVEN[name]


def as_arguments(name: str, values: dict[str, Any]) -> list[str]:
    options, positional = [], []
    for key, value in values.items():
        parameter = parameters(command_of(name))[key]
        if parameter.param_type_name == "argument":
            positional = ["--", *(value if isinstance(value, list) else [value])]
        elif isinstance(value, list):
            options += [part for item in value for part in (parameter.opts[0], item)]
        elif value is True:
            options.append(parameter.opts[0])
        else:
            options += [parameter.opts[0], str(value)]
    return options + positional


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return value
    return list(value) if isinstance(value, (list, tuple)) else str(value)
