"""Pauses of Python's garbage collector, which stop all threads."""

from __future__ import annotations

import gc
from time import monotonic_ns
from typing import Any, Final

from tracemw._otel.served import Seen, leave_note, served

PAUSED: Final = "tracemw.gc.paused"
"""The event of each request that was being served meanwhile."""

_PAUSED: Final = 20_000_000
"""Nanoseconds from which a pause is told."""


class CollectorPauses:
    """Notes the long pauses of the garbage collector, from `begin` to `end`.

    The collector may run at almost any step of any thread. So nothing here takes a lock.
    """

    def __init__(self) -> None:
        self._started = 0

    def begin(self) -> None:
        """Have the collector call from now on."""
        gc.callbacks.append(self._called)

    def end(self) -> None:
        """Have the collector call no more."""
        if self._called in gc.callbacks:
            gc.callbacks.remove(self._called)

    def _called(self, phase: str, about: dict[str, Any]) -> None:
        if phase == "start":
            self._started = monotonic_ns()
            return
        lasted = monotonic_ns() - self._started
        if lasted > _PAUSED:
            told = {"tracemw.seconds": round(lasted / 1e9, 3), "tracemw.gc.generation": about.get("generation", -1)}
            note = Seen(self._started, PAUSED, told)
            for request in list(served):
                leave_note(request, note)
