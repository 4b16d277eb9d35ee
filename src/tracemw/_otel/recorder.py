"""What doors, samplers and the recorder know of each other beyond OpenTelemetry's API.

Anybody's tracers, spans, samplers and processors may stand between two parts of tracemw. Those of tracemw have one mark
on their class, which promises more than the API does:

* A tracer takes `LazyAttributes`, values of any type, and times its spans by a clock that nobody sets.
* A span records an exception whatever its methods raise, and leaves out the secrets of URLs. Its `clock_offset` is what
  its times are ahead of the monotonic clock.
* A sampler decides at roots by its `policy`, and tells by `follows_callers` whether callers' decisions hold.
* A processor takes ended spans as they are, in place of the SDK's copy, and changes none.
"""

from __future__ import annotations

from typing import Any, Protocol


def is_ours(thing: object) -> bool:
    """Tell whether a tracer, span, sampler or processor is tracemw's. A wrapper around one is not."""
    return getattr(type(thing), "is_tracemw", False)


class Held(Protocol):
    """A span of an unsampled trace, which is held until it is known whether somebody will see it."""

    def answered(self) -> None:
        """Note that the response has begun: the request took until now, not until its end; only the first counts."""

    def lasts(self) -> None:
        """Note that this is a connection, which is never slow."""

    def dismiss(self, end_time: int | None) -> bool:
        """End the span at `end_time`, or now, and its local trace if nobody will see them; tell whether that is so."""

    def keep(self) -> None:
        """Have what this process records of the trace kept, whatever becomes of it."""


def as_held(span: Any) -> Held | None:
    """Return a span if it is one of an unsampled trace, also by way of a wrapper that passes on what it is asked."""
    # An attribute and not a base class: a second base makes each access to a span slower.
    return span if getattr(span, "is_held", False) else None
