"""Precision, recall, and the misses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from analysis.evaluation.labelled import Labelled
from tracemw.analysis.findings.finders import CODES, find
from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.grouping import Survey

OVER_ALL: Final = 0.95
"""Precision and recall that all findings together have to reach."""
PER_CODE: Final = 0.85
"""Recall that each code has to reach."""
FALSE_OF_HEALTHY: Final = 0.01
"""Findings that there may be for each healthy trace."""
FIRST: Final = 0.9
"""The share of traces whose first finding has to be the cause."""


@dataclass
class Score:
    """What was found right, wrong, and not at all."""

    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    misses: list[str] = field(default_factory=list)
    """Each thing that went wrong, in words."""
    traces: int = 0
    healthy: int = 0
    false_of_healthy: int = 0
    judged: int = 0
    judged_right: int = 0

    @property
    def precision(self) -> float:
        """How much of what was found is right."""
        return _share(self.right.total(), self.wrong.total())

    @property
    def recall(self) -> float:
        """How much of what there is was found."""
        return _share(self.right.total(), self.missed.total())

    def recall_of(self, code: str) -> float:
        """How much of what there is of one code was found."""
        return _share(self.right[code], self.missed[code])

    def precision_of(self, code: str) -> float:
        """How much of what was found of one code is right."""
        return _share(self.right[code], self.wrong[code])

    @property
    def first(self) -> float:
        """How often the first finding is the cause."""
        return _share(self.judged_right, self.judged - self.judged_right)

    @property
    def false_per_healthy_trace(self) -> float:
        """Findings for each healthy trace."""
        return self.false_of_healthy / self.healthy if self.healthy else 0.0

    def short_of(self) -> Iterator[str]:
        """Give each goal that is not reached, in words."""
        if self.precision < OVER_ALL:
            yield f"precision is {self.precision:.3f}, and has to be {OVER_ALL}"
        if self.recall < OVER_ALL:
            yield f"recall is {self.recall:.3f}, and has to be {OVER_ALL}"
        for code in CODES:
            if self.right[code] + self.missed[code] == 0:
                yield f"no trace has {code}"
            elif self.recall_of(code) < PER_CODE:
                yield f"recall of {code} is {self.recall_of(code):.3f}, and has to be {PER_CODE}"
        if self.false_per_healthy_trace > FALSE_OF_HEALTHY:
            yield (
                f"there are {self.false_per_healthy_trace:.3f} findings for each healthy trace, "
                f"and there may be {FALSE_OF_HEALTHY}"
            )
        if self.first < FIRST:
            yield f"the first finding is the cause in {self.first:.3f}, and has to be in {FIRST}"


def score(labelled: Iterable[Labelled]) -> Score:
    """Have all traces analysed, and count."""
    counted = Score()
    for each in labelled:
        traces = each.traces()
        counted.traces += len(traces)
        if each.over_all:
            survey = Survey()
            for trace in traces:
                survey.add(trace)
            _count(each, [group.exemplar for group in survey.groups()], counted)
            continue
        for trace in traces:
            findings = find(trace)
            _count(each, findings, counted)
            if each.causes:
                _judge(each, findings, counted)
            if each.healthy and each.name.startswith("healthy"):
                counted.healthy += 1
    return counted


def _count(each: Labelled, findings: Sequence[Finding], counted: Score) -> None:
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    for code, spans in each.expected.items():
        found = by_code.pop(code, [])
        proven = [finding for finding in found if not spans or spans & set(finding.span_ids)]
        counted.right[code] += bool(proven)
        if not proven:
            counted.missed[code] += 1
            counted.misses.append(f"missed {code} in {each.name}{_instead(findings)}")
        for finding in found:
            if finding not in proven:
                _is_wrong(each, finding, counted)
    for code, found in by_code.items():
        if code not in each.allowed:
            for finding in found:
                _is_wrong(each, finding, counted)


def _is_wrong(each: Labelled, finding: Finding, counted: Score) -> None:
    counted.wrong[finding.code] += 1
    counted.misses.append(f"false {finding.code} in {each.name}: {finding.title}")
    if each.name.startswith("healthy"):
        counted.false_of_healthy += 1


def _judge(each: Labelled, findings: Sequence[Finding], counted: Score) -> None:
    counted.judged += 1
    if findings:
        first = findings[0]
        spans = each.expected.get(first.code, frozenset())
        if first.code in each.causes and (not spans or spans & set(first.span_ids)):
            counted.judged_right += 1
            return
    counted.misses.append(f"not the cause, in {each.name}{_instead(findings)}")


def _instead(findings: Sequence[Finding]) -> str:
    return f"; found: {', '.join(f'{each.code} ({each.title})' for each in findings) or 'nothing'}"


def _share(right: int, others: int) -> float:
    return right / (right + others) if right + others else 1.0
