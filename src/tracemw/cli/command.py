"""The parts of a command of ``tracemw``, and the exit statuses."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FINE: Final = 0
"""Exit status: the command has done its work, and found nothing wrong."""

FINDINGS: Final = 1
"""Exit status: the command has done its work, and found something wrong."""

ERROR: Final = 2
"""Exit status: the usage was wrong, or the environment lacks something."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command."""

    name: str
    """What the user types after ``tracemw``."""

    summary: str
    """One line, for the list of commands."""

    description: str
    """A sentence or two, for the top of the help."""

    example: str
    """Lines to copy, for the end of the help."""

    add_options: Callable[[argparse.ArgumentParser], object]
    """Adds the command's arguments to its parser."""

    run: Callable[[argparse.Namespace], int]
    """Takes the parsed arguments, and returns the exit status."""

    takes_rest: bool = False
    """Whether `run` takes the arguments too that the parser has no place for, as `rest`. Else they are an error."""
