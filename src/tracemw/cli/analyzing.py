"""What `tracemw analyze` does: it gets the traces, looks at them, and prints what it found."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tracemw.analysis.findings.finding import Finding, quoted
from tracemw.analysis.grouping import Survey, judge_all, look_at
from tracemw.analysis.load.query_api import QueryApi
from tracemw.analysis.load.reading import read_traces
from tracemw.analysis.load.unreadable import NoTraceError
from tracemw.analysis.model import Trace
from tracemw.analysis.report.as_json import of_many, of_one
from tracemw.analysis.report.as_text import lines_of_many, lines_of_one
from tracemw.cli.command import FINDINGS, FINE
from tracemw.cli.output import fail, progress, say, show
from tracemw.config.arguments import Arguments
from tracemw.config.headers import headers_for
from tracemw.config.tls import Tls

_ID: Final = re.compile(r"[0-9a-fA-F]{1,32}")
_FILTER: Final = re.compile(r"""\s*\{\s*((?:[^{}"`]|"(?:[^"\\]|\\.)*"|`[^`]*`)*?)\s*\}\s*""")
"""One filter of spans, whose strings may have braces."""
_AT_ONCE: Final = 8
"""Traces that are fetched side by side, and held in memory."""
_TOLD_EVERY: Final = 100
"""Traces of a file after which the terminal tells how far the work is."""


def analyze(options: argparse.Namespace) -> int:
    """Do what the options say, and return the exit status."""
    try:
        if options.trace is None:
            return _many(_found(options), options)
        traces = _named(options)
        return _one(traces[0], options) if len(traces) == 1 else _many(iter(traces), options)
    except (OSError, ValueError) as problem:  # no trace, none that can be read, or a setting that is not accepted
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
    tls = Tls.resolve("traces", Arguments(), needs_context=options.url.startswith("https:"))
    headers = headers_for("traces", "http/protobuf", None, options.tenant)
    return QueryApi(options.url, headers=headers, context=tls.context)


def _found(options: argparse.Namespace) -> Iterator[Trace]:
    """Give the traces that a search finds, some of them fetched side by side."""
    api, now = _api(options), int(time.time())
    query = _query(options.query, options.service)
    ids = api.search(query, start=now - int(options.since), end=now + 1, limit=options.limit)
    if not ids:
        raise NoTraceError(f"no trace matches {query}; look further back with --since, and see --url and --tenant")
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for begin in range(0, len(ids), _AT_ONCE):
            yield from threads.map(api.trace, ids[begin : begin + _AT_ONCE])
            progress(f"{min(begin + _AT_ONCE, len(ids))} of {len(ids)} traces")


def _query(query: str | None, service: str | None) -> str:
    """Return the TraceQL of a search. Of a query that is one filter, the service narrows the spans; else the traces."""
    if service is None:
        return query or "{ }"
    own = f"resource.service.name = {quoted(service)}"
    filtered = _FILTER.fullmatch(query or "{ }")
    if filtered is None:
        return f"{{ {own} }} && {query}"
    return f"{{ {own} && ({filtered[1]}) }}" if filtered[1] else f"{{ {own} }}"


def _one(trace: Trace, options: argparse.Namespace) -> int:
    verdict, findings = look_at(trace)
    if options.json:
        say(json.dumps(of_one(trace, verdict, findings)))
    else:
        show(lines_of_one(trace, verdict, findings))
    if trace.is_fragment:
        return fail(
            "tracemw analyze: this is half a trace: the root is not there, and what is there may look worse or better "
            "than it was; fetch the trace once more, and see whether every service exports its spans"
        )
    return _status(findings, options.fail_on)


def _many(traces: Iterator[Trace], options: argparse.Namespace) -> int:
    survey = Survey()
    for trace in traces:
        survey.add(trace)
        if survey.traces % _TOLD_EVERY == 0:
            progress(f"{survey.traces} traces are analysed")
    progress("")
    groups = survey.groups()
    verdict = judge_all(survey, groups)
    if options.json:
        say(json.dumps(of_many(survey, verdict, groups)))
    else:
        show(lines_of_many(survey, verdict, groups))
    return _status([group.exemplar for group in groups], options.fail_on)


def _status(findings: Sequence[Finding], fail_on: frozenset[str] | None) -> int:
    """Return 1 for findings of the codes that are named, or, where none are named, for any that is more than a hint."""
    if fail_on is not None:
        return FINDINGS if any(finding.code in fail_on for finding in findings) else FINE
    return FINDINGS if any(finding.severity != "hint" for finding in findings) else FINE
