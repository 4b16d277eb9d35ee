"""What a doctor says: settings, checks, and scores of services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tracemw.checking.errors_told import without_secrets

if TYPE_CHECKING:
    from tracemw.doctor.instrumentation_score import Score

Status = Literal["ok", "hint", "warning", "failure", "unknown"]


@dataclass(frozen=True)
class Check:
    """What one look at one thing has shown."""

    name: str
    """What was looked at, in a word or two: `dns`, `tls`, `canary`."""

    status: Status
    """`hint` is for what may be as it should; `unknown` where the look was not possible."""

    sentence: str
    """What works, or what does not. It may quote others: what looks like a secret is left out."""

    remedy: str = ""
    """What to do about it; empty where there is nothing to do."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentence", without_secrets(self.sentence))


@dataclass(frozen=True)
class Setting:
    """One setting as it holds."""

    name: str
    value: str
    """Without secrets."""
    source: str
    """`argument endpoint`, the name of a variable, or `default`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", without_secrets(self.value))


@dataclass(kw_only=True)
class Diagnosis:
    """All that an examination has shown."""

    subject: str
    """What was examined: `the environment`, or an application such as `shop:app`."""

    settings: Sequence[Setting] = ()
    checks: list[Check] = field(default_factory=list)
    scores: Sequence[Score] = ()

    @property
    def status(self) -> Status:
        """`failure`, `warning` or `ok`: the worst of all checks. What is a hint or unknown is no reason to worry."""
        found = {check.status for check in self.checks}
        return next((status for status in _WORST_FIRST if status in found), "ok")

    @property
    def has_arrived(self) -> bool:
        """Whether the backend has shown the span that was sent."""
        return any(check.name == "arrival" and check.status == "ok" for check in self.checks)


_WORST_FIRST: Final[tuple[Status, ...]] = ("failure", "warning")


def ok(name: str, sentence: str) -> Check:
    """Return the check of what works."""
    return Check(name, "ok", sentence)


def hint(name: str, sentence: str, remedy: str) -> Check:
    """Return the check of what may well be as it should."""
    return Check(name, "hint", sentence, remedy)


def warning(name: str, sentence: str, remedy: str) -> Check:
    """Return the check of what works, and may not be what one wants."""
    return Check(name, "warning", sentence, remedy)


def failure(name: str, sentence: str, remedy: str) -> Check:
    """Return the check of what does not work."""
    return Check(name, "failure", sentence, remedy)


def unknown(name: str, sentence: str, remedy: str = "") -> Check:
    """Return the check of what could not be looked at."""
    return Check(name, "unknown", sentence, remedy)
