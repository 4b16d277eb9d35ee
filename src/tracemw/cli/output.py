"""How commands write to the terminal. Text is escaped, so that no file and no argument gives the terminal orders."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tracemw._process.log import escaped
from tracemw.analysis.report.line import Line
from tracemw.cli.command import ERROR


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(escaped(line), flush=True)


def warn(message: str) -> None:
    """Print a line beside the output proper."""
    print(escaped(message), file=sys.stderr)


def fail(message: str) -> int:
    """Print an error, and return the exit status that goes with it."""
    warn(message)
    return ERROR


def show(lines: Iterable[Line]) -> None:
    """Print lines: in colour if rich is installed and this is a terminal, as they are otherwise.

    Raises:
        BrokenPipeError: if nobody reads on.
    """
    try:
        from rich.console import Console
        from rich.text import Text
    except ModuleNotFoundError:
        for line in lines:
            say(line.text)
        return
    console = Console(highlight=False, soft_wrap=True)
    try:
        for line in lines:
            console.print(Text(escaped(line.text), style=line.style))
    except SystemExit:  # rich ends the process with status 1 where nobody reads on; 1 means findings here
        raise BrokenPipeError from None


def progress(text: str) -> None:
    """Overwrite one line of the terminal with how far the work is; an empty text removes the line."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{escaped(text)}")
        sys.stderr.flush()
