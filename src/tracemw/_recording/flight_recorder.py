"""The flight recorder: unsampled local traces are held until their end, then kept or dropped.

A local trace is what one process records of one request: its local root and the spans beneath. The local root's parent
is in another process, or there is none. The spans record as sampled ones do, but their sampled flag stays 0, also for
services downstream. When the local root ends, the recorder judges the local trace. The whole local trace is kept if one
of its spans has failed, if the request was slow, or if `tracemw.keep` asked for it. Otherwise it is dropped.

Spans that end before their local root wait in its fragment.

There is no lock. A span joins its fragment in one step, which the interpreter does atomically. A span is taken out and
counted with no call among the steps; see docs/architecture.md.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from time import monotonic_ns, sleep
from typing import Final, TypeVar

from opentelemetry.sdk.trace import ReadableSpan

from tracemw._process.forks import begin_anew_with
from tracemw._recording.books import (
    DROPPED,
    HELD_BYTES,
    HELD_SPANS,
    HELD_SPANS_PER_TRACE,
    HELD_TRACES,
    KEEP_RATE,
    KEPT,
    LATE,
    REASONS,
    Books,
    Fate,
    Fragment,
    Root,
)
from tracemw._recording.held_span import HeldSpan
from tracemw._recording.keep_rate import KeepRate
from tracemw._recording.showing import end_again, marked, start_again

FOLLOWED_FOR: Final = 30 * 10**9
"""Nanoseconds after the end of a kept local root. A span beneath that ends within this time is kept, too."""

_PATIENCE: Final = 1000
"""How often the books are read, a tenth of a millisecond apart, to find them at rest."""

T = TypeVar("T")

_LIMITED: Final = Fate(False, KEEP_RATE)
_LATE: Final = Fate(False, LATE)
_KEPT: Final = {why: Fate(True, why) for why in REASONS}


class FlightRecorder:
    """Holds the ended spans of unsampled local traces until their local root ends, then keeps or drops them.

    At a limit, the oldest gives way. If one local trace has too many spans, its oldest span is lost. At any other
    limit, all held spans of the oldest local trace are lost.

    Args:
        deliver: Called with each span that is kept.
        is_on: Whether spans of unsampled traces are recorded. If not, they are only counted.
        slow: Seconds from which a local trace is slow, and kept; None for never.
        rate: How many local traces may be kept in one second; see `KeepRate`.
        held_spans_per_trace: How many spans of one local trace may be held.
        held_traces: How many local traces may have held spans.
        held_spans: How many spans may be held in all.
        held_bytes: How many bytes all held spans may take. A span's size is estimated once, when the span ends.
    """

    def __init__(
        self,
        deliver: Callable[[ReadableSpan], None],
        *,
        is_on: bool,
        slow: float | None,
        rate: float,
        held_spans_per_trace: int = 1000,
        held_traces: int = 1000,
        held_spans: int = 10_000,
        held_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._deliver = deliver
        self.is_on = is_on
        self.slow = sys.maxsize if slow is None else int(min(slow * 1e9, sys.maxsize))
        """Nanoseconds from which a local trace is slow."""
        self._keeps_per_second = rate
        self._held_spans_per_trace = held_spans_per_trace
        self._held_traces = held_traces
        self._held_spans = held_spans
        self._held_bytes = held_bytes
        self._start_afresh()
        begin_anew_with(self._start_afresh)  # a forked child leaves the held spans to its parent

    def _start_afresh(self) -> None:
        self.books = Books()
        self._rate = KeepRate(self._keeps_per_second)

    def record(self, span: HeldSpan, readable: ReadableSpan) -> None:
        """Hold a span that has ended, or carry out the fate of its local trace.

        Args:
            span: The span. If it is a local root, its local trace is judged now.
            readable: The span as the processors have got it.
        """
        root = span.root
        if root is None:
            fate = span.fate = self._judge(span)
            if fate.is_kept and span.started_in is not None:
                self._start_again(span, fate.why)
            # The spans beneath go first, in the order of their ends.
            try:
                if span.fragment is not None:
                    self._release(span, span.fragment, fate)
            finally:  # a signal handler may raise
                self._carry_out(fate, readable)
                span.forget()
            return
        if span.has_failed():
            root.has_failures = True
        if root.fate is None:
            self._hold(root, readable, span.shorten())
        else:
            is_late = root.fate.is_kept and span.ended_at() > root.ended_at() + FOLLOWED_FOR
            self._carry_out(_LATE if is_late else root.fate, readable)

    def _start_again(self, root: HeldSpan, why: str) -> None:
        """Show foreign processors the starts of the spans of a kept trace, in their order."""
        held = [root, *(span for span, _ in list(root.fragment or ()) if isinstance(span, HeldSpan))]
        for span in sorted(held, key=lambda span: span._start_time):
            span.seen = start_again(span, why)

    def drop(self, root: HeldSpan) -> None:
        """Drop a local trace that there is no reason to keep."""
        root.fate = DROPPED
        self.books.unsampled += 1
        if root.fragment is not None:
            self._release(root, root.fragment, DROPPED)
        root.forget()

    def _judge(self, root: HeldSpan) -> Fate:
        reason = root.reason_to_keep(root.end_time or 0)
        if reason is None:
            return DROPPED
        if not self._rate.spend(root.route, monotonic_ns(), is_slow=reason == "slow"):
            return _LIMITED
        self.books.kept[reason] += 1
        return _KEPT[reason]

    def _carry_out(self, fate: Fate, span: ReadableSpan) -> None:
        if fate.is_kept:
            self._deliver(self._show(span, fate.why))
        elif fate is DROPPED:
            self.books.unsampled += 1
        else:
            self.books.lost[fate.why] += 1

    def _show(self, span: ReadableSpan, why: str) -> ReadableSpan:
        """Show foreign processors the end of a span that they have not seen. Return the span to export."""
        if not isinstance(span, HeldSpan):
            return marked(span, KEPT, why)
        seen, span.seen = span.seen or start_again(span, why), None
        return marked(span, KEPT, why) if seen is None else end_again(seen, span.end_time)

    def _hold(self, root: HeldSpan, span: ReadableSpan, size: int) -> None:
        books = self.books
        full = None
        if books.held_bytes + size > self._held_bytes:  # first, since room for the bytes is room for the span, too
            full = HELD_BYTES
        elif books.held >= self._held_spans:
            full = HELD_SPANS
        elif root.fragment is None and books.fragments >= self._held_traces:
            full = HELD_TRACES
        if full is not None and not self._make_room(full, size):
            books.lost[full] += 1
            return
        fragment = root.fragment
        if fragment is not None and fragment.books is not books:  # the fragment is from before a fork, say
            vars(root).pop("fragment", None)
            fragment = None
        if fragment is None:
            # `setdefault` on the dictionary is one step: two threads get the same fragment.
            fragment = vars(root).setdefault("fragment", Fragment(root, books))
        is_full = len(fragment) >= self._held_spans_per_trace
        if is_full:
            try:
                # No call from here to the counts: they change with the fragment. The new span takes this one's place.
                _, freed = fragment[0]
                del fragment[0]
                books.lost[HELD_SPANS_PER_TRACE] += 1
                books.held_bytes -= freed
            except IndexError:  # another thread has released all of them
                is_full = False
        # No call from here to the fragment: no interrupt comes between. The counts rise first: none falls below zero.
        held: deque[tuple[ReadableSpan, int]] = fragment
        if not is_full:
            books.held += 1
        books.held_bytes += size
        held += ((span, size),)
        fate = root.fate or fragment.fate
        if fate is not None:  # the root has ended meanwhile, or the fragment has given way
            self._release(root, fragment, fate)

    def _make_room(self, full: str, size: int) -> bool:
        """Give up what the oldest local traces hold until there is room for a span. Return whether there is.

        The oldest may well be that of a connection that has lasted for hours. Better that one than a new request.

        Args:
            full: The limit that is reached.
            size: Bytes of the span.
        """
        books = self.books
        while size <= self._held_bytes:
            oldest = books.take_oldest()
            if oldest is None:
                break
            oldest.fate = Fate(False, full)
            self._release(oldest.root, oldest, oldest.fate)
            if full is not HELD_BYTES or books.held_bytes + size <= self._held_bytes:
                return True
        return False

    def _release(self, root: Root, fragment: Fragment, fate: Fate) -> None:
        """Carry out the fate of each span. Another thread may do so at the same time for some of them."""
        # The root lets go of the fragment. A task's context, or a queue, may hold the root for long, and a fragment
        # counts as long as it lives.
        # No call from here to the `del`: else the root might have another fragment by then.
        if root.fragment is fragment:
            del root.fragment
        books = fragment.books
        if books is not self.books:  # the spans are from before a fork, or before another `init`
            return
        books.releasing += 1
        try:
            while fragment:
                # No call from here to the counts: no other thread, and no signal handler, comes between.
                span, size = fragment[0]
                del fragment[0]
                books.held -= 1
                books.held_bytes -= size
                self._carry_out(fate, span)
                del span  # here, so that no finalizer runs among the next steps when this frees the span
        except IndexError:  # another thread was faster
            pass
        finally:
            books.released += 1
            books.releasing -= 1

    def at_rest(self, read: Callable[[Books], T]) -> T:
        """Return `read(books)`, called at a moment when each span stands in one count."""
        for _ in range(_PATIENCE):
            books = self.books
            at_rest = (0, books.released)
            found = read(books)
            if (books.releasing, books.released) == at_rest:
                return found
            sleep(0.0001)
        return read(self.books)  # the caller is a signal handler that has interrupted a release
