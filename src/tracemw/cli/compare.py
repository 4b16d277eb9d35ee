"""``tracemw compare``: what sets two sets of traces apart."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from tracemw.cli.analyze import add_annotate_option, add_server_options, codes, limit, look_back
from tracemw.cli.command import Command


def _add_options(parser: argparse.ArgumentParser) -> None:
    for when in ("before", "after"):
        parser.add_argument(
            f"--{when}",
            nargs="+",
            required=True,
            metavar="WHAT",
            help="files or a directory, a service.version, times, or TraceQL",
        )
    parser.add_argument("--service", metavar="NAME", help="only requests of this service, and what is beneath them")
    parser.add_argument("--route", metavar="ROUTE", help="only requests of this route, such as /orders/{id}")
    parser.add_argument(
        "--since",
        type=look_back,
        default=3600.0,
        metavar="TIME",
        help="how far back a search without times goes (default: 1h; at most 7d)",
    )
    parser.add_argument(
        "--limit", type=limit, default=1000, metavar="N", help="traces of a side at most (default: %(default)s)"
    )
    add_server_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with a picture of it")
    parser.add_argument(
        "--fail-on",
        type=_failures,
        metavar="WHAT",
        help="what makes the exit status 1: regression, and new findings by code, such as regression,n-plus-one",
    )
    add_annotate_option(parser)


def _run(options: argparse.Namespace) -> int:
    from tracemw.cli.comparing_sets import compare_sides

    return compare_sides(options)


def _failures(text: str) -> frozenset[str]:
    return codes(text, "regression")


COMPARE: Final = Command(
    name="compare",
    summary="say what sets two sets of traces apart, such as before and after a release",
    description="Say which routes got slower or fail more, what grew, and what is new: with how sure that is.",
    example="""\
example:
  tracemw compare --before before.json --after after.json
  tracemw compare --before 1.0 --after 1.1 --service shop --url http://tempo:3200
  tracemw compare --before 26h..25h --after 2h..1h --html comparison.html
  tracemw compare --before '{ trace:duration < 1s }' --after '{ trace:duration >= 1s }' --route "GET /orders"
  tracemw compare --before main/ --after branch/ --fail-on regression,n-plus-one --json

Times are how long ago, or ISO 8601 (without a zone: that of this machine). A version and a time, or TraceQL and a time,
narrow each other. The exit status is 1 if something got worse: a regression, or a new finding that is more than a hint;
or what --fail-on names. Certificates and headers for Tempo are those of the OTEL_EXPORTER_OTLP_* variables.
In GitHub's Actions, what makes the status 1 is annotated at its line of code.
""",
    add_options=_add_options,
    run=_run,
)
