"""How commands write to the terminal. Text is escaped, so that no file and no argument gives the terminal orders."""

from __future__ import annotations

import sys

from tracemw._process.log import escaped
from tracemw.cli.command import ERROR


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(escaped(line), flush=True)


def fail(message: str) -> int:
    """Print an error, and return the exit status that goes with it."""
    print(escaped(message), file=sys.stderr)
    return ERROR
