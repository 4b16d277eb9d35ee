"""The Instrumentation Score of services: 0 to 100, by the rules that traces tell of.

Source: github.com/instrumentation-score/spec, "Score Calculation Formula" and "Qualitative Categories", version 0.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tracemw.analysis.model import Trace
from tracemw.doctor.score_rules import RULES, WEIGHTS, ScoreRule
from tracemw.doctor.telemetry import Telemetry, by_service

_CATEGORIES: Final = ((90, "excellent"), (75, "good"), (50, "needs improvement"), (0, "poor"))


@dataclass(frozen=True)
class Judged:
    """A rule, and how a service breaks it."""

    rule: ScoreRule
    violation: str
    """Empty where the service keeps it."""


@dataclass(frozen=True)
class Score:
    """The score of one service."""

    service: str
    """Empty for processes that do not say."""

    traces: int
    """How many traces were looked at."""

    judged: tuple[Judged, ...]

    @property
    def value(self) -> float:
        """0 to 100: the weights of the rules that are kept, as a share of all."""
        kept = sum(WEIGHTS[each.rule.impact] for each in self.judged if not each.violation)
        return 100 * kept / sum(WEIGHTS[each.rule.impact] for each in self.judged)

    @property
    def category(self) -> str:
        """The value in a word."""
        return next(name for least, name in _CATEGORIES if self.value >= least)


def scores_of(traces: Iterable[Trace]) -> list[Score]:
    """Return the score of each service that has a part in the traces."""
    return [_score(told) for told in by_service(traces)]


def _score(told: Telemetry) -> Score:
    return Score(told.service, len(told.traces), tuple(Judged(rule, rule.violation(told)) for rule in RULES))
