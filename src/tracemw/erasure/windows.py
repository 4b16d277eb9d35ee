"""Windows of time, each no longer than one search may cover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

LONGEST_SEARCH: Final = 168 * 3600
"""Seconds that one search of Tempo covers by default."""


@dataclass(frozen=True)
class Window:
    """Times from one second to another, in seconds since the epoch."""

    start: int
    end: int

    def parts(self) -> Iterator[Window]:
        """Yield the window in parts that one search covers each, the latest first."""
        end = self.end
        while end > self.start:
            start = max(end - LONGEST_SEARCH, self.start)
            yield Window(start, end)
            end = start

    def halves(self) -> tuple[Window, ...]:
        """Return the two halves; nothing if the window is too short to have any."""
        middle = (self.start + self.end) // 2
        return (Window(self.start, middle), Window(middle, self.end)) if self.end - self.start > 1 else ()
