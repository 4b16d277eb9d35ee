"""What is told of an application: each problem with its place and the line to add, and the document of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

CODES: Final = (
    "no-init",
    "no-door",
    "not-outermost",
    "mount-without-door",
    "door-twice",
    "traced-twice",
    "other-door",
    "skips-all",
    "client",
    "TMW302",
)
"""What may be told."""


class CheckError(Exception):
    """An application cannot be checked. The text says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class CodePlace:
    """A line of code."""

    path: str
    """Relative to the working directory where it is within."""
    line: int | None = None
    """1 for the first line; None where only the file is known."""
    last: int | None = None
    """The last line of the statement."""

    def covers(self, path: str, line: int) -> bool:
        """Tell whether a line is part of the statement here."""
        return self.path == path and self.line is not None and self.line <= line <= (self.last or self.line)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is wrong."""

    code: str
    sentence: str
    remedy: str
    """What to do; the very line of code where one line does it."""
    place: CodePlace | None = None


@dataclass(kw_only=True)
class CheckReport:
    """What has been seen of an application."""

    framework: str
    traced_by: str | None = None
    """What makes the SERVER span: a door, or another instrumentation; None for nothing."""
    clients: list[tuple[str, str, bool]] = field(default_factory=list)
    """Name, class, and whether the client is traced."""
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be seen."""

    def document(self) -> dict[str, Any]:
        """Return the document. Its names are there to stay; more may come."""
        return {
            "framework": self.framework,
            "traced_by": self.traced_by,
            "clients": [{"name": name, "class": kind, "traced": traced} for name, kind, traced in self.clients],
            "problems": _documents(self.problems),
            "notes": self.notes,
        }


def _documents(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [
        {
            "code": each.code,
            "path": each.place.path if each.place else None,
            "line": each.place.line if each.place else None,
            "sentence": each.sentence,
            "remedy": each.remedy,
        }
        for each in problems
    ]
