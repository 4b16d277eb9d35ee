"""``tracemw analyze``: what is wrong with a trace, or with many."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from tracemw.cli.command import Command
from tracemw.cli.lengths_of_time import seconds_within

_VIEWER: Final = "http://127.0.0.1:4318"

look_back: Final = seconds_within("1s", "7d")
"""Reads how far back a search goes: at most as far as one search of Tempo does by default."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "named",
        nargs="*",
        metavar="TRACE_ID | FILE | DIRECTORY | -",
        help="a trace by its id, or traces of files, directories or a pipe; several files may hold parts of one trace",
    )
    parser.add_argument("--query", metavar="TRACEQL", help="traces that a query finds")
    parser.add_argument("--service", metavar="NAME", help="traces in which this service has a part")
    parser.add_argument(
        "--since",
        type=look_back,
        metavar="TIME",
        help="how far back a search goes (default: 1h; at most 7d)",
    )
    parser.add_argument(
        "--limit",
        type=limit,
        metavar="N",
        help="traces that a search gives at most (default: 1000)",
    )
    add_server_options(parser)
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write one page, which needs no network, to attach to an incident",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--fail-on",
        type=codes,
        metavar="CODES",
        help="findings that make the exit status 1, such as error-source,n-plus-one",
    )
    add_annotate_option(parser)
    parser.set_defaults(usage_error=parser.error)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which server to ask for traces."""
    parser.add_argument("--url", default=_VIEWER, help="Tempo's query API, or the viewer (default: %(default)s)")
    parser.add_argument("--tenant", metavar="NAME", help="the tenant to ask for (default: TRACEMW_TENANT)")


def add_annotate_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that has GitHub show what is wrong."""
    parser.add_argument(
        "--annotate", action="store_true", help="print annotations for GitHub, which its Actions get in any case"
    )


def _run(options: argparse.Namespace) -> int:
    searches = options.query is not None or options.service is not None
    error: Callable[[str], NoReturn] = options.usage_error
    named: list[str] = options.named
    if searches == bool(named):
        only = "only one" if searches else "one"
        error(f"name {only} of these: a trace id, files, - for standard input, or --query or --service for a search")
    if len(named) > 1 and not all(Path(each).exists() for each in named):
        error(f"name one trace id, or several files, which exist; not {' and '.join(named)}")
    if not searches:
        for option in ("since", "limit"):
            if getattr(options, option) is not None:
                error(f"--{option} goes with a search; name --query or --service in place of {named[0]}")
        if options.tenant is not None and (named[0] == "-" or Path(named[0]).exists()):
            error(f"--tenant goes with a server; {named[0]} is read without one")
    from tracemw.cli.analyzing import analyze

    return analyze(options)


def limit(text: str) -> int:
    """Return how many traces a search gives at most.

    Raises:
        argparse.ArgumentTypeError: for anything but a whole number from 1 to 100000.
    """
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; use a whole number from 1 to 100000")
    return int(text)


def codes(text: str, *more: str) -> frozenset[str]:
    """Return what a comma separates: codes of findings, and further names.

    Raises:
        argparse.ArgumentTypeError: for anything else.
    """
    from tracemw.analysis.findings.finders import CODES

    named = frozenset(name.strip() for name in text.split(","))
    if not named <= {*more, *CODES}:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; use some of {', '.join((*more, *CODES))}")
    return named


ANALYZE: Final = Command(
    name="analyze",
    summary="say what is wrong with a trace, or with many, and what to do",
    description="Say what is wrong with a trace, or with many: the cause first, then all findings, then the spans.",
    example="""\
example:
  tracemw analyze 4bf92f3577b34da6a3ce929d0e0e4736            a trace that tracemw view has
  tracemw analyze trace.json                                  a file of OTLP, Tempo, Jaeger or Zipkin
  tracemw analyze shop.json stock.json                        what two services have exported
  tracemw analyze --service shop --since 1h --url http://tempo:3200
  tracemw analyze --query '{ status = error }' --json
  tracemw analyze --service shop --html incident.html         a page to attach to an incident
  tracemw analyze - --fail-on error-source,n-plus-one < traces.json

The exit status is 1 if there is a finding that is more than a hint, or one of those that --fail-on names. Certificates
and headers for Tempo are those of the OTEL_EXPORTER_OTLP_* variables. In GitHub's Actions, what makes the status 1 is
annotated at its line of code.
""",
    add_options=_add_options,
    run=_run,
)
