"""The flight recorder: unsampled local traces, held until it is known whether they are worth keeping.

A local trace is what one process records of one request: its local root, whose parent is in another process or
nowhere, and the spans beneath. They record as sampled ones do, but their flag stays 0, for services downstream too.
When the local root ends, all of them leave the process if any has failed, if it was slow, or if `tracemw.keep` has
asked for it; otherwise they are dropped. What belongs together hangs on the local root, so that there is nothing to
look up, and nothing is left behind when an application lets go of a span that it has not ended.

There is no lock: a span joins its fragment in one step that the interpreter does atomically, and is taken from it, and
counted, with no call among the steps: only there does the interpreter change threads, or handle a signal.
"""

from __future__ import annotations

import contextvars
import math
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, Status, StatusCode

from tracemw._otel.attributes import LazyAttributes
from tracemw._otel.cleaning import LONGEST, SCALARS, cut
from tracemw._otel.guard import fault
from tracemw._process.forks import begin_anew_with
from tracemw._recording.span import NO_TYPES, UNSET, Span, marked

KEPT: Final = "tracemw.kept"
"""The attribute that tells why spans of an unsampled trace are there: `error`, `slow` or `manual`."""

SPANS_PER_TRACE: Final = 1000
TRACES: Final = 1000
SPANS: Final = 10_000
"""How many ended spans are held: of one local trace, of how many, and in all."""

FOLLOWED_FOR: Final = 30 * 10**9
"""Nanoseconds after the end of a local root in which spans beneath it that end share its fate."""

TOO_MANY_OF_TRACE: Final = "held_spans_per_trace"
TOO_MANY_TRACES: Final = "held_traces"
TOO_MANY: Final = "held_spans"
TOO_OFTEN: Final = "keep_rate"
TOO_LATE: Final = "late"
ABANDONED: Final = "abandoned"
"""What spans are lost to: each limit, and a local root that is never ended."""

_CAUSES: Final = (TOO_MANY_OF_TRACE, TOO_MANY_TRACES, TOO_MANY, TOO_OFTEN, TOO_LATE, ABANDONED)
_REASONS: Final = ("error", "manual", "slow")


class Verdict(NamedTuple):
    """What becomes of a local trace."""

    is_kept: bool
    why: str


# The second name is that of the former conventions, which other instrumentations still have by default.
_HTTP_METHOD: Final = ("http.request.method", "http.method")

_ROUTES: Final = 100
"""How many routes have parts of their own in what is kept; all others share one."""

_PATIENCE: Final = 1000
"""Looks at the books, a tenth of a millisecond apart, until they are read as they are."""

_OF_HELD: Final = frozenset(
    {
        *("root", "fragment", "verdict", "has_failures", "started_in", "seen"),
        *("_first", "_is_asked_for", "_answered_at", "_bounded"),
    }
)

T = TypeVar("T")

DROPPED: Final = Verdict(False, "")
_LIMITED: Final = Verdict(False, TOO_OFTEN)
_LATE: Final = Verdict(False, TOO_LATE)
_KEPT: Final = {why: Verdict(True, why) for why in _REASONS}


