"""The counts of the spans of a process, by what has become of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tracemw._export.breaker import State

QUEUE_FULL: Final = "queue_full"
QUEUE_BYTES: Final = "queue_bytes"
TOO_LARGE: Final = "too_large"
BREAKER_OPEN: Final = "breaker_open"
RETRIES_EXHAUSTED: Final = "retries_exhausted"
ENCODING: Final = "encoding"
SHUTDOWN: Final = "shutdown"

TRIVIAL: Final = "trivial"
"""Not a cause: spans that have nothing to tell."""

CAUSES: Final = (QUEUE_FULL, QUEUE_BYTES, TOO_LARGE, BREAKER_OPEN, RETRIES_EXHAUSTED, ENCODING, SHUTDOWN)
"""Why spans are dropped on their way out, before the backend has a say."""


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What has become of the spans of this process, at one instant. Each span that has ended is in one number.

    Spans that are not recorded are counted when they start.
    """

    unsampled: int = 0
    """Spans that were not to be exported. They were not recorded, or were dropped when their local trace ended."""

    exported: int = 0
    """Spans that the backend has accepted."""

    rejected: int = 0
    """Spans that the backend has refused for good."""

    unknown: int = 0
    """Spans that were sent, with retries, and got no answer: the connection broke, or the time was over."""

    dropped: Mapping[str, int] = field(default_factory=dict)
    """Spans that were given up, by cause. These causes are always present:

    * `queue_full`, `queue_bytes`: more spans ended than could be sent, by their number or by their bytes
    * `too_large`: a span was larger than a request may be, or as large as one that the backend refused for its size
    * `breaker_open`: the backend had failed again and again, and was left alone
    * `retries_exhausted`: the backend was out of reach, or too busy, until the timeout of the export or the end
    * `encoding`: a span could not be encoded
    * `shutdown`: a span was still queued at the shutdown, or ended after it

    These causes concern spans of unsampled traces, and are present once they have happened:

    * `held_spans_per_trace`, `held_traces`, `held_spans`, `held_bytes`: a limit of the held spans was reached
    * `keep_rate`: more traces were to be kept than `Sampling(keep_rate=)` allows
    * `late`: a span ended more than 30 seconds after its local root, which was kept
    * `abandoned`: the application let go of a local root that it never ended
    """

    queued: int = 0
    """Spans that wait for delivery."""

    in_flight: int = 0
    """Spans of the batch that is being sent, or waits for its next attempt."""

    held: int = 0
    """Spans of unsampled traces that wait for their local root to end."""

    folded: int = 0
    """Spans that another span stands for: one of many like ones beneath one parent (`fold_after`)."""

    trivial: int = 0
    """Database spans of other instrumentations that have nothing to tell, and are not sent: those of BEGIN, COMMIT,
    `SELECT 1` and their like, unless they have failed, or have taken 100 milliseconds."""

    kept: Mapping[str, int] = field(default_factory=dict)
    """Unsampled local traces that were kept, by reason: `error`, `slow` or `manual`."""

    swallowed: int = 0
    """Exceptions that the application has handled within a span, and that have ended no span
    (`tracemw.init(swallowed=True)`)."""

    redacted: Mapping[str, int] = field(default_factory=dict)
    """Values that were redacted, by the key of their attribute, or by `name`, `status`, `tracestate` or `text`. A value
    that leaves on two ways, by a processor of your own, say, counts twice."""

    processor_errors: int = 0
    """How often a span processor of somebody else has raised. The spans themselves are in the other numbers."""

    retries: int = 0
    """Attempts to send that were not the first for their spans."""

    breaker: State = "closed"
    """`closed` while spans are sent, `open` while they are dropped at once, `half-open` when one batch may try."""

    last_error: str | None = None
    """The error of the latest attempt that failed."""

    @property
    def ended(self) -> int:
        """All spans that have ended, or are not recorded: the sum of what became of them."""
        lost = self.rejected + self.unknown + sum(self.dropped.values())
        waiting = self.queued + self.in_flight + self.held
        return self.unsampled + self.exported + lost + waiting + self.folded + self.trivial
