"""The counts of what becomes of spans, and the log lines about those that are lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Final

from tracemw._export.exporter import AttemptResult, Outcome
from tracemw._export.stats import (
    CAUSES,
    ENCODING,
    QUEUE_BYTES,
    QUEUE_FULL,
    RETRIES_EXHAUSTED,
    SHUTDOWN,
    TOO_LARGE,
    TRIVIAL,
)
from tracemw._process.log import log

EXPORTED: Final = "exported"
REJECTED: Final = "rejected"
UNKNOWN: Final = "unknown"
LATE: Final = "late"
"""Spans that ended after the shutdown had begun. They are dropped, and do not count as lost."""

OWN_FAULT: Final = "tracemw's own fault"

_QUIET_SECONDS: Final = 60.0
"""Seconds between two log lines about spans that are lost while others arrive."""

_TOLD_APART: Final = (REJECTED, UNKNOWN, QUEUE_FULL, QUEUE_BYTES, TOO_LARGE, RETRIES_EXHAUSTED, ENCODING, SHUTDOWN)
"""The losses that a line counts. An open breaker has lines of its own."""

_OUT_OF_TIME: Final = (UNKNOWN, RETRIES_EXHAUSTED, SHUTDOWN)
"""The causes of spans for which the end of the process leaves no time."""

_TOO_FAST: Final = "More spans end than are sent: lower the sampling ratio, or make the queue longer for bursts: "
_REMEDIES: Final = {
    QUEUE_FULL: f"{_TOO_FAST}OTEL_BSP_MAX_QUEUE_SIZE is %d here",
    QUEUE_BYTES: f"{_TOO_FAST}TRACEMW_QUEUE_BYTES is %d here",
    TOO_LARGE: "A span that is larger than a request may be is lost: TRACEMW_BATCH_BYTES is %d here",
}
"""What to do about spans that are lost to a limit of our own."""


class Losses:
    """Counts what becomes of spans, and logs those that are lost.

    The log gets one line when the backend is left alone, and one when spans arrive again. About spans that are lost
    while others arrive, there is a line now and then, and a last one at the end. Each line says why, and what to do.

    Args:
        destination: The URL that the spans go to.
        limits: Our own limits, by the cause for which spans beyond them are lost.
        quiet: Seconds between two lines about spans that are lost while others arrive.
    """

    counts: dict[str, int]
    """Spans that have arrived or been dropped. Whoever moves a span counts it, with no call among the steps."""

    last_error: str | None
    """The error of the latest attempt that failed."""

    def __init__(self, destination: str, *, limits: Mapping[str, int], quiet: float = _QUIET_SECONDS) -> None:
        self.counts = dict.fromkeys((EXPORTED, REJECTED, UNKNOWN, LATE, TRIVIAL, *CAUSES), 0)
        self.last_error = None
        self._destination = destination
        self._limits = limits
        self._quiet = quiet
        self._remedy = ""
        self._told = self.counts.copy()
        """The counts at the latest line in the log."""
        self._quiet_until = self._restarts_quietly_until = 0.0
        self._has_raised = self._has_warned = False

    def lost(self) -> int:
        """Return how many spans are lost."""
        counts = self.counts
        return sum(counts.values()) - counts[EXPORTED] - counts[LATE] - counts[TRIVIAL]

    def hear(self, outcome: Outcome) -> None:
        """Note an error. If the backend has accepted the spans with a warning, log the first such warning."""
        if not outcome.error:
            return
        if outcome.answer is not AttemptResult.ACCEPTED or outcome.rejected:
            self.last_error, self._remedy = outcome.error, outcome.remedy
        elif not self._has_warned:
            self._has_warned = True
            log(logging.WARNING, "%s takes the spans, and says: %s", self._destination, outcome.error)

    def tell(self) -> None:
        """Log the spans that were lost since the latest line, unless that line is too recent."""
        if time.monotonic() >= self._quiet_until:
            self._tell_of(self._untold())

    def tell_of_outage(self) -> None:
        """Log that the backend is left alone."""
        self._report("spans do not reach %s, and are dropped until they do; the service itself is not affected")

    def tell_of_return(self) -> None:
        """Log that the backend takes spans again. No further line tells of the spans that the outage has cost."""
        self._told = self.counts.copy()
        log(logging.WARNING, "spans reach %s again", self._destination)

    def tell_of_end(self) -> None:
        """Log the spans that are lost at the end, and those that were lost since the latest line."""
        lost = self._untold()
        late = sum(lost.pop(cause, 0) for cause in _OUT_OF_TIME)
        if late:
            self._report("%d spans do not reach %s: the time to send them is over", late)
        self._tell_of(lost)

    def tell_of_fault(self, error: Exception) -> None:
        """Log the first fault of our own, or of an exporter."""
        if not self._has_raised:
            self._has_raised = True
            log(logging.ERROR, "tracemw has failed to export spans; the next such failures are not logged", error=error)

    def tell_of_restart(self, error: BaseException) -> None:
        """Log a fault that has ended the worker, once in a while. The worker starts again."""
        self.last_error = OWN_FAULT
        if time.monotonic() >= self._restarts_quietly_until:
            self._restarts_quietly_until = time.monotonic() + self._quiet
            log(logging.ERROR, "the delivery of spans has failed, and starts again: %r", error, error=error)

    def _untold(self) -> dict[str, int]:
        """Return how many spans were lost since the latest line, by cause."""
        counts, told = self.counts.copy(), self._told
        self._told = counts
        return {cause: counts[cause] - told[cause] for cause in _TOLD_APART if counts[cause] > told[cause]}

    def _tell_of(self, lost: dict[str, int]) -> None:
        if not lost:
            return
        self._quiet_until = time.monotonic() + self._quiet
        causes = ", ".join(f"{cause}: {count}" for cause, count in lost.items())
        said, facts = "%d spans are lost (%s) on their way to %s", (sum(lost.values()), causes)
        if lost.keys() <= self._limits.keys():  # the last error has nothing to do with these
            remedies = ". ".join(_REMEDIES[cause] for cause in lost)
            limits = [self._limits[cause] for cause in lost]
            log(logging.WARNING, f"{said}. {remedies}", *facts, self._destination, *limits)
        else:
            self._report(said, *facts)

    def _report(self, message: str, *facts: object) -> None:
        error = f". Last error: {self.last_error}" if self.last_error else ""
        remedy = f". {self._remedy}" if self._remedy else ""
        log(logging.WARNING, f"{message}%s%s", *facts, self._destination, error, remedy)
