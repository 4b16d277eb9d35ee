"""Spans of unsampled traces, which are held until it is known whether somebody will see them."""

from __future__ import annotations

from typing import Any, Protocol


class Held(Protocol):
    """What our recorder's spans of unsampled traces do beyond OpenTelemetry's, for the doors and `tracemw.keep`."""

    def answered(self) -> None:
        """Take the time until now, the first time, and not until the end as how long the request took."""

    def lasts(self) -> None:
        """Take it for one that is never slow: a connection that goes on for as long as its two ends want."""

    def dismiss(self, end_time: int | None) -> bool:
        """End the span at `end_time`, or now, if nobody will see it; tell whether that is so."""

    def keep(self) -> None:
        """Have what this process records of the trace kept, whatever becomes of it."""


def as_held(span: Any) -> Held | None:
    """Return a span if it is one of an unsampled trace; others have no `is_held`, or say that they are not."""
    # Not a base class: a second base makes each access to a span slower.
    return span if getattr(span, "is_held", False) else None
