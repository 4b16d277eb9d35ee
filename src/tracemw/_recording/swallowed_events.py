"""The events of a span for exceptions that the application has swallowed."""

from __future__ import annotations

from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util import BoundedList

from tracemw._otel.guard import guarded
from tracemw._recording.span import Span


@guarded
def tell_swallowed(span: Span) -> None:
    """Add an event to a span that has just ended for each place where an exception was swallowed."""
    # Not earlier: until the end, each of them may still be raised again.
    limits = span._limits
    for name, attributes, at in vars(span).pop("handled").events():
        if span._events == ():
            span._events = BoundedList(limits.max_events)
        span._events.append(Event(name, limits.of_event(attributes), at + span.clock_offset))
