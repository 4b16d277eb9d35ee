"""What `tracemw analyze` prints for people: the verdict, the findings, the tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.grouping import FindingGroup, Survey
from tracemw.analysis.model import Trace
from tracemw.analysis.report.line import Line
from tracemw.analysis.report.tree import tree_lines
from tracemw.analysis.verdict import Verdict

_STYLES: Final = {"error": "bold red", "warning": "bold yellow", "hint": "cyan"}
_MOST_GROUPS: Final = 30
_LEAST_TOLD: Final = 0.5
"""Milliseconds that are more than 0 when they are rounded."""


def lines_of_one(trace: Trace, verdict: Verdict, findings: list[Finding]) -> Iterator[Line]:
    """Give the lines on one trace."""
    yield Line(_capital(verdict.sentence), "bold")
    yield Line("")
    for finding in findings:
        yield from _finding(finding)
        yield Line("")
    yield Line(f"trace {trace.trace_id}; > marks the critical path", "dim")
    yield from tree_lines(trace, frozenset(id_ for finding in findings[:1] for id_ in finding.span_ids))


def lines_of_many(made: Survey, verdict: Verdict, groups: list[FindingGroup]) -> Iterator[Line]:
    """Give the lines on many traces."""
    yield Line(_capital(verdict.sentence), "bold")
    for group in groups[:_MOST_GROUPS]:
        yield Line("")
        yield from _finding(group.exemplar)
        share = f" ({group.share:.1%} of the requests)" if group.share else ""  # of kept traces none is known
        often = f"in {group.traces} of {made.traces} traces{share}, " if group.traces else ""
        cost = f"{group.cost_ms:.0f} ms in all; " if group.cost_ms >= _LEAST_TOLD else ""
        yield Line(f"    {often}{cost}one of them is {group.exemplar.trace_id}")
    if groups[_MOST_GROUPS:]:
        yield Line(f"... and {len(groups) - _MOST_GROUPS} more; --json has all", "dim")


def _finding(finding: Finding) -> Iterator[Line]:
    yield Line(f"{finding.severity} {finding.code}: {finding.title}", _STYLES[finding.severity])
    saving = f" (saves up to {finding.saving_ms:.0f} ms)" if finding.saving_ms and finding.saving_ms >= 1 else ""
    yield Line(f"    {finding.remedy}{saving}")
    yield Line(f"    more of the same: {finding.query}", "dim")


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] if sentence.startswith("nothing ") else sentence
