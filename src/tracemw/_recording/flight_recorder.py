"""The flight recorder: unsampled local traces, held until it is known whether they are worth keeping.

A local trace is what one process records of one request: its local root and the spans beneath. The local root's parent
is in another process, or there is none. The spans record as sampled ones do, but their flag stays 0, for services
downstream too. When the local root ends, the recorder judges the local trace. All of its spans leave the process if one
of them failed, if the request was slow, or if `tracemw.keep` asked for it; otherwise all are dropped.

Ended spans wait in a fragment that hangs on their local root, so that nothing has to look them up.

There is no lock. A span joins its fragment in one step that the interpreter does atomically. A span is taken out, and
counted, with no call among the steps: the interpreter changes threads, or handles a signal, at calls and backward jumps
only.
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
    LATE,
    REASONS,
    Books,
    Fragment,
    Root,
    Verdict,
)
from tracemw._recording.held_span import HeldSpan
from tracemw._recording.keep_rate import KeepRate
from tracemw._recording.span import marked

KEPT: Final = "tracemw.kept"
"""The attribute that tells why spans of an unsampled trace are there: `error`, `slow` or `manual`."""

FOLLOWED_FOR: Final = 30 * 10**9
"""Nanoseconds after the end of a local root for which spans that end beneath it share its fate."""

_PATIENCE: Final = 1000
"""How often the books are looked at, a tenth of a millisecond apart, to find them at rest."""

T = TypeVar("T")

_LIMITED: Final = Verdict(False, KEEP_RATE)
_LATE: Final = Verdict(False, LATE)
_KEPT: Final = {why: Verdict(True, why) for why in REASONS}


class FlightRecorder:
    """Holds the ended spans of unsampled local traces until their local root ends, then keeps or drops them.

    At each limit the oldest gives way: the oldest span of a local trace that has too many, else the oldest local trace.

    Args:
        deliver: Takes a span that is kept.
        is_on: Whether spans of unsampled traces are recorded. If not, they are only counted.
        slow: Seconds that a local trace takes at least to be kept for being slow; None for never.
        rate: How many local traces may be kept in one second, see `KeepRate`.
        held_spans_per_trace: How many spans of one local trace may be held.
        held_traces: How many local traces may have held spans.
        held_spans: How many spans may be held in all.
        held_bytes: How many bytes those may take. What a span takes is estimated once, when it ends.
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
        """Nanoseconds."""
        self._keeps_per_second = rate
        self._held_spans_per_trace = held_spans_per_trace
        self._held_traces = held_traces
        self._held_spans = held_spans
        self._held_bytes = held_bytes
        self._start_afresh()
        begin_anew_with(self._start_afresh)  # what the parent holds is the parent's

    def _start_afresh(self) -> None:
        self.books = Books()
        self._rate = KeepRate(self._keeps_per_second)

    def record(self, span: HeldSpan, readable: ReadableSpan) -> None:
        """Hold a span that has ended, or carry out the verdict on its local trace.

        Args:
            span: The span. Where it is a local root, it brings the verdict about.
            readable: What the processors were given of it.
        """
        root = span.root
        if root is None:
            verdict = span.verdict = self._judge(span)
            if verdict.is_kept and span.started_in is not None:
                self._start_again(span, verdict.why)
            # Those beneath first, as they have ended.
            try:
                if span.fragment is not None:
                    self._release(span, span.fragment, verdict)
            finally:  # a signal handler may raise
                self._carry_out(verdict, readable)
                span.forget()
            return
        if span.has_failed():
            root.has_failures = True
        if root.verdict is None:
            self._hold(root, readable, span.shorten())
        else:
            is_late = root.verdict.is_kept and span.ended_at() > root.ended_at() + FOLLOWED_FOR
            self._carry_out(_LATE if is_late else root.verdict, readable)

    def _start_again(self, root: HeldSpan, why: str) -> None:
        """Show other people's processors the starts of the spans of a trace that is kept, in their order."""
        held = [root, *(span for span, _ in list(root.fragment or ()) if isinstance(span, HeldSpan))]
        for span in sorted(held, key=lambda span: span._start_time):
            span.seen = span._tracer.start_again(span, why)

    def drop(self, root: HeldSpan) -> None:
        """Drop a local trace that there is no reason to keep."""
        root.verdict = DROPPED
        self.books.unsampled += 1
        if root.fragment is not None:
            self._release(root, root.fragment, DROPPED)
        root.forget()

    def _judge(self, root: HeldSpan) -> Verdict:
        reason = root.reason_to_keep(root.end_time or 0)
        if reason is None:
            return DROPPED
        if not self._rate.spend(root.route, monotonic_ns(), is_slow=reason == "slow"):
            return _LIMITED
        self.books.kept[reason] += 1
        return _KEPT[reason]

    def _carry_out(self, verdict: Verdict, span: ReadableSpan) -> None:
        if verdict.is_kept:
            self._deliver(self._show(span, verdict.why))
        elif verdict is DROPPED:
            self.books.unsampled += 1
        else:
            self.books.lost[verdict.why] += 1

    def _show(self, span: ReadableSpan, why: str) -> ReadableSpan:
        """Show other people's processors the end of a span that they have not seen; return the span to export."""
        if not isinstance(span, HeldSpan):
            return marked(span, KEPT, why)
        seen, span.seen = span.seen or span._tracer.start_again(span, why), None
        return marked(span, KEPT, why) if seen is None else span._tracer.end_again(seen, span.end_time)

    def _hold(self, root: HeldSpan, span: ReadableSpan, size: int) -> None:
        books = self.books
        full = None
        if books.held_bytes + size > self._held_bytes:  # the first: what makes room for bytes does for spans, too
            full = HELD_BYTES
        elif books.held >= self._held_spans:
            full = HELD_SPANS
        elif root.fragment is None and books.fragments >= self._held_traces:
            full = HELD_TRACES
        if full is not None and not self._make_room(full, size):
            books.lost[full] += 1
            return
        fragment = root.fragment
        if fragment is not None and fragment.books is not books:  # it is that of this process's parent, say
            vars(root).pop("fragment", None)
            fragment = None
        if fragment is None:
            # The dictionary, and not the attribute: two threads get one fragment.
            fragment = vars(root).setdefault("fragment", Fragment(root, books))
        is_full = len(fragment) >= self._held_spans_per_trace
        if is_full:
            try:
                _, freed = fragment[0]  # no call from here to the counts; the new span is held in place of this one
                del fragment[0]
                books.lost[HELD_SPANS_PER_TRACE] += 1
                books.held_bytes -= freed
            except IndexError:  # another thread has released them
                is_full = False
        # No call among these steps, after which an interrupt may come. The counts rise first: none falls below zero.
        held: deque[tuple[ReadableSpan, int]] = fragment
        if not is_full:
            books.held += 1
        books.held_bytes += size
        held += ((span, size),)
        verdict = root.verdict or fragment.verdict
        if verdict is not None:  # it has ended meanwhile, or given way
            self._release(root, fragment, verdict)

    def _make_room(self, full: str, size: int) -> bool:
        """Drop what the oldest local traces hold until a span has room; tell whether it has.

        The oldest is that of a connection that lasts for hours, rather than what has just come.

        Args:
            full: The limit that is reached.
            size: Bytes of the span.
        """
        books = self.books
        while size <= self._held_bytes:
            oldest = books.take_oldest()
            if oldest is None:
                break
            oldest.verdict = Verdict(False, full)
            self._release(oldest.root, oldest, oldest.verdict)
            if full is not HELD_BYTES or books.held_bytes + size <= self._held_bytes:
                return True
        return False

    def _release(self, root: Root, fragment: Fragment, verdict: Verdict) -> None:
        """Carry out the verdict on each span; another thread may do so for some of them."""
        # A fragment counts until nobody refers to it, and a task's context, or a queue, may hold the root for long.
        if root.fragment is fragment:  # no call before the next step; the root may have another fragment by now
            del root.fragment
        books = fragment.books
        if books is not self.books:  # the spans are those of this process's parent, or from before another `init`
            return
        books.releasing += 1
        try:
            while fragment:
                span, size = fragment[0]  # no call from here to the counts: no other thread and no signal in between
                del fragment[0]
                books.held -= 1
                books.held_bytes -= size
                self._carry_out(verdict, span)
                del span  # it may be freed here: no finalizer of it runs between the next two steps
        except IndexError:  # the other thread was faster
            pass
        finally:
            books.released += 1
            books.releasing -= 1

    def at_rest(self, read: Callable[[Books], T]) -> T:
        """Return what `read` makes of the books at a moment when no span is between two counts."""
        for _ in range(_PATIENCE):
            books = self.books
            at_rest = (0, books.released)
            found = read(books)
            if (books.releasing, books.released) == at_rest:
                return found
            sleep(0.0001)
        return read(self.books)  # a signal handler asks, and has interrupted a release
