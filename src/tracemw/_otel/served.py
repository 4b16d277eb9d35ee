"""The requests that this process is serving. Doors enter and leave, and the watch looks at who is there.

The watch does not write to the spans of others, which end whenever they like. It leaves notes at a request. The
request's own door makes events of the notes, just before the span ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from opentelemetry.trace import Span

_MOST_NOTES: Final = 32
"""Notes at one request. Further ones are left out."""


class Note(Protocol):
    """What the watch has seen of a request. It becomes an event of the request's span."""

    @property
    def at(self) -> int:
        """When that was, in nanoseconds of the monotonic clock."""

    @property
    def name(self) -> str:
        """The name of the event."""

    def attributes(self, now: int) -> Mapping[str, Any] | None:
        """Return the event's attributes; None when there is nothing to tell. `now` is a time of the monotonic clock."""


class Seen(NamedTuple):
    """A note of which all is known."""

    at: int
    name: str
    told: Mapping[str, Any]

    def attributes(self, now: int) -> Mapping[str, Any]:
        del now
        return self.told


class Served(Protocol):
    """A request being served. To the watch it is a span, and whoever works for it."""

    span: Span | None
    loop: AbstractEventLoop | None
    """The event loop that the request arrived in; None for a request that a thread serves."""
    notes: list[Note] | None
    answered_at: int | None
    """When the response began, by the monotonic clock in nanoseconds; None before, and for a connection."""
    ended_at: int | None
    """The end of the span, in nanoseconds since the epoch, if the request is over and its span is not."""
    worker: Any
    """What `Watch.find_worker` has returned when the request began, if there was one."""

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for the response, of which nothing is out yet."""

    def tell(self) -> None:
        """Make events of the notes now."""

    def conclude_early(self) -> None:
        """Put on the span what the end would tell, as far as it is known. The span ends with the process."""


served: Final[set[Served]] = set()
"""All requests that are being served."""
enter: Final = served.add
"""Enter a request. This, `leave` and `list(served)` are one step each, and no lock is needed."""
leave: Final = served.discard
"""Take out a request, if it is there."""


class Watch:
    """What doors know of the watch."""

    __slots__ = ("blames", "find_worker", "wake")

    def __init__(self) -> None:
        self.blames = False
        """Whether the time that belongs to nobody is told."""
        self.wake: Callable[[], object] | None = None
        """Called with the next request. It is set while the watch sleeps."""
        self.find_worker: Callable[[], object] | None = None
        """Returns who serves the request that begins now, where neither an event loop nor a thread tells."""


watch: Final = Watch()


def leave_note(request: Served, note: Note) -> None:
    """Leave a note at a request, unless it has too many, or is over.

    After an error page, the span waits for the exception behind it. Background work comes in between.
    """
    if request.ended_at is not None:
        return
    if request.notes is None:  # no call from here on: two threads get the same list
        request.notes = []
    notes = request.notes
    if len(notes) < _MOST_NOTES:
        notes.append(note)
