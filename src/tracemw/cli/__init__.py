"""The ``tracemw`` command.

The way through the room:

* ``command``: the parts of a command, and the exit statuses: 0 fine, 1 findings, 2 usage or environment error
* ``view``, ``analyze``, ``compare``, ``lint``, ``check``, ``doctor``, ``forget``, ``mcp``, ``spike``: one command
  each. It loads what it needs when it runs, and never a door
* ``analyzing``, ``comparing_sets``, ``forgetting``: what ``analyze``, ``compare`` and ``forget`` do
* ``fetching``: the server from which a command fetches traces
* ``lengths_of_time``: times as users type them
* ``annotations``: what a pipeline of GitHub shows beside the code
* ``output``: how commands write to the terminal
* this module: the parser over all commands
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from tracemw._version import __version__
from tracemw.cli.analyze import ANALYZE
from tracemw.cli.check import CHECK
from tracemw.cli.command import ERROR, Command
from tracemw.cli.compare import COMPARE
from tracemw.cli.doctor import DOCTOR
from tracemw.cli.forget import FORGET
from tracemw.cli.lint import LINT
from tracemw.cli.mcp import MCP
from tracemw.cli.spike import SPIKE
from tracemw.cli.view import VIEW

COMMANDS: Final[tuple[Command, ...]] = (VIEW, ANALYZE, COMPARE, LINT, CHECK, DOCTOR, FORGET, MCP, SPIKE)

_EXAMPLE: Final = """\
example:
  tracemw view                     watch traces in the browser, with nothing installed
  tracemw analyze --service shop   say what is wrong with its traces of the last hour, and what to do
  tracemw spike 1.0 --for 10m      record every trace of running services for ten minutes
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, by default those of ``sys.argv``. Return the exit status."""
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.takes_rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    if options.command is None:
        parser.print_help(sys.stderr)
        return ERROR
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    return status


def make_parser() -> argparse.ArgumentParser:
    """Return the parser over all commands."""
    parser = argparse.ArgumentParser(
        prog="tracemw",
        description="Tools for distributed tracing of Python web services.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tracemw {__version__}")
    parser.set_defaults(takes_rest=False)
    parsers = parser.add_subparsers(metavar="COMMAND", dest="command")
    for command in COMMANDS:
        own = parsers.add_parser(
            command.name,
            help=command.summary,
            description=command.description,
            epilog=command.example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_options(own)
        own.set_defaults(run=command.run, takes_rest=command.takes_rest)
    return parser
