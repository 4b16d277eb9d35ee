"""The time within a request: the wall clock's at the start, and then what the monotonic clock adds.

Somebody may set the wall clock while a request is under way. Then the difference of two of its times is no duration.
So each local root notes once how far the wall clock is ahead of the monotonic one: the offset. Spans that start
beneath an open span take over its offset. Every time within the request is the monotonic clock's plus the offset. The
next local root notes a new one.
"""

from __future__ import annotations

from time import monotonic_ns, time_ns


def offset() -> int:
    """Return how many nanoseconds the wall clock (since the epoch) is ahead of the monotonic one now."""
    return time_ns() - monotonic_ns()


def offset_of(span: object) -> int:
    """Return the offset of a span of ours; for any other span, the offset of now."""
    found = getattr(span, "clock_offset", None)
    return found if type(found) is int else offset()
