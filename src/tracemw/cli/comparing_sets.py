"""What `tracemw compare` does: it gets the traces of both sides, compares them, and prints what sets them apart."""

from __future__ import annotations

import argparse
import json

from tracemw.analysis.comparison.changes import Comparison
from tracemw.analysis.comparison.conclusion import conclude, group_grew, route_worse
from tracemw.analysis.gathering.both_sides import compare_sources
from tracemw.analysis.report.comparison_as_json import of_comparison
from tracemw.analysis.report.comparison_as_text import lines_of_comparison
from tracemw.analysis.report.comparison_page import page_of_comparison
from tracemw.cli.annotations import Annotation, annotate
from tracemw.cli.command import FINDINGS, FINE
from tracemw.cli.fetching import open_api
from tracemw.cli.output import fail, progress, say, show, warn


def compare_sides(options: argparse.Namespace) -> int:
    """Do what the options say, and return the exit status."""
    try:
        made = compare_sources(
            options.before,
            options.after,
            open_api=lambda: open_api(options),
            service=options.service,
            route=options.route,
            since=options.since,
            limit=options.limit,
            report=progress,
        )
    except (OSError, ValueError) as problem:  # no traces, none that can be read, or what is not accepted
        return fail(f"tracemw compare: {problem}")
    finally:
        progress("")
    if options.json:
        say(json.dumps(of_comparison(made)))
    else:
        show(lines_of_comparison(made))
    try:
        if options.html is not None:
            options.html.write_text(page_of_comparison(made), encoding="utf-8")
    except OSError as problem:
        return fail(f"tracemw compare: the page cannot be written ({problem}); name another file with --html")
    return _ended(made, options)


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
    if wrong and named is not None:
        warn(f"tracemw compare: --fail-on has found {', '.join(sorted({each.title for each in wrong}))}")
    return FINDINGS if wrong else FINE
