"""What has been redacted: the keys, and how often. Never a value."""

from __future__ import annotations

from typing import Final

_MOST: Final = 1000
"""Keys that are counted. Others count as one."""

OTHERS: Final = "…"
"""Where keys count that are too many."""


class Report:
    """Counts redacted values by their key.

    There is no lock: a count is raised by one statement with no call in it (docs/architecture.md).
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, key: str) -> None:
        """Count one value of a key."""
        counts = self._counts
        if key not in counts:
            key = key if len(counts) < _MOST else OTHERS
            counts.setdefault(key, 0)
        # No call from here to the end: no other thread comes between.
        counts[key] += 1

    def counts(self) -> dict[str, int]:
        """Return how often a value was redacted, by its key."""
        return self._counts.copy()

    def forget(self) -> None:
        """Begin anew, in a process that has just been forked."""
        self._counts = {}
