"""The circuit breaker: after repeated failures, or when asked to, nothing is sent but for one batch now and then."""

from __future__ import annotations

import random
import time
from typing import Final, Literal

State = Literal["closed", "open", "half-open"]

FAILURES: Final = 5
"""Attempts that fail one after another until it opens."""

INTERVAL: Final = 5.0
"""Seconds, or thereabouts, until a batch may try again."""

LONGEST_INTERVAL: Final = 60.0
"""Seconds until then at most, when the backend asks for more."""


class Breaker:
    """Closed, it lets everything through; open, nothing; half-open, one attempt, which decides."""

    def __init__(self) -> None:
        self.state: State = "closed"
        self._failures = 0
        self._opens_until = 0.0

    @property
    def rest(self) -> float | None:
        """Seconds that it stays open; None when it is not."""
        return max(self._opens_until - time.monotonic(), 0.0) if self.state == "open" else None

    def allow_one(self) -> None:
        """Become half-open."""
        self.state = "half-open"

    def leave_alone(self, seconds: float) -> None:
        """Open at once, for as long as the backend asks for, which is longer than a batch can wait."""
        self._open(min(seconds, LONGEST_INTERVAL))

    def succeeded(self) -> bool:
        """Take note of an attempt that was answered well; tell whether that has closed it."""
        has_closed = self.state != "closed"
        self.state, self._failures = "closed", 0
        return has_closed

    def failed(self, retry_after: float) -> bool:
        """Take note of an attempt that has failed; tell whether it is open now.

        Args:
            retry_after: Seconds that the backend wants to be left alone.
        """
        self._failures += 1
        if self.state == "closed" and self._failures < FAILURES:
            return False
        interval = INTERVAL * random.uniform(0.8, 1.2)  # noqa: S311  no secret; lest all services come at once
        self._open(max(interval, min(retry_after, LONGEST_INTERVAL)))
        return True

    def _open(self, seconds: float) -> None:
        self._opens_until = time.monotonic() + seconds
        self.state = "open"
