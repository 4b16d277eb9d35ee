"""What two runs of a suite differ in, and which of that is explained."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Outcomes = dict[str, tuple[str, str]]
"""By test: what became of it, and the report if it failed."""

EXPLAINED: Final = Path(__file__).with_name("explained.toml")


@dataclass(frozen=True)
class Difference:
    """A test that came out otherwise with tracing on."""

    test: str
    bare: str
    traced: str
    report: str

    @property
    def module(self) -> str:
        """The file that the test stands in."""
        return self.test.partition("::")[0]

    def __str__(self) -> str:
        errors = [f"    {line}" for line in self.report.splitlines() if line.startswith("E  ")]
        return "\n".join([f"{self.test}: {self.bare} bare, {self.traced} traced", *errors[:6]])


@dataclass(frozen=True)
class Explanation:
    """Why tests must come out otherwise.

    Each of `tests` is a test, a test for all its parameters, or a module or folder for all that is in it. What fails
    for another reason than the explained one, and so does not have the text `shows` in its report, is not explained.
    """

    suite: str
    tests: tuple[str, ...]
    why: str
    traced: str = "failed"
    shows: str = ""
    plugin: str | None = None

    def covers(self, difference: Difference) -> bool:
        """Tell whether this is what the difference comes of."""
        return (
            any(_stands_for(test, difference.test) for test in self.tests)
            and difference.traced == self.traced
            and self.shows in difference.report
        )


def _stands_for(named: str, test: str) -> bool:
    return test == named or test.startswith((f"{named}[", f"{named}::", f"{named}/"))


def explanations(suite: str, plugin: str) -> list[Explanation]:
    """The explanations that stand for one way to run one suite."""
    return [entry for entry in all_explanations() if entry.suite == suite and entry.plugin in (None, plugin)]


def all_explanations() -> list[Explanation]:
    """Everything that is explained."""
    entries = tomllib.loads(EXPLAINED.read_text())["explained"]
    return [Explanation(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def differences(bare: Outcomes, traced: Outcomes) -> list[Difference]:
    """Every test whose outcome is another one with tracing on."""
    missing = ("missing", "")
    return [
        Difference(test, before[0], after[0], after[1])
        for test in sorted(bare.keys() | traced.keys())
        if (before := bare.get(test, missing))[0] != (after := traced.get(test, missing))[0]
    ]


def unexplained(found: Iterable[Difference], known: Sequence[Explanation]) -> list[Difference]:
    """The differences that no explanation covers."""
    return [difference for difference in found if not any(entry.covers(difference) for entry in known)]


def unneeded(found: Sequence[Difference], known: Iterable[Explanation]) -> list[str]:
    """The tests of explanations that no longer differ."""
    return [
        test
        for entry in known
        for test in entry.tests
        if not any(Explanation(entry.suite, (test,), "", entry.traced, entry.shows).covers(one) for one in found)
    ]
