"""What the flight recorder holds, and what has become of the rest: fragments of local traces, verdicts and counts.

There is no lock. The interpreter changes threads, or handles a signal, at calls and backward jumps only. So where
several numbers change together, no call stands among the steps.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Final, NamedTuple, Protocol

from opentelemetry.sdk.trace import ReadableSpan

HELD_SPANS_PER_TRACE: Final = "held_spans_per_trace"
HELD_TRACES: Final = "held_traces"
HELD_SPANS: Final = "held_spans"
HELD_BYTES: Final = "held_bytes"
KEEP_RATE: Final = "keep_rate"
LATE: Final = "late"
ABANDONED: Final = "abandoned"
"""What spans are lost to: each limit, an end long after that of the local root, and a local root that never ends."""

_CAUSES: Final = (HELD_SPANS_PER_TRACE, HELD_TRACES, HELD_SPANS, HELD_BYTES, KEEP_RATE, LATE, ABANDONED)

REASONS: Final = ("error", "manual", "slow")
"""Why a local trace is kept: a span failed, `tracemw.keep` asked for it, or it was slow."""


class Verdict(NamedTuple):
    """What becomes of a local trace."""

    is_kept: bool
    why: str
    """The reason for which it is kept, or the cause that it is lost to; empty where nobody wanted it."""


DROPPED: Final = Verdict(False, "")


class Books:
    """What has become of the spans of unsampled traces in this process, and what is held."""

    def __init__(self) -> None:
        self.unsampled = 0
        """Spans that were not recorded, or dropped as there was no reason to keep them."""
        self.lost = dict.fromkeys(_CAUSES, 0)
        """Spans that were dropped though they were held, or to be kept, by cause."""
        self.kept = dict.fromkeys(REASONS, 0)
        """Local traces that were kept, by reason."""
        self.processor_errors = 0
        """How often a span processor of somebody else has raised."""
        self.held = 0
        """Spans that have ended and wait for their local root to end."""
        self.held_bytes = 0
        """About how many bytes those spans take."""
        self.releasing = 0
        """Releases of such spans that are under way."""
        self.released = 0
        """Releases so far, and fragments that were abandoned."""
        self.fragments = 0
        """Local traces that hold such spans."""
        self._by_age: dict[int, weakref.ref[Fragment]] = {}

    def enter(self, fragment: Fragment) -> None:
        """Take note of a fragment."""
        self._by_age[id(fragment)] = weakref.ref(fragment)
        self.fragments += 1  # no call from here on: a fragment without books is not counted down
        fragment.books = self

    def leave(self, fragment: Fragment) -> None:
        """Forget a fragment, and count what it still holds as lost."""
        self._by_age.pop(id(fragment), None)
        abandoned = len(fragment)
        size = sum([size for _, size in fragment]) if abandoned else 0
        self.fragments -= 1  # no call from here on
        if abandoned:
            self.held -= abandoned
            self.held_bytes -= size
            self.lost[ABANDONED] += abandoned
            self.released += 1

    def take_oldest(self) -> Fragment | None:
        """Return the fragment that has been here for longest, to one thread; None when there is none, or a race."""
        try:
            return self._by_age.pop(next(iter(self._by_age)))()
        except (StopIteration, RuntimeError, KeyError):  # another thread adds one, or takes one away
            return None


class Root(Protocol):
    """The local root that a fragment hangs on."""

    fragment: Fragment | None


class Fragment(deque[tuple[ReadableSpan, int]]):
    """The ended spans beneath one local root that is still open, each with about how many bytes it takes.

    Nothing looks fragments up: the root has its own. So nothing is left when an application lets go of a root that it
    never ended.

    Args:
        root: The local root.
        books: The books to count in.
    """

    verdict: Verdict | None = None
    """What becomes of the spans before their root ends: they have given way to others."""
    books: Books | None = None
    """The books that it counts in, unless it was interrupted while it was made."""

    def __init__(self, root: Root, books: Books) -> None:
        super().__init__()
        self.root = root
        books.enter(self)

    def __del__(self) -> None:
        if self.books is not None:
            self.books.leave(self)
