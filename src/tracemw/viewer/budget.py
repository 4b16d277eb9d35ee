"""The CPU time of one question. A search ends when its time is out, or when nobody waits for it any more."""

from __future__ import annotations

import math
import time


class BudgetError(Exception):
    """A question takes too much work. The message says how to ask for less."""


class Budget:
    """What one question may cost.

    The clock is the CPU time of the thread that answers. So a busy machine ends no search that an idle one would
    finish. `begin`, `is_spent` and `check` belong to that thread. Any thread may call `cancel`.

    Args:
        seconds: CPU time of the thread, from `begin` on.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = math.inf
        self._cancelled = False

    def begin(self) -> None:
        """Start the clock."""
        self._end = time.thread_time() + self._seconds

    def cancel(self) -> None:
        """End the search: nobody waits for the answer."""
        self._cancelled = True

    def is_spent(self) -> bool:
        """Tell whether it is time to end."""
        return self._cancelled or time.thread_time() > self._end

    def check(self) -> None:
        """Do nothing while there is time.

        Raises:
            BudgetError: when it is time to end.
        """
        if self.is_spent():
            raise BudgetError(
                f"the search takes more than {self._seconds:g} seconds of CPU time: narrow it with start and end, "
                "or with a comparison that fewer spans match"
            )
