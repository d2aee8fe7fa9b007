"""The pages show commands that exist, with options that exist, and link to what is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from producer.cli.app import build_app
from producer.cli.reference import commands_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@EACH_PAGE
def test_every_command_on_a_page_exists_and_has_the_options_it_is_given(page: Path) -> None:
    group: Any = typer.main.get_command(build_app())
    commands = commands_of(group)

    for name, *words in commands_on(page.read_text(encoding="utf-8")):
        if words and f"{name} {words[0]}" in commands:
            name = f"{name} {words.pop(0)}"
        assert name in commands, f"bulkscore {name}"
        known = {option for p in commands[name].params for option in p.opts}
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= known | {"--help"}, f"bulkscore {shlex.join([name, *words])}"


@EACH_PAGE
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))

    for target in targets:
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_pages_that_teach_hold_commands() -> None:
    for name in ("README.md", "docs/getting-started.md"):
        assert len(list(commands_on((ROOT / name).read_text(encoding="utf-8")))) >= 3


def commands_on(page: str) -> Iterator[list[str]]:
    """Yield the words after `bulkscore` of each command line in the page's blocks of code."""
    for block in re.findall(r"^```\w*\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.strip().removeprefix("$ ")
            if command.startswith("bulkscore "):
                yield shlex.split(command, comments=True)[1:]
