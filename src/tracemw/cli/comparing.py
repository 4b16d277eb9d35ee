"""What `tracemw compare` does: it gets the traces of both sides, compares them, and prints what sets them apart."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Final

from tracemw.analysis.comparison.changes import Comparison
from tracemw.analysis.comparison.comparing_sides import SidesError, compare
from tracemw.analysis.comparison.conclusion import conclude, group_grew, route_worse
from tracemw.analysis.comparison.side import Side
from tracemw.analysis.load.files import traces_of_files
from tracemw.analysis.load.unreadable import NoTraceError
from tracemw.analysis.model import Trace
from tracemw.analysis.report.comparison_as_json import of_comparison
from tracemw.analysis.report.comparison_as_text import lines_of_comparison
from tracemw.analysis.report.comparison_page import page_of_comparison
from tracemw.cli.annotations import Annotation, annotate
from tracemw.cli.command import FINDINGS, FINE
from tracemw.cli.fetching import fetch, open_api
from tracemw.cli.output import fail, progress, say, show
from tracemw.cli.sides import Files, Search, parse_side

_EVERY: Final = 100


def compare_sides(options: argparse.Namespace) -> int:
    """Do what the options say, and return the exit status."""
    try:
        made = _compared(options)
    except (OSError, ValueError) as problem:  # no traces, none that can be read, or what is not accepted
        return fail(f"tracemw compare: {problem}")
    finally:
        progress("")
    try:
        if options.html is not None:
            options.html.write_text(page_of_comparison(made), encoding="utf-8")
    except OSError as problem:
        return fail(f"tracemw compare: the page cannot be written ({problem}); name another file with --html")
    if options.json:
        say(json.dumps(of_comparison(made)))
    else:
        show(lines_of_comparison(made))
    return _ended(made, options)


def _compared(options: argparse.Namespace) -> Comparison:
    now = time.time()
    sources = [parse_side(words, options, now) for words in (options.before, options.after)]
    if sources[0].is_same(sources[1]):
        raise SidesError("both sides are the same; name two sets that differ")
    sides = []
    for when, source in zip(("before", "after"), sources, strict=True):
        side = Side(source.name, service=options.service, route=options.route)
        for number, trace in enumerate(_traces(when, source, options), 1):
            side.add(trace)
            if number % _EVERY == 0:
                progress(f"{when}: {number} traces")
        sides.append(side)
    return compare(*sides)


def _traces(when: str, source: Files | Search, options: argparse.Namespace) -> Iterator[Trace]:
    if isinstance(source, Files):
        many = len(source.files)
        return traces_of_files(source.files, lambda read: progress(f"{when}: {read} of {many} files"))
    api = open_api(options)
    ids = api.search(source.query, start=source.start, end=source.end, limit=options.limit)
    if not ids:
        raise NoTraceError(f"{when}: no trace matches {source.query} in this time; see --since, --url and --tenant")
    return fetch(api, ids, f"{when}: ")


def _ended(made: Comparison, options: argparse.Namespace) -> int:
    """Return 1 for what is named, or, where nothing is named, for whatever got worse."""
    named: frozenset[str] | None = options.fail_on
    wrong: list[Annotation] = []
    if named is None or "regression" in named:
        wrong += [Annotation("regression", route_worse(route), "") for route in made.worse_routes]
        wrong += [Annotation("regression", group_grew(group), group.line) for group in made.grown_groups]
    for change in made.new_findings:
        finding = change.finding
        if finding.severity != "hint" if named is None else finding.code in named:
            wrong.append(Annotation(finding.code, f"{finding.title}; {finding.remedy}", finding.line))
    annotate(wrong, verdict=conclude(made), asked=options.annotate, as_json=options.json)
    return FINDINGS if wrong else FINE
