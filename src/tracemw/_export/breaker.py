"""The circuit breaker: a backend that fails again and again is left alone for a while."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, Literal

from tracemw._export.exporter import AttemptResult, ExportRequest, Outcome, Sender

State = Literal["closed", "open", "half-open"]

FAILURES: Final = 5
"""How many attempts must fail in a row to open the breaker."""

INTERVAL: Final = 5.0
"""Seconds, about, that the breaker stays open."""

LONGEST_INTERVAL: Final = 60.0
"""Seconds that the breaker stays open at most, however long the backend asks to be left alone."""

_OF_SPANS: Final = (AttemptResult.TOO_LARGE, AttemptResult.INVALID)
"""Refusals that say nothing against the backend: other spans may be welcome."""


class Breaker:
    """Makes one attempt, and notes how it ended.

    A closed breaker lets every attempt through. After some failures in a row, the breaker opens: nobody is to send
    anything. After an interval, the breaker is half-open, and the next attempt decides whether it closes or opens
    again.

    Args:
        sender: Makes the attempt.
        change: Called with the state before and the state now, whenever the two differ.
        failures: How many attempts must fail in a row to open the breaker.
        interval: Seconds, give or take a fifth, that the breaker stays open, or longer if the backend asks for that.
    """

    state: State

    def __init__(
        self,
        sender: Sender,
        change: Callable[[State, State], object],
        *,
        failures: int = FAILURES,
        interval: float = INTERVAL,
    ) -> None:
        self.state = "closed"
        self._sender = sender
        self._change = change
        self._most_failures = failures
        self._interval = interval
        self._failures = 0
        self._open_until = 0.0

    @property
    def rest(self) -> float | None:
        """Seconds that the breaker still stays open; None when it is not open."""
        return max(self._open_until - time.monotonic(), 0.0) if self.state == "open" else None

    def send(self, request: ExportRequest, timeout: float) -> Outcome:
        """Make one attempt. The outcome is final when it opens the breaker."""
        outcome = self._sender.send(request, timeout)
        if outcome.answer is AttemptResult.ACCEPTED:
            self._failures = 0
            self._become("closed")
        elif outcome.answer not in _OF_SPANS and not outcome.is_stale and self.note_failure(outcome.retry_after):
            return outcome._replace(is_final=True)
        return outcome

    def note_failure(self, retry_after: float) -> bool:
        """Note an attempt that has failed. Return whether the breaker is open now.

        Args:
            retry_after: Seconds that the backend wants to be left alone.
        """
        self._failures += 1
        if self.state == "closed" and self._failures < self._most_failures:
            return False
        interval = self._interval * random.uniform(0.8, 1.2)  # noqa: S311  no secret: it keeps services apart
        self._open(max(interval, min(retry_after, LONGEST_INTERVAL)))
        return True

    def leave_alone(self, seconds: float) -> None:
        """Open at once, for as long as the backend asks."""
        self._open(min(seconds, LONGEST_INTERVAL))

    def try_again(self) -> None:
        """Become half-open once the interval is over."""
        if self.rest == 0:
            self._become("half-open")

    def _open(self, seconds: float) -> None:
        self._open_until = time.monotonic() + seconds
        self._become("open")

    def _become(self, state: State) -> None:
        before, self.state = self.state, state
        if state != before:
            self._change(before, state)
