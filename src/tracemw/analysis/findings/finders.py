"""All findings of one trace, worst first."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tracemw.analysis.evidence import Evidence
from tracemw.analysis.findings.attempts_of_calls import find_retry_storms
from tracemw.analysis.findings.broken_trace import find_broken
from tracemw.analysis.findings.durations import find_bottleneck, find_long_trace, find_slow_queries
from tracemw.analysis.findings.error_source import find_error_sources
from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.findings.gaps import find_blocked_loops, find_idle_gaps
from tracemw.analysis.findings.killed import find_killed
from tracemw.analysis.findings.pool_waits import find_leaked, find_pool_waits
from tracemw.analysis.findings.repetition import find_n_plus_one
from tracemw.analysis.findings.sequence import find_sequential_calls
from tracemw.analysis.findings.spread import find_deep, find_wide
from tracemw.analysis.findings.swallowed_error import find_swallowed
from tracemw.analysis.model import Trace
from tracemw.analysis.shapes import without_numbers

CODES: Final = (
    "killed",
    "pool-wait",
    "leaked-connection",
    "error-source",
    "retry-storm",
    "swallowed-error",
    "failing-dependency",
    "n-plus-one",
    "blocked-loop",
    "slow-query",
    "sequential-calls",
    "idle-gap",
    "long-trace",
    "bottleneck",
    "wide-trace",
    "deep-trace",
    "broken-trace",
)
"""Every code: causes before symptoms."""

_SEVERITIES: Final = ("error", "warning", "hint")
_SYMPTOMS: Final = frozenset({"long-trace", "wide-trace", "deep-trace", "broken-trace"})
_BOTTLENECKS: Final = frozenset({"slow-query", "blocked-loop", "pool-wait"})
"""Findings that say more of a bottleneck than that it is one."""
_MOST_OF: Final = 0.5
_MOST_IDS: Final = 50
_FAILURES: Final = frozenset({"killed", "error-source", "swallowed-error"})


def find(trace: Trace) -> list[Finding]:
    """Return all findings of a trace, worst first: errors, warnings, hints; of these, what explains most."""
    evidence = Evidence(trace)
    found = [
        *find_killed(trace),
        *find_error_sources(trace),
        *find_swallowed(trace),
        *find_retry_storms(trace),
        *find_pool_waits(trace),
        *find_leaked(trace),
        *find_n_plus_one(evidence),
        *find_sequential_calls(evidence),
        *find_slow_queries(trace),
        *find_blocked_loops(trace),
        *find_bottleneck(trace),
        *find_idle_gaps(trace),
        *find_long_trace(trace),
        *find_wide(evidence),
        *find_deep(trace),
        *find_broken(trace),
    ]
    return _each_once(_in_order(_without_doubles(found), trace)) if len(found) > 1 else found


def _in_order(found: list[Finding], trace: Trace) -> list[Finding]:
    """Return the findings, worst first. What began after the response explains nothing of the request."""
    first = {finding.span_ids[0] for finding in found}
    later = {span.span_id for span in trace.spans if span.span_id in first and span.start >= trace.root.end}

    def key(finding: Finding) -> tuple[object, ...]:
        severity, is_symptom, *more = rank(finding)
        return (severity, is_symptom, finding.span_ids[0] in later, *more)

    return sorted(found, key=key)


def _each_once(found: list[Finding]) -> list[Finding]:
    """Return the findings, of those that say the same of several spans the worst, with the ids of all."""
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for finding in found:
        key = (finding.code, finding.severity, finding.service, without_numbers(finding.title))
        alike.setdefault(key, []).append(finding)
    return [first if not others else _with(first, others) for first, *others in alike.values()]


def _with(first: Finding, others: list[Finding]) -> Finding:
    span_ids = dict.fromkeys(span_id for finding in (first, *others) for span_id in finding.span_ids)
    return replace(first, title=f"{first.title} (and {len(others)} more like it)", span_ids=tuple(span_ids)[:_MOST_IDS])


def _without_doubles(found: list[Finding]) -> list[Finding]:
    """Return the findings without a bottleneck of which another finding of the same span tells the cause."""
    told = {
        span_id: finding.cost_ms
        for finding in found
        if finding.code in _BOTTLENECKS
        for span_id in finding.span_ids[:1]
    }
    return [
        finding
        for finding in found
        if finding.code != "bottleneck" or told.get(finding.span_ids[0], 0.0) < _MOST_OF * finding.cost_ms
    ]


def rank(finding: Finding) -> tuple[int, bool, bool, int, float]:
    """Return the sort key of a finding: the worst has the lowest."""
    explains_failure = finding.code in _FAILURES or (finding.code == "pool-wait" and finding.severity == "error")
    order = CODES.index(finding.code) if explains_failure else 0
    return (
        _SEVERITIES.index(finding.severity),
        finding.code in _SYMPTOMS,
        not explains_failure,
        order,
        -finding.cost_ms,
    )