class FlightRecorder:
    """Holds the ended spans of unsampled local traces, and keeps or drops them at the end.

    Args:
        deliver: Takes a span that is kept.
        is_on: Whether anything is recorded of unsampled traces; if not, they are counted, and that is all.
        slow: Seconds from which on a local trace is kept for being slow; None for never.
        rate: How many local traces may be kept in one second; those of a whole second at once, but only half of them
            for being slow, and one in any case: the other half is for errors and for what is asked for. A route that
            keeps too many leaves room for the others, see `_Shares`.
    """

    def __init__(
        self, deliver: Callable[[ReadableSpan], None], *, is_on: bool, slow: float | None, rate: float
    ) -> None:
        self._deliver = deliver
        self.is_on = is_on
        self.slow = sys.maxsize if slow is None else int(min(slow * 1e9, sys.maxsize))
        """Nanoseconds."""
        # As nanoseconds between two that are kept; without any, the next one is never.
        self._interval = int(min(1e9 / rate, sys.maxsize)) if rate else 0
        self._burst = max(self._interval, 10**9)
        # What is left of that for others when a slow one is kept.
        self._reserve = min(self._burst // 2, self._burst - self._interval)
        # What of that is shared out among routes: whole ones only.
        self._shared = self._reserve // self._interval * self._interval if self._interval else 0
        self._first_at = -math.inf if rate else math.inf
        self._start_afresh()
        begin_anew_with(self._start_afresh)  # a forked child does not hold what its parent does

    def _start_afresh(self) -> None:
        self.books = Books()
        self._kept_at = self._first_at
        self._shares = _Shares(self._interval, self._burst // 2)

    def ended(self, span: HeldSpan, readable: ReadableSpan) -> None:
        """Take a span that has ended; `readable` is what the processors were given of it."""
        root = span.root
        if root is None:
            verdict = span.verdict = self._verdict_on(span)
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
            span.shorten()
            self._hold(root, readable)
        else:
            is_late = root.verdict.is_kept and span.ended_at() > root.ended_at() + FOLLOWED_FOR
            self._carry_out(_LATE if is_late else root.verdict, readable)

    def _start_again(self, root: HeldSpan, why: str) -> None:
        """Let processors of somebody else see the spans of a trace that is kept start, the first one first."""
        held = [root, *(span for span in list(root.fragment or ()) if isinstance(span, HeldSpan))]
        for span in sorted(held, key=lambda span: span._start_time):
            span.seen = span._tracer.start_again(span, why)

    def drop(self, root: HeldSpan) -> None:
        """Drop a local trace that nobody will see."""
        root.verdict = DROPPED
        self.books.unsampled += 1
        if root.fragment is not None:
            self._release(root, root.fragment, DROPPED)
        root.forget()

    def _verdict_on(self, root: HeldSpan) -> Verdict:
        reason = root.reason_to_keep(root.end_time or 0)
        if reason is None:
            return DROPPED
        if not self._may_keep(root, reason):
            return _LIMITED
        self.books.kept[reason] += 1
        return _KEPT[reason]

    def _may_keep(self, root: HeldSpan, reason: str) -> bool:
        now = time.monotonic_ns()
        at = self._kept_at
        if at < now - self._burst:
            at = now - self._burst
        at += self._interval
        if at > now or (reason == "slow" and at > now - self._reserve):
            return False
        # The first half of what there is, is for whoever comes first; the second is shared out.
        if at > now - self._shared and not self._shares.take(root.route, now, now - at):
            return False
        self._kept_at = at
        return True

    def _carry_out(self, verdict: Verdict, span: ReadableSpan) -> None:
        if verdict.is_kept:
            self._deliver(self._kept(span, verdict.why))
        elif verdict is DROPPED:
            self.books.unsampled += 1
        else:
            self.books.lost[verdict.why] += 1

    def _kept(self, span: ReadableSpan, why: str) -> ReadableSpan:
        """Return a span as it is exported, after processors of somebody else have seen it if they have not before."""
        if not isinstance(span, HeldSpan):
            return marked(span, KEPT, why)
        seen, span.seen = span.seen or span._tracer.start_again(span, why), None
        return marked(span, KEPT, why) if seen is None else span._tracer.end_again(seen, span.end_time)

    def _hold(self, root: HeldSpan, span: ReadableSpan) -> None:
        books = self.books
        full = TOO_MANY if books.held >= SPANS else None
        if full is None and root.fragment is None and books.fragments >= TRACES:
            full = TOO_MANY_TRACES
        if full is not None and not self._makes_room(full):
            books.lost[full] += 1
            return
        fragment = root.fragment
        if fragment is not None and fragment.books is not books:  # those of the parent of this process, say
            vars(root).pop("fragment", None)
            fragment = None
        if fragment is None:
            # The dictionary, and not the attribute: two threads get one fragment.
            fragment = vars(root).setdefault("fragment", Fragment(root, books))
        is_full = len(fragment) >= SPANS_PER_TRACE
        if is_full:
            try:
                del fragment[0]
                books.lost[TOO_MANY_OF_TRACE] += 1  # no call between the two; this one is held in its place
            except IndexError:  # another thread has released them
                is_full = False
        # No call among these steps: an interrupt may come after one. It is counted first: no count falls below zero.
        spans: deque[ReadableSpan] = fragment
        if not is_full:
            books.held += 1
        spans += (span,)
        verdict = root.verdict or fragment.verdict
        if verdict is not None:  # it has ended meanwhile, or given way
            self._release(root, fragment, verdict)

    def _makes_room(self, cause: str) -> bool:
        """Drop what the oldest local trace holds: that of a connection that lasts for hours, and not what just came."""
        oldest = self.books.take_oldest()
        if oldest is None:
            return False
        oldest.verdict = Verdict(False, cause)
        self._release(oldest.root, oldest, oldest.verdict)
        return True

    def _release(self, root: HeldSpan, fragment: Fragment, verdict: Verdict) -> None:
        """Carry out the verdict on each span; another thread may take some of them."""
        # It counts as long as it is there, and the root may be there for long: in the context of a task, in a queue.
        if root.fragment is fragment:  # no call between the two: it may have another by now
            del root.fragment
        books = fragment.books
        if books is not self.books:  # they are of the parent of this process, or of before another `init`
            return
        books.releasing += 1
        try:
            while fragment:
                span = fragment[0]  # no call from here to the count: neither another thread nor a signal comes between
                del fragment[0]
                books.held -= 1
                self._carry_out(verdict, span)
        except IndexError:  # the other thread was faster
            pass
        finally:
            books.released += 1
            books.releasing -= 1

    def at_rest(self, read: Callable[[Books], T]) -> T:
        """Return what `read` makes of the books while no span is on its way from one number to another."""
        for _ in range(_PATIENCE):
            books = self.books
            at_rest = (0, books.released)
            found = read(books)
            if (books.releasing, books.released) == at_rest:
                return found
            time.sleep(0.0001)
        return read(self.books)  # asked for by a signal handler that has interrupted a release


class _Shares:
    """What each route may take of the half that is shared out, so that none takes all of it.

    What a route has taken is paid back with time: of the rate, each route that owes gets one part, and one part is
    left for whoever comes next. A route may owe half a second's worth; where others owe too, no more than twice of
    what is left, so that somebody who comes now finds half of what each of the noisy ones has had. A route that nobody
    competes with gets the whole rate, by way of the first half. Routes that owe nothing are forgotten.
    """

    def __init__(self, interval: int, burst: int) -> None:
        self._interval = interval
        self._most = burst + interval
        self._owing_until: dict[str, int] = {}

    def take(self, route: str, now: int, left: float) -> bool:
        """Let `route` keep one more, if it may; `left` is what would be left, as the time that made it."""
        owing = self._owing_until
        for known, until in list(owing.items()) if owing else ():
            if until <= now:
                owing.pop(known, None)
        if route not in owing and len(owing) >= _ROUTES:
            route = ""
        others = len(owing) - (route in owing)
        parts = others + 2
        owes = max(owing.get(route, now) - now, 0)
        if owes + self._interval * parts > self._most * parts or (others and owes > 2 * left * parts):
            return False
        owing[route] = now + owes + self._interval * parts
        return True


class Books:
    """What has become of the spans of unsampled traces in this process, and what is held."""

    def __init__(self) -> None:
        self.unsampled = 0
        """Spans that were not recorded, or dropped as there was no reason to keep them."""
        self.lost = dict.fromkeys(_CAUSES, 0)
        """Spans that were dropped though they were held, or to be kept, by cause."""
        self.kept = dict.fromkeys(_REASONS, 0)
        """Local traces that were kept, by reason."""
        self.processor_errors = 0
        """How often a span processor of somebody else has raised."""
        self.held = 0
        """Spans that have ended and wait for their local root to end."""
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
        """Forget a fragment, and what it still holds."""
        self._by_age.pop(id(fragment), None)
        self.fragments -= 1
        abandoned = len(fragment)
        if abandoned:  # no call from here on
            self.held -= abandoned
            self.lost[ABANDONED] += abandoned
            self.released += 1

    def take_oldest(self) -> Fragment | None:
        """Return the fragment that has been there for longest, to one thread; None when there is none, or a race."""
        try:
            return self._by_age.pop(next(iter(self._by_age)))()
        except (StopIteration, RuntimeError, KeyError):  # another thread adds one, or takes one away
            return None


class Fragment(deque[ReadableSpan]):
    """The ended spans beneath one local root, as long as it has not ended."""

    verdict: Verdict | None = None
    """What becomes of it before its root ends: it has given way to others."""
    books: Books | None = None
    """The books that it counts in, unless it was interrupted while it was made."""

    def __init__(self, root: HeldSpan, books: Books) -> None:
        super().__init__()
        self.root = root
        books.enter(self)

    def __del__(self) -> None:
        if self.books is not None:
            self.books.leave(self)


class HeldSpan(Span):
    """A span of an unsampled trace; what `tracemw._otel.held.Held` says is for doors."""

    is_held = True
    root: HeldSpan | None = None
    """The local root, when this is not it."""
    fragment: Fragment | None = None
    verdict: Verdict | None = None
    """What becomes of the local trace, once its root has ended."""
    has_failures = False
    """Whether a span beneath this one has failed."""
    _is_asked_for = False
    _answered_at: float | None = None
    started_in: tuple[contextvars.Context, Context | None] | None = None
    """Where the span has started, for processors that hear of it once it is kept."""
    seen: Span | None = None
    """What those see of it."""
    _first: LazyAttributes | None = None
    """The attributes to begin with, as long as nobody has asked for them; others are set in the meantime."""

    def take(self, attributes: Any) -> None:
        """Take the attributes to begin with, or what can make them."""
        if (
            isinstance(attributes, LazyAttributes)
            and self._plain is SCALARS
            and getattr(self._tracer.span_processor, "is_private", False)
        ):
            self._attributes = {}
            self._first = attributes
        else:
            super().take(attributes)

    def answered(self) -> None:
        """Take the time until now, the first time, and not until the end as how long the request took."""
        if self._answered_at is None:
            self._answered_at = time.monotonic_ns() + self.clock_offset

    def lasts(self) -> None:
        """Take it for one that is never slow."""
        self._answered_at = -math.inf

    @property
    def route(self) -> str:
        """What the span is of, at the end: its method and route, or its name where it is no HTTP request.

        HTTP requests without a route are all of one, which is empty: their paths are what anybody makes up.
        """
        route = self._attributes.get("http.route")
        if isinstance(route, str):
            return self._name if self._name.endswith(route) else route
        is_http = self._first is not None or any(name in self._attributes for name in _HTTP_METHOD)
        return "" if is_http else self._name

    @property
    def local_root(self) -> HeldSpan:
        """The local root, also by way of a wrapper that passes on what it does not know."""
        return self.root or self

    def reopened(self, key: str, value: str) -> Span:
        """Return a span like this one that takes attributes again, with one more: for those who see it only now."""
        made: Any = marked(self, key, value)
        seen: Span = object.__new__(Span)
        fields = {name: field for name, field in vars(self).items() if name not in _OF_HELD}
        vars(seen).update(fields, _attributes=made._attributes, _context=made._context, _end_time=None, _open=True)
        seen._plain = self._tracer.plain
        return seen

    def keep(self) -> None:
        """Have the local trace kept, unless it has ended."""
        self.local_root._is_asked_for = True

    def is_dismissed(self, end_time: int | None) -> bool:
        """End the span at `end_time`, or now, and its local trace, if nobody will see it; tell whether that is so."""
        tracer = self._tracer
        recorder = tracer.recorder
        if self.root is not None or recorder is None or not getattr(tracer.span_processor, "is_private", False):
            return False
        if end_time is None:
            end_time = time.monotonic_ns() + self.clock_offset
        if self.reason_to_keep(end_time) is not None:
            return False
        try:
            del self._open
        except AttributeError:  # somebody has ended it already
            return True
        self._end_time = max(end_time, self._start_time)
        self._plain = NO_TYPES
        recorder.drop(self)
        return True

    def reason_to_keep(self, end_time: int) -> str | None:
        """Return why the local trace of this root is kept if it ends at `end_time`; None if it is not."""
        if self.has_failures or (self._status is not UNSET and self.has_failed()):
            return "error"
        if self._is_asked_for:
            return "manual"
        recorder = self._tracer.recorder
        if recorder is not None and (self._answered_at or end_time) - self._start_time >= recorder.slow:
            return "slow"
        return None

    def shorten(self) -> None:
        """Cut what is too long to be held: others like it wait, too, for their roots to end."""
        attributes = self._attributes
        if type(attributes) is dict:
            longest = LONGEST
            for key, value in attributes.items():
                if type(value) is str and len(value) > longest:
                    attributes[key] = cut(value)  # in its place: to iterate goes on
        if type(self._name) is str and len(self._name) > LONGEST:
            self._name = cut(self._name)
        if self._status is not UNSET and len(self._status.description or "") > LONGEST:
            self._status = Status(self._status.status_code, cut(self._status.description or ""))

    def ended_at(self) -> int:
        """Return when it ended, by the monotonic clock."""
        return (self._end_time or 0) - self.clock_offset

    def has_failed(self) -> bool:
        """Tell whether the span has ended in an error; that a call was answered with 4xx is none by itself."""
        if self._status.status_code is not StatusCode.ERROR:
            return False
        if self._kind is not SpanKind.CLIENT:
            return True
        attributes = self._attributes
        # The second name is that of the former conventions, which other instrumentations still have by default.
        status = attributes.get("http.response.status_code") or attributes.get("http.status_code")
        is_refusal = isinstance(status, int) and 400 <= status < 500
        return not is_refusal or any(event.name == "exception" for event in self._events)

    def settle(self) -> None:
        """Make the attributes that were left to later."""
        first = self._first
        if first is None:
            return
        try:
            made = first.made()
        except Exception as error:  # a server has given what none should, and it is late to leave the request alone
            fault("HeldSpan.settle", error)
            made = {}
        later = self._attributes
        if len(made) + len(later) <= self._most:
            for key, value in made.items():  # into the same dictionary: another thread may be about to write to it
                later.setdefault(key, value)
        else:
            super().take({key: value for key, value in made.items() if key not in later} | later)
        self._first = None

    def forget(self) -> None:
        """Let go of what attributes could be made from: the contexts of tasks hold spans for long, and not requests."""
        self._first = None
        if self.started_in is not None:
            self.started_in = None

    # Whoever asks for attributes gets all of them.

    @property
    def attributes(self) -> Mapping[str, Any] | None:
        """The attributes; of a span that was dropped, those only which were set after its start."""
        self.settle()
        return super().attributes

    def to_json(self, indent: int | None = 4) -> str:
        """Return the span as JSON, for people to read."""
        self.settle()
        shown: str = super().to_json(indent)
        return shown

    def _counted(self, held: Any) -> BoundedAttributes:
        if self._first is not None:
            self.settle()
            held = self._attributes
        return super()._counted(held)

    def expose(self) -> None:
        """Make the attributes, and hold all in the SDK's containers."""
        self.settle()
        super().expose()

    def _readable_span(self) -> ReadableSpan:
        self.settle()
        return super()._readable_span()
