"""Retries: a request is sent again until it is answered for good, or its time is over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from tracemw._export.exporter import AttemptResult, ExportRequest, Outcome, Sender
from tracemw._export.orders import Orders

FIRST_PAUSE: Final = 1.0
"""Seconds before the second attempt."""

_FOR_GOOD: Final = (AttemptResult.ACCEPTED, AttemptResult.REJECTED, AttemptResult.TOO_LARGE, AttemptResult.INVALID)


class Retries:
    """Sends a request as often as it takes.

    The pause before the second attempt is `first_pause`, give or take a fifth, so that many services do not come at
    once. Each further pause is twice as long. A backend that asks for a longer pause gets it. If the backend asks for
    more time than there is, no other attempt is made, and the backend is left alone. A stale connection costs no pause.

    Args:
        sender: Makes one attempt.
        orders: Makes the pauses, which an order may cut short.
        leave_alone: Called with the seconds that a backend asks for, if that is more time than there is.
        first_pause: Seconds before the second attempt.
    """

    count: int
    """How many attempts were not the first of their request."""

    def __init__(
        self,
        sender: Sender,
        orders: Orders,
        *,
        leave_alone: Callable[[float], object],
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self.count = 0
        self._sender = sender
        self._orders = orders
        self._leave_alone = leave_alone
        self._first_pause = first_pause

    def send(self, request: ExportRequest, timeout: float) -> Outcome:
        """Send a request, within `timeout` seconds and the time of a shutdown. Return the last attempt's outcome."""
        orders, deadline = self._orders, time.monotonic() + timeout
        is_uncertain, pause = False, self._first_pause
        while True:
            outcome = self._sender.send(request, min(deadline, orders.stop_by) - time.monotonic())
            is_uncertain = is_uncertain or outcome.answer is AttemptResult.UNKNOWN
            if outcome.answer in _FOR_GOOD or outcome.is_final:
                break
            if not outcome.is_stale:
                seconds = max(pause * random.uniform(0.8, 1.2), outcome.retry_after)  # noqa: S311  no secret
                pause *= 2
                is_asked = outcome.retry_after > 0
                if time.monotonic() + seconds >= deadline or not orders.pause(seconds, is_asked=is_asked):
                    if is_asked and time.monotonic() + outcome.retry_after >= min(deadline, orders.stop_by):
                        self._leave_alone(outcome.retry_after)
                    break
            if time.monotonic() >= min(deadline, orders.stop_by):
                break
            self.count += 1
        return outcome._replace(is_uncertain=is_uncertain)
