"""What `tracemw doctor` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tracemw.analysis.report.line import Line
from tracemw.doctor.diagnosis import Status

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


def lines_of_diagnosis(document: Mapping[str, Any]) -> Iterator[Line]:
    """Give the lines of a diagnosis.

    Args:
        document: As `of_diagnosis` makes it.
    """
    yield Line(_verdict(document), "bold")
    yield Line("")
    if settings := document["settings"]:
        yield Line(f"settings of {document['subject']}", "bold")
        width = max(len(setting["name"]) for setting in settings)
        value = min(max(len(setting["value"]) for setting in settings), 40)
        for setting in settings:
            yield Line(f"    {setting['name']:{width}}  {setting['value']:{value}}  {setting['source']}", "dim")
        yield Line("")
    for check in document["checks"]:
        yield from _check(check)
    for score in document["scores"]:
        yield Line("")
        yield from _score(score)
    if document["scores"]:
        yield Line("")
        yield Line(INCOMPLETE, "dim")


def _verdict(document: Mapping[str, Any]) -> str:
    checks = document["checks"]
    for check in checks:
        if check["status"] == "failure":
            return f"{check['name']}: {check['sentence']}"
    count = sum(check["status"] == "warning" for check in checks)
    warnings = f"{count or 'no'} warning{'' if count == 1 else 's'}"
    if document["arrived"]:
        return f"Spans arrive; {warnings}"
    if any(check["name"] == "arrival" for check in checks):
        return f"Nothing fails, and nobody was asked whether spans arrive; {warnings}"
    return f"Nothing fails; {warnings}"


def _check(check: Mapping[str, Any]) -> Iterator[Line]:
    yield Line(f"{check['status']:8}{check['name']}: {check['sentence']}", _STYLES[check["status"]])
    if check["remedy"]:
        yield Line(f"        {check['remedy']}")


def _score(score: Mapping[str, Any]) -> Iterator[Line]:
    kept, rules = sum(rule["passed"] for rule in score["rules"]), len(score["rules"])
    yield Line(
        f"Instrumentation Score of {score['service'] or 'what has no name'}: {score['score']:.0f} of 100, "
        f"{score['category']} ({kept} of {rules} rules; traces: {score['traces']})",
        _CATEGORIES[score["category"]],
    )
    for rule in score["rules"]:
        if not rule["passed"]:
            yield Line(f"    {rule['id']} ({rule['impact']}) {rule['says']}: {rule['violation']}")
            yield Line(f"        {rule['remedy']}")
