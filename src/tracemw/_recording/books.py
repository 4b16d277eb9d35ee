"""Fragments, fates and the books: what the flight recorder holds, and what has become of all other spans.

There is no lock. Where several counts change together, no call stands among the steps; see docs/architecture.md.
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
"""Why spans are lost: a limit; an end long after the local root's; a local root that never ends."""

_CAUSES: Final = (HELD_SPANS_PER_TRACE, HELD_TRACES, HELD_SPANS, HELD_BYTES, KEEP_RATE, LATE, ABANDONED)

REASONS: Final = ("error", "manual", "slow")
"""Why a local trace is kept: a span failed, `tracemw.keep` asked for it, or it was slow."""


KEPT: Final = "tracemw.kept"
"""The attribute on kept spans that says why: one of `REASONS`."""


class Fate(NamedTuple):
    """What becomes of a local trace."""

    is_kept: bool
    why: str
    """The reason to keep the local trace, or the cause of its loss; empty if there was no reason to keep it."""


DROPPED: Final = Fate(False, "")


class Books:
    """Counts what becomes of the spans of unsampled traces in this process, and how much is held."""

    def __init__(self) -> None:
        self.unsampled = 0
        """Spans that were not recorded, or were dropped without a reason to keep them."""
        self.lost = dict.fromkeys(_CAUSES, 0)
        """Spans that were lost, by cause."""
        self.kept = dict.fromkeys(REASONS, 0)
        """Local traces that were kept, by reason."""
        self.processor_errors = 0
        """How often a foreign span processor has raised."""
        self.folded = 0
        """Spans that another span stands for, or will stand for."""
        self.held = 0
        """Spans that have ended, and wait for the end of their local root."""
        self.held_bytes = 0
        """About how many bytes those spans take."""
        self.releasing = 0
        """Releases of held spans that are under way."""
        self.released = 0
        """Releases so far, and fragments that were abandoned."""
        self.fragments = 0
        """Fragments, each with the held spans of one local trace."""
        self._by_age: dict[int, weakref.ref[Fragment]] = {}

    def enter(self, fragment: Fragment) -> None:
        """Count a new fragment."""
        self._by_age[id(fragment)] = weakref.ref(fragment)
        # No call from here to the end: a fragment without books would not be counted down.
        self.fragments += 1
        fragment.books = self

    def leave(self, fragment: Fragment) -> None:
        """Forget a fragment, and count the spans that it still holds as lost."""
        self._by_age.pop(id(fragment), None)
        abandoned = len(fragment)
        size = sum([size for _, size in fragment]) if abandoned else 0
        # No call from here to the end: these counts change together.
        self.fragments -= 1
        if abandoned:
            self.held -= abandoned
            self.held_bytes -= size
            self.lost[ABANDONED] += abandoned
            self.released += 1

    def take_oldest(self) -> Fragment | None:
        """Return the oldest fragment, to one thread only; None when there is none, or another thread interferes."""
        try:
            return self._by_age.pop(next(iter(self._by_age)))()
        except (StopIteration, RuntimeError, KeyError):  # another thread adds one, or takes one away
            return None


class Root(Protocol):
    """The local root that has a fragment."""

    fragment: Fragment | None


class Fragment(deque[tuple[ReadableSpan, int]]):
    """The ended spans beneath one local root that is still open, each with its estimated size in bytes.

    The local root holds its fragment, which saves a look-up. If an application lets go of a root without ending it, the
    fragment goes, too.

    Args:
        root: The local root.
        books: The books to count in.
    """

    fate: Fate | None = None
    """The fate, if it came before the root's end: the spans have given way to others."""
    books: Books | None = None
    """The books that count the fragment; None if an interrupt came while the fragment was made."""

    def __init__(self, root: Root, books: Books) -> None:
        super().__init__()
        self.root = root
        books.enter(self)

    def __del__(self) -> None:
        if self.books is not None:
            self.books.leave(self)
