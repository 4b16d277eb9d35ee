"""Time within a request: the wall clock's at its start, and from then on what a monotonic clock adds.

A wall clock is set back and forth while requests are under way; then differences between its times are no durations.
So each local root notes once by how much the wall clock is ahead of the monotonic one, the spans beneath a span that
is open take that over, and every time in between is the monotonic clock's plus that. The next root looks anew.
"""

from __future__ import annotations

from time import monotonic_ns, time_ns


def offset() -> int:
    """Return by how many nanoseconds the wall clock, since the epoch, is ahead of the monotonic one."""
    return time_ns() - monotonic_ns()


def offset_of(span: object) -> int:
    """Return the offset that a span of our recorder goes by, or that of now for any other."""
    found = getattr(span, "clock_offset", None)
    return found if type(found) is int else offset()
