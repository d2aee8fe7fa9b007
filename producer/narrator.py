"""Telling a story of commands: a title, plain words, a command that is shown and then run.

The demo speaks through it. Talk and commands share our stdout and stderr, so that what a reader
sees is what a user of these commands would see.
"""

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from producer.processes import ChildProcess, ProcessEnded
from schemas.errors import ExitCode

# Words and commands are broken at this width, or at the terminal's where that is narrower.
WIDTH = 88
INDENT = "   "
PROMPT = "$ "


class Narrator:
    """Says what happens, and makes it happen; `environment` goes to every command."""

    def __init__(self, console: Console, environment: Mapping[str, str]) -> None:
        self.console = console
        self.environment = dict(environment)
        self._chapter = 0

    def title(self, text: str) -> None:
        """Begin the next step."""
        self._chapter += 1
        self._print(Text(f"\n{self._chapter}  {text}", style="bold"))

    def say(self, text: str) -> None:
        """Say something in plain words."""
        folded = textwrap.fill(
            text,
            width=min(WIDTH, self.console.width),
            initial_indent=INDENT,
            subsequent_indent=INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        self._print(Text(folded))

    def show(self, *words: str, note: str = "") -> None:
        """Show a command as it would be typed."""
        typed = Text(f"\n{PROMPT}", style="dim")
        typed.append(as_typed(words), style="not dim cyan")
        typed.append(note)
        self._print(typed)

    def suggest(self, *words: str, reason: str) -> None:
        """Show a command to be copied, and what it is good for."""
        self._print(Text(f"\n{INDENT}# {reason}", style="dim"))
        lines = textwrap.indent(as_typed((bulkscore_to_type(), *words)), INDENT)
        self._print(Text(lines, style="cyan"))

    def run(self, *arguments: str, expect: ExitCode = ExitCode.OK) -> None:
        """Show a `bulkscore` command and run it to its end.

        Raises:
            ProcessEnded: It ended with another exit code than the expected.
        """
        self.show("bulkscore", *arguments)
        command = [bulkscore_program(), *arguments]
        name = f"bulkscore {arguments[0]}"
        child = ChildProcess(name, command, log=None, environment=self.environment, in_front=True)
        _finish(child, expect)

    def run_quietly(self, name: str, command: Sequence[str], *, log: Path) -> None:
        """Run a command to its end with its output in `log`, and a sign of life on a terminal.

        Raises:
            ProcessEnded: It failed; the message has the end of its log.
        """
        child = ChildProcess(name, command, log=log, environment=self.environment)
        with self.console.status(f"{name} …"):
            _finish(child, ExitCode.OK)

    def _print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True)


def as_typed(words: Sequence[str]) -> str:
    """Return a command as a user would type it, a long one on several lines."""
    program, *pieces = _pieces(words)
    lines, line = [], program
    for piece in pieces:
        if len(PROMPT) + len(line) + len(piece) + len(" \\") >= WIDTH:
            lines.append(f"{line} \\")
            line = f"{INDENT}{piece}"
        else:
            line = f"{line} {piece}"
    return "\n".join([*lines, line])


def bulkscore_program() -> str:
    """Return the command installed beside this interpreter."""
    return str(Path(sys.executable).parent / "bulkscore")


def bulkscore_to_type() -> str:
    """Return what gets this very command: its name, or its path where the name does not."""
    program = bulkscore_program()
    found = shutil.which("bulkscore")
    if found is not None and Path(found).samefile(program):
        return "bulkscore"
    return min(program, os.path.relpath(program), key=len)


def _pieces(words: Sequence[str]) -> list[str]:
    """Return the words quoted, the value of an option together with its name."""
    pieces: list[str] = []
    for word in map(shlex.quote, words):
        if pieces and pieces[-1].startswith("-") and " " not in pieces[-1] and word[0] != "-":
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    return pieces


def _finish(child: ChildProcess, expect: ExitCode) -> None:
    with child:
        exit_code = child.wait()
    if exit_code != expect:
        raise ProcessEnded(
            f"{child.name} ended with {exit_code} instead of {int(expect)}\n{child.log_tail()}"
        )
