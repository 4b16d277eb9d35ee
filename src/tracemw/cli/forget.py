"""``tracemw forget``: erase the traces of users."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from tracemw.cli.analyze import add_server_options
from tracemw.cli.command import Command
from tracemw.cli.lengths_of_time import seconds_of


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "identifiers",
        nargs="+",
        metavar="IDENTIFIER | -",
        help="what the application has given to tracemw.user(); - reads one a line from standard input",
    )
    add_server_options(parser)
    parser.add_argument(
        "--scheduler",
        metavar="URL",
        help="gRPC port of Tempo's backend scheduler (default: port 9095 of the host of --url, with TLS if it has TLS)",
    )
    parser.add_argument(
        "--since",
        type=_positive,
        metavar="TIME",
        help="how far back to look (default: 90d; in the viewer, all)",
    )
    parser.add_argument("--from", dest="begin", metavar="TIME", help="look at traces from then on, such as 2026-05-01")
    parser.add_argument("--to", dest="end", metavar="TIME", help="look at traces until then (default: now)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be erased, and erase nothing")
    parser.add_argument(
        "--wait", type=_positive, default=0.0, metavar="TIME", help="go on until nothing is left, at most so long"
    )
    parser.add_argument(
        "--every", type=_positive, default=15.0, metavar="TIME", help="with --wait: between two looks (default: 15s)"
    )
    parser.add_argument("--audit", type=Path, metavar="FILE", help="add the audit line to a file, not to stderr")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(usage_error=parser.error)


def _run(options: argparse.Namespace) -> int:
    error: Callable[[str], NoReturn] = options.usage_error
    if any(each.startswith("-") and each != "-" for each in options.rest):  # in words that show no identifier
        error("an option is not known, or an identifier begins with -; see tracemw forget --help, or use - alone")
    options.identifiers += options.rest  # those after an option
    if "-" in options.identifiers and len(options.identifiers) > 1:
        error("- stands alone: identifiers come from standard input, or are arguments")
    if options.since is not None and options.begin is not None:
        error("--since and --from both say where to begin; use one of them")
    from tracemw.cli.forgetting import forget

    return forget(options)


def _positive(text: str) -> float:
    try:
        seconds = seconds_of(text)
    except argparse.ArgumentTypeError:
        seconds = 0.0
    if seconds <= 0:  # the text is not shown: it may be an identifier, where somebody has left out the time
        raise argparse.ArgumentTypeError("this is not accepted; use a time above 0, such as 30s or 1h")
    return seconds


FORGET: Final = Command(
    name="forget",
    summary="erase the traces of users, in the viewer and in Tempo",
    description="Find the traces of users under every key of TRACEMW_PSEUDONYM_KEY, and erase them.",
    example="""\
example:
  tracemw forget - < users.txt                                         in tracemw view, on this machine
  tracemw forget alice@example.com --dry-run                           says what is there
  tracemw forget - --url http://tempo:3200 --tenant shop --wait 1h     in Tempo 3.1 or later, until nothing is left
  tracemw forget - --url https://tempo:3200 --scheduler https://tempo:9095 --audit erased.jsonl

An identifier that is an argument stays in the shell's history, and every user of this machine sees it in the list of
processes. Use - to keep it out of both. No report and no audit line has it.

The exit status is 1 until all was asked for and a look afterwards finds nothing. A run that found nothing from the
start says so, and what to look at; if all pseudonyms there are under other keys, its status is 1.
TRACEMW_PSEUDONYM_KEY is that of the services, with their former keys. Certificates and headers are those of the
OTEL_EXPORTER_OTLP_* variables.
""",
    add_options=_add_options,
    run=_run,
    takes_rest=True,
)
