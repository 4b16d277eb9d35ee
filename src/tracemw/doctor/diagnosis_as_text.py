"""What `tracemw doctor` prints for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tracemw.analysis.report.line import Line
from tracemw.doctor.diagnosis import Check, Diagnosis, Status
from tracemw.doctor.instrumentation_score import Score

_STYLES: Final[dict[Status, str]] = {
    "ok": "green",
    "warning": "bold yellow",
    "failure": "bold red",
    "unknown": "cyan",
    "hint": "cyan",
}
_CATEGORIES: Final = {"excellent": "green", "good": "green", "needs improvement": "bold yellow", "poor": "bold red"}
INCOMPLETE: Final = (
    "traces tell of some rules only, not of those about metrics, logs and the SDK: the score is not complete"
)


def lines_of_diagnosis(diagnosis: Diagnosis) -> Iterator[Line]:
    """Give the lines of a diagnosis."""
    yield Line(_verdict(diagnosis), "bold")
    yield Line("")
    if diagnosis.settings:
        yield Line(f"settings of {diagnosis.subject}", "bold")
        width = max(len(setting.name) for setting in diagnosis.settings)
        value = max(len(setting.value) for setting in diagnosis.settings)
        for setting in diagnosis.settings:
            yield Line(f"    {setting.name:{width}}  {setting.value:{min(value, 40)}}  {setting.source}", "dim")
        yield Line("")
    for check in diagnosis.checks:
        yield from _check(check)
    for score in diagnosis.scores:
        yield Line("")
        yield from _score(score)
    if diagnosis.scores:
        yield Line("")
        yield Line(INCOMPLETE, "dim")


def _verdict(diagnosis: Diagnosis) -> str:
    failures = [check for check in diagnosis.checks if check.status == "failure"]
    if failures:
        return f"{failures[0].name}: {failures[0].sentence}"
    warnings = sum(check.status == "warning" for check in diagnosis.checks)
    if any(check.name == "arrival" and check.status == "ok" for check in diagnosis.checks):
        return f"Spans arrive; {_counted(warnings, 'warning')}"
    return f"Nothing fails; {_counted(warnings, 'warning')}"


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _check(check: Check) -> Iterator[Line]:
    yield Line(f"{check.status:8}{check.name}: {check.sentence}", _STYLES[check.status])
    if check.remedy:
        yield Line(f"        {check.remedy}")


def _score(score: Score) -> Iterator[Line]:
    kept = sum(not each.violation for each in score.judged)
    yield Line(
        f"Instrumentation Score of {score.service or 'what has no name'}: {score.value:.0f} of 100, {score.category} "
        f"({kept} of {len(score.judged)} rules; traces: {score.traces})",
        _CATEGORIES[score.category],
    )
    for each in score.judged:
        if each.violation:
            yield Line(f"    {each.rule.id} ({each.rule.impact}) {each.rule.says}: {each.violation}")
            yield Line(f"        {each.rule.remedy}")
