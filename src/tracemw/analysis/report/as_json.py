"""What `tracemw analyze --json` prints. Names are there to stay; more may come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.grouping import FindingGroup, Survey
from tracemw.analysis.model import Trace, milliseconds
from tracemw.analysis.verdict import Verdict


def of_one(trace: Trace, verdict: Verdict, findings: list[Finding]) -> Mapping[str, Any]:
    """Return the document on one trace."""
    return {
        "verdict": verdict.sentence,
        "cause": verdict.finding and verdict.finding.code,
        "trace_id": trace.trace_id,
        "duration_ms": milliseconds(trace.root.duration),
        "spans": len(trace.spans),
        "findings": [of_finding(finding) for finding in findings],
    }


def of_many(made: Survey, verdict: Verdict, groups: list[FindingGroup]) -> Mapping[str, Any]:
    """Return the document on many traces: each finding is the exemplar of its group."""
    return {
        "verdict": verdict.sentence,
        "cause": verdict.finding and verdict.finding.code,
        "traces": made.traces,
        "findings": [
            {
                **of_finding(group.exemplar),
                "traces": group.traces,
                "share": round(group.share, 6),
                "cost_in_all_ms": round(group.cost_ms, 3),
            }
            for group in groups
        ],
    }


def of_finding(finding: Finding) -> Mapping[str, Any]:
    """Return the part of a document on one finding."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "title": finding.title,
        "trace_id": finding.trace_id,
        "span_ids": finding.span_ids,
        "service": finding.service,
        "line": finding.line,
        "cost_ms": finding.cost_ms,
        "saving_ms": finding.saving_ms,
        "remedy": finding.remedy,
        "query": finding.query,
        "numbers": finding.numbers,
    }
