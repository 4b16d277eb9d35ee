"""``tracemw analyze``: what is wrong with a trace, or with many."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NoReturn

from tracemw.analysis.findings.finders import CODES
from tracemw.analysis.findings.finding import Finding, quoted
from tracemw.analysis.grouping import Survey, judge_all, look_at
from tracemw.analysis.load.query_api import LONGEST_RANGE, QueryApi
from tracemw.analysis.load.reading import read_traces
from tracemw.analysis.load.unreadable import NoTraceError, NotTracesError, QueryError
from tracemw.analysis.model import Trace
from tracemw.cli.command import FINDINGS, FINE, Command
from tracemw.cli.findings_json import of_many, of_one
from tracemw.cli.findings_text import lines_of_many, lines_of_one
from tracemw.cli.lengths_of_time import seconds_of
from tracemw.cli.output import fail, progress, say, show

_VIEWER: Final = "http://127.0.0.1:4318"
_ID: Final = re.compile(r"[0-9a-fA-F]{1,32}")
_AT_ONCE: Final = 8
"""Traces that are fetched side by side, and held in memory."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trace", nargs="?", metavar="TRACE_ID | FILE | -", help="a trace by its id, or traces of a file or pipe"
    )
    parser.add_argument("--query", metavar="TRACEQL", help="traces that a query finds")
    parser.add_argument("--service", metavar="NAME", help="traces in which this service has a part")
    parser.add_argument(
        "--since",
        type=_range,
        default=3600.0,
        metavar="TIME",
        help="how far back a search goes (default: 1h; at most 7d)",
    )
    parser.add_argument(
        "--limit",
        type=_limit,
        default=1000,
        metavar="N",
        help="traces that a search gives at most (default: %(default)s)",
    )
    parser.add_argument("--url", default=_VIEWER, help="Tempo's query API, or the viewer (default: %(default)s)")
    parser.add_argument("--tenant", metavar="NAME", help="the tenant to ask for (default: TRACEMW_TENANT)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--fail-on",
        type=_codes,
        metavar="CODES",
        help="findings that make the exit status 1, such as error-source,n-plus-one",
    )
    parser.set_defaults(usage_error=parser.error)


def _run(options: argparse.Namespace) -> int:
    searches = options.query is not None or options.service is not None
    error: Callable[[str], NoReturn] = options.usage_error
    if searches == (options.trace is not None):
        error("name one of these: a trace id, a file, - for standard input, or --query and --service for a search")
    try:
        if searches:
            return _many(_found(options), options)
        traces = _named(options)
        return _one(traces[0], options) if len(traces) == 1 else _many(iter(traces), options)
    except (NotTracesError, NoTraceError, QueryError) as problem:
        return fail(f"tracemw analyze: {problem}")
    except (OSError, ValueError) as problem:  # a file that cannot be read, or a setting that is not accepted
        return fail(f"tracemw analyze: {problem}")
    finally:
        progress("")


def _named(options: argparse.Namespace) -> list[Trace]:
    """Return the traces of a file, of standard input, or the trace of an id."""
    if options.trace == "-":
        return read_traces(sys.stdin.buffer.read())
    file = Path(options.trace)
    if file.is_file():
        return read_traces(file.read_bytes())
    if not _ID.fullmatch(options.trace):
        raise NoTraceError(f"{options.trace} is neither a file nor a trace id of up to 32 hex digits")
    return [_api(options).trace(options.trace)]


def _api(options: argparse.Namespace) -> QueryApi:
    from tracemw.config.arguments import Arguments
    from tracemw.config.headers import headers_for
    from tracemw.config.tls import Tls

    tls = Tls.resolve("traces", Arguments(), needs_context=options.url.startswith("https:"))
    headers = headers_for("traces", "http/protobuf", None, options.tenant)
    return QueryApi(options.url, headers=headers, context=tls.context)


def _found(options: argparse.Namespace) -> Iterator[Trace]:
    """Give the traces that a search finds, some of them fetched side by side."""
    api, now = _api(options), int(time.time())
    query = " && ".join(
        filter(None, (options.query, options.service and f"{{ resource.service.name = {quoted(options.service)} }}"))
    )
    ids = api.search(query, start=now - int(options.since), end=now + 1, limit=options.limit)
    if not ids:
        raise NoTraceError(f"no trace matches {query}; look further back with --since, and see --url and --tenant")
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for begin in range(0, len(ids), _AT_ONCE):
            yield from threads.map(api.trace, ids[begin : begin + _AT_ONCE])
            progress(f"{min(begin + _AT_ONCE, len(ids))} of {len(ids)} traces")


def _one(trace: Trace, options: argparse.Namespace) -> int:
    verdict, findings = look_at(trace)
    if options.json:
        say(of_one(trace, verdict, findings))
    else:
        show(lines_of_one(trace, verdict, findings))
    return _status(findings, options.fail_on)


def _many(traces: Iterator[Trace], options: argparse.Namespace) -> int:
    survey = Survey()
    for trace in traces:
        survey.add(trace)
    progress("")
    groups = survey.groups()
    verdict = judge_all(survey, groups)
    if options.json:
        say(of_many(survey, verdict, groups))
    else:
        show(lines_of_many(survey, verdict, groups))
    return _status([group.exemplar for group in groups], options.fail_on)


def _status(findings: Sequence[Finding], fail_on: frozenset[str] | None) -> int:
    """Return 1 for findings of the codes that are named, or, where none are named, for any that is more than a hint."""
    if fail_on is not None:
        return FINDINGS if any(finding.code in fail_on for finding in findings) else FINE
    return FINDINGS if any(finding.severity != "hint" for finding in findings) else FINE


def _range(text: str) -> float:
    seconds = seconds_of(text)
    if not 1 <= seconds <= LONGEST_RANGE:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; use a time from 1s to 7d")
    return seconds


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; use a whole number from 1 to 100000")
    return int(text)


def _codes(text: str) -> frozenset[str]:
    codes = frozenset(code.strip() for code in text.split(","))
    if not codes <= set(CODES):
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; use some of {', '.join(CODES)}")
    return codes


ANALYZE: Final = Command(
    name="analyze",
    summary="say what is wrong with a trace, or with many, and what to do",
    description="Say what is wrong with a trace, or with many: the cause first, then all findings, then the spans.",
    example="""\
example:
  tracemw analyze 4bf92f3577b34da6a3ce929d0e0e4736            a trace that tracemw view has
  tracemw analyze trace.json                                  a file of OTLP, Tempo, Jaeger or Zipkin
  tracemw analyze --service shop --since 1h --url http://tempo:3200
  tracemw analyze --query '{ status = error }' --json
  tracemw analyze - --fail-on error-source,n-plus-one < traces.json

The exit status is 1 if there is a finding that is more than a hint, or one of those that --fail-on names. Certificates
and headers for Tempo are those of the OTEL_EXPORTER_OTLP_* variables.
""",
    add_options=_add_options,
    run=_run,
)
