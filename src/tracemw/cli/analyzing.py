"""What `tracemw analyze` does: it gets the traces, looks at them, and prints what it found."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tracemw.analysis.findings.finding import Finding, quoted
from tracemw.analysis.gathering.searching import fetch, narrowed
from tracemw.analysis.grouping import Survey, judge_all, look_at
from tracemw.analysis.load.files import files_in, read_files
from tracemw.analysis.load.reading import read_traces
from tracemw.analysis.load.unreadable import NoTraceError
from tracemw.analysis.model import Trace
from tracemw.analysis.report.as_json import of_many, of_one
from tracemw.analysis.report.as_text import lines_of_many, lines_of_one
from tracemw.analysis.report.overview import survey_document
from tracemw.analysis.traffic import Traffic
from tracemw.analysis.verdict import Verdict
from tracemw.cli.annotations import Annotation, annotate
from tracemw.cli.attaching import write_page_of_many, write_page_of_one
from tracemw.cli.command import FINDINGS, FINE
from tracemw.cli.fetching import open_api
from tracemw.cli.output import fail, progress, say, show, warn

_ID: Final = re.compile(r"[0-9a-fA-F]{1,32}")
_SINCE: Final = 3600.0
"""Seconds that a search goes back, where the user does not say."""

_LIMIT: Final = 1000
"""Traces that a search gives at most, where the user does not say."""

_TOLD_EVERY: Final = 100
"""Traces of a file after which the terminal tells how far the work is."""


def analyze(options: argparse.Namespace) -> int:
    """Do what the options say, and return the exit status."""
    try:
        if not options.named:
            return _many(_found(options), open_api(options).trace, options)
        traces = _named(options)
        if len(traces) == 1:
            return _one(traces[0], options)
        return _many(iter(traces), {trace.trace_id: trace for trace in traces}.__getitem__, options)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as problem:  # no trace, none that can be read, or a setting that is not accepted
        return fail(f"tracemw analyze: {problem}")
    finally:
        progress("")


def _named(options: argparse.Namespace) -> list[Trace]:
    """Return the traces of files and directories, of standard input, or the trace of an id."""
    first: str = options.named[0]
    if first == "-":
        return read_traces(sys.stdin.buffer.read())
    paths = [Path(each) for each in options.named]
    if paths[0].exists():
        return read_files([file for path in paths for file in files_in(path)])
    if not _ID.fullmatch(first):
        raise NoTraceError(f"{first} is neither a file or directory nor a trace id of up to 32 hex digits")
    return [open_api(options).trace(first)]


def _found(options: argparse.Namespace) -> Iterator[Trace]:
    """Give the traces that a search finds."""
    api, now = open_api(options), int(time.time())
    query = options.query or "{ }"
    if options.service is not None:
        query = narrowed(options.query, f"resource.service.name = {quoted(options.service)}")
    since, limit = options.since or _SINCE, options.limit or _LIMIT
    ids = api.search(query, start=now - int(since), end=now + 1, limit=limit)
    if not ids:
        raise NoTraceError(f"no trace matches {query}; look further back with --since, and see --url and --tenant")
    yield from fetch(api, ids, progress)


def _one(trace: Trace, options: argparse.Namespace) -> int:
    verdict, findings = look_at(trace)
    if options.json:
        say(json.dumps(of_one(trace, verdict, findings)))
    else:
        show(lines_of_one(trace, verdict, findings))
    if options.html:
        write_page_of_one(options.html, trace)
    if trace.is_fragment:
        return fail(
            "tracemw analyze: this is half a trace: the root is not there, and what is there may look worse or better "
            "than it was; fetch the trace once more, and see whether every service exports its spans"
        )
    return _ended(findings, verdict, options)


def _many(traces: Iterator[Trace], trace_of: Callable[[str], Trace], options: argparse.Namespace) -> int:
    survey, traffic = Survey(), Traffic()
    for trace in traces:
        survey.add(trace)
        if options.html:
            traffic.add(trace)
        if survey.traces % _TOLD_EVERY == 0:
            progress(f"{survey.traces} traces are analysed")
    progress("")
    groups = survey.groups()
    verdict = judge_all(survey, groups)
    if options.json:
        say(json.dumps(of_many(survey, verdict, groups)))
    else:
        show(lines_of_many(survey, verdict, groups))
    if options.html:
        document = survey_document(survey, verdict, groups, traffic)
        write_page_of_many(options.html, document, [group.exemplar for group in groups], trace_of)
    return _ended([group.exemplar for group in groups], verdict, options)


def _ended(findings: Sequence[Finding], verdict: Verdict, options: argparse.Namespace) -> int:
    """Return 1 for findings of the codes that are named, or, where none are named, for any that is more than a hint."""
    codes: frozenset[str] | None = options.fail_on
    wrong = [each for each in findings if (each.severity != "hint" if codes is None else each.code in codes)]
    annotate(
        [Annotation(each.code, f"{each.title}; {each.remedy}", each.line) for each in wrong],
        verdict=verdict.sentence,
        asked=options.annotate,
        as_json=options.json,
    )
    if wrong and codes is not None:
        warn(f"tracemw analyze: --fail-on has found {', '.join(sorted({each.code for each in wrong}))}")
    return FINDINGS if wrong else FINE
