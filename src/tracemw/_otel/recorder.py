"""What doors, samplers and the recorder know of each other, beyond OpenTelemetry's API.

A tracer, span, sampler or processor may be tracemw's own or foreign. Our own classes carry one mark, `is_tracemw`. The
mark promises more than the API does:

* A tracer takes `LazyAttributes`, and values of any type. It times its spans by a clock that nobody can set.
* A tracer says with `fold_for` whether one more of many like spans need not be made: a `Fold` counts it.
* A span takes `LazyAttributes` for an event, which hold no more than a kilobyte of text.
* A span keeps the pseudonym of its user as `user_hash`, and knows its `parent_span` while both are open, unless nothing
  is folded.
* A span records an exception even if the exception's methods raise, and leaves out the secrets of URLs. Its times are
  `clock_offset` nanoseconds ahead of the monotonic clock.
* A sampler decides at roots by its `policy`. Its `follows_callers` says whether a caller's decision holds.
* A processor takes the ended span itself, in place of the SDK's copy, and changes nothing in it.
"""

from __future__ import annotations

from typing import Any, Protocol


def is_ours(thing: object) -> bool:
    """Tell whether a tracer, span, sampler or processor is tracemw's own. A wrapper around one is not."""
    return getattr(type(thing), "is_tracemw", False)


class Fold(Protocol):
    """Many like spans beneath one parent, for which one span stands."""

    def join(self, started: int, ended: int) -> bool:
        """Count one more, which began and ended at these times of the monotonic clock, in nanoseconds.

        Return False if there has to be a span: the parent has ended, say.
        """


class Held(Protocol):
    """A span of an unsampled trace. It is held until its local trace is kept or dropped."""

    def answered(self) -> None:
        """Note that the response has begun. The time until now decides whether the request was slow.

        Only the first call counts.
        """

    def lasts(self) -> None:
        """Note that this is a connection. A connection is never slow."""

    def dismiss(self, end_time: int | None) -> bool:
        """Drop the local trace if there is no reason to keep it. Return whether this span needs nothing more.

        A dropped local trace ends with this span, its local root, at `end_time` (nanoseconds since the epoch) or now.
        """

    def keep(self) -> None:
        """Have the local trace kept, however it ends."""


def as_held(span: Any) -> Held | None:
    """Return a span if it is held, or if it is a wrapper that passes attributes of a held span on; else None."""
    # The mark is an attribute and no base class: a second base makes each access to a span slower.
    return span if getattr(span, "is_held", False) else None


def mark_user(span: Any, pseudonym: str) -> None:
    """Put the pseudonym of a user on a span. A span of ours keeps it for those that start beneath."""
    span.set_attribute("user.hash", pseudonym)
    if is_ours(span):
        span.user_hash = pseudonym


def user_of(span: Any) -> str | None:
    """Return the pseudonym that a span of ours keeps; None without one."""
    return getattr(span, "user_hash", None)
