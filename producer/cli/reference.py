"""Writes the reference of the command line from the commands themselves, as Markdown.

Run `python -m producer.cli.reference > docs/reference/cli.md` after a change; a test compares.
"""

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import typer.main

from producer.cli.app import build_app

EXAMPLE = "Example: "
INTRODUCTION = """# Command line

Made from the commands themselves by `python -m producer.cli.reference`; do not edit.

Data goes to stdout, talk and progress to stderr. With `--json`, data is JSON, and so is an error \
(`{"error": {"code": …, "message": …}}` on stderr). Progress is a bar on a terminal and a line \
every few seconds elsewhere. `NO_COLOR` switches colors off.

JOB is a job id or the URI of the job's output. A URI is a local path, `file://` or `s3://`. \
Settings such as `BULKSCORE_REDIS_URL` are environment variables; `bulkscore doctor` lists them.

| exit code | meaning |
|---|---|
| 0 | all well |
| 1 | unexpected error, a bug |
| 2 | wrong usage, or corpus or model that cannot be used |
| 3 | the job ended, and some chunks have no result: dead, cancelled, halted, or stopped by \
`--max-dead-chunks` |
| 4 | the job was stopped by more row errors than `--max-row-errors` allows |
| 5 | the wait timed out; the job goes on |
| 6 | a model is not as good as its gate asks |
| 69 | Redis or storage does not answer, or refuses the login |
| 78 | a setting makes no sense |
| 130 | interrupted by Ctrl-C; the job goes on |
"""


def reference() -> str:
    """Return the whole page."""
    group: Any = typer.main.get_command(build_app())
    sections = [INTRODUCTION]
    panel = None
    for name, command in commands_of(group).items():
        of_root = group.commands[name.split()[0]]
        if of_root.rich_help_panel != panel:
            panel = of_root.rich_help_panel
            sections.append(f"## {panel}\n")
        sections.append("\n".join(_section(name, command)))
    return "\n".join(sections)


def commands_of(group: Any) -> dict[str, Any]:
    """Return the commands of a group by their words, such as `submit` or `models list`."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            within = commands_of(command)
            found |= {f"{name} {word}": each for word, each in within.items()}
        else:
            found[name] = command
    return found


def examples(help_text: str) -> list[str]:
    """Return the example command lines in a command's help."""
    paragraphs = inspect.cleandoc(help_text).split("\n\n")
    found = [p.removeprefix(EXAMPLE) for p in paragraphs if p.startswith(EXAMPLE)]
    return [" ".join(example.split()) for example in found]


def _section(name: str, command: Any) -> Iterator[str]:
    yield f"### bulkscore {name}\n"
    for paragraph in inspect.cleandoc(command.help).split("\n\n"):
        if not paragraph.startswith(EXAMPLE):
            yield f"{' '.join(paragraph.split())}\n"
    yield "```"
    yield from examples(command.help)
    yield "```\n"
    parameters = [p for p in command.params if p.name != "help"]
    if parameters:
        yield "| option | meaning |"
        yield "|---|---|"
        yield from (_row(parameter) for parameter in parameters)
        yield ""


def _row(parameter: Any) -> str:
    is_flag = getattr(parameter, "is_flag", False)
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar}`"
    elif not is_flag:
        names += f" {_value(parameter)}"
    meaning = _escaped(parameter.help or "")
    if parameter.required:
        meaning += " Required."
    elif not is_flag and parameter.show_default and parameter.default not in (None, [], ()):
        shown = parameter.default if parameter.show_default is True else parameter.show_default
        meaning += f" Default: {shown}."
    return f"| {names} | {meaning} |"


def _value(parameter: Any) -> str:
    """Return what stands for the option's value: its metavar, or the choices there are."""
    choices = get_args(parameter.type_descriptor.annotation)
    if parameter.metavar is None and choices:
        return _escaped(" | ".join(str(choice) for choice in choices))
    return _escaped(parameter.metavar or "")


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
