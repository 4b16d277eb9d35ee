"""Findings of many traces, grouped and counted. Memory grows with the kinds of findings, not with the traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tracemw.analysis.findings.dependencies import Dependencies
from tracemw.analysis.findings.finders import find, rank
from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.findings.pool_waits import Leaks
from tracemw.analysis.model import Trace
from tracemw.analysis.sampling_weight import weight
from tracemw.analysis.shapes import without_numbers
from tracemw.analysis.verdict import Verdict, judge

_MOST_GROUPS: Final = 10_000


@dataclass(kw_only=True)
class FindingGroup:
    """One finding, as often as it was found."""

    exemplar: Finding
    """The one that costs most."""

    traces: int = 0
    """Traces that have it."""

    weight: float = 0.0
    """Requests that those stand for, as they were sampled."""

    cost_ms: float = 0.0
    """Milliseconds in all of these traces."""

    leading_ms: float = 0.0
    """Milliseconds in those traces of which this is the worst finding."""

    share: float = 0.0
    """Of all requests: how many have it, from 0 to 1."""


class Survey:
    """What is wrong with many traces."""

    def __init__(self) -> None:
        self.traces = 0
        """Traces that were looked at."""
        self._weight = 0.0
        self._groups: dict[tuple[str, ...], FindingGroup] = {}
        self._dependencies = Dependencies()
        self._leaks = Leaks()

    def add(self, trace: Trace) -> None:
        """Look at a trace, and forget it."""
        self.traces += 1
        stands_for = weight(trace)
        self._weight += stands_for
        self._dependencies.add(trace, stands_for)
        self._leaks.add(trace)
        best: dict[tuple[str, ...], Finding] = {}
        findings = find(trace)
        for finding in findings:
            best.setdefault((finding.code, finding.service, without_numbers(finding.query)), finding)
        for key, finding in best.items():
            group = self._groups.get(key)
            if group is None:
                if len(self._groups) >= _MOST_GROUPS:
                    continue
                group = self._groups[key] = FindingGroup(exemplar=finding)
            group.traces += 1
            group.weight += stands_for
            group.cost_ms += finding.cost_ms
            if finding is findings[0]:
                group.leading_ms += finding.cost_ms
            if finding.cost_ms > group.exemplar.cost_ms:
                group.exemplar = finding

    def groups(self) -> list[FindingGroup]:
        """Return what was found, worst first: by severity, then by what it costs where nothing else is worse."""
        for group in self._groups.values():
            group.share = group.weight / self._weight if self._weight else 0.0
        over_many = [
            FindingGroup(
                exemplar=finding, traces=finding.numbers["waiting_traces"], cost_ms=finding.numbers["waited_ms"]
            )
            for finding in self._leaks.findings()
        ]
        over_many += [
            FindingGroup(
                exemplar=finding,
                traces=finding.numbers["failing_traces"],
                cost_ms=finding.numbers["failed_ms"],
                share=finding.numbers["failing_requests"] / self._weight if self._weight else 0.0,
            )
            for finding in self._dependencies.findings()
        ]
        found = [*self._groups.values(), *over_many]
        return sorted(
            found, key=lambda group: (rank(group.exemplar)[:2], -group.leading_ms, -group.cost_ms, -group.traces)
        )


def judge_all(made: Survey, groups: list[FindingGroup]) -> Verdict:
    """Return the verdict on many traces."""
    if not groups:
        return Verdict(sentence=f"nothing is wrong with these {made.traces} traces", finding=None)
    first = groups[0]
    often = f" in {first.traces} of {made.traces} traces" if first.traces else ""
    return Verdict(sentence=f"{first.exemplar.title}{often}; {first.exemplar.remedy}", finding=first.exemplar)


def look_at(trace: Trace) -> tuple[Verdict, list[Finding]]:
    """Return the verdict on one trace and its findings, worst first."""
    findings = find(trace)
    return judge(trace, findings), findings
