"""How much work one question may make: a search ends when its CPU time is out, or when nobody waits for it any more."""

from __future__ import annotations

import time

SEARCH_SECONDS = 5.0  # of CPU time: twice what it takes to look into each of 200,000 spans


class EffortError(Exception):
    """A question that takes too much work; the message says how to ask for less."""


class Effort:
    """What one question may cost, to be made and used on the thread that answers; `stop` may be called from any.

    Args:
        seconds: CPU time of the thread, so that a busy machine ends no search that an idle one would not
    """

    def __init__(self, seconds: float = SEARCH_SECONDS) -> None:
        self._seconds = seconds
        self._end: float | None = None
        self._stopped = False

    def stop(self) -> None:
        """Nobody waits for the answer."""
        self._stopped = True

    def is_spent(self) -> bool:
        """Whether it is time to end."""
        if self._end is None:
            self._end = time.thread_time() + self._seconds
        return self._stopped or time.thread_time() > self._end

    def check(self) -> None:
        """Raise `EffortError` when it is time to end."""
        if self.is_spent():
            raise EffortError(
                f"the search takes more than {self._seconds:g} seconds of CPU time: narrow it with start and end, "
                "or with a comparison that fewer spans fulfil"
            )
