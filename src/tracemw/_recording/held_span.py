"""A held span: the span of an unsampled trace, which records like a sampled one until its local trace is judged."""

from __future__ import annotations

import contextvars
import math
from sys import getsizeof
from time import monotonic_ns
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode

from tracemw._db.traced_statements import TracedStatement
from tracemw._otel.attributes import LazyAttributes
from tracemw._otel.cleaning import LONGEST, SCALARS, cut, items_of
from tracemw._otel.guard import fault
from tracemw._recording.books import Fate, Fragment
from tracemw._recording.lazy_event import LazyEvent
from tracemw._recording.processors import Processors
from tracemw._recording.showing import marked
from tracemw._recording.span import NO_TYPES, UNSET, Span

# The second name is of the former conventions, which other instrumentations still use by default.
_HTTP_METHOD: Final = ("http.request.method", "http.method")

_OF_HELD: Final = frozenset(
    {
        *("root", "fragment", "fate", "has_failures", "started_in", "seen"),
        *("_first", "_is_asked_for", "_answered_at", "_bounded", "has_children", "folds", "handled"),
    }
)
"""Fields of a held span that the copy which `reopened` makes does not have."""

_SPAN: Final = 800
_ATTRIBUTE: Final = 150
_EVENT: Final = 1500
_DEFERRED: Final = 1000
"""About how many bytes these take: a span, an attribute, an event or link, and attributes that are not made yet.

Measured with CPython 3.11. A test compares the estimates with what spans really take."""

_BRIEF: Final = 100
"""Characters of a short text. Short texts are part of the estimates above; a longer text counts with its own size."""


class HeldSpan(Span):
    """A span of an unsampled trace. Doors know it as a `tracemw._otel.recorder.Held`."""

    is_held = True
    root: HeldSpan | None
    """The local root; None if this span is the local root."""
    fragment: Fragment | None = None
    fate: Fate | None
    """The fate of the local trace, once this root has ended."""
    has_failures: bool
    """Whether a span beneath this one has failed."""
    _is_asked_for: bool
    _answered_at: float | None
    started_in: tuple[contextvars.Context, Context | None] | None = None
    """The contexts in which the span has started, for processors that hear only of kept spans."""
    seen: Span | None = None
    """The copy of the span that those processors see."""
    _first: LazyAttributes | None
    """The attributes to start with, until somebody asks for them. `_attributes` has those that were set since."""

    def take(self, attributes: Any) -> None:
        """Take the attributes to start with. Lazy ones are not made yet."""
        processor = self._tracer.span_processor
        if (
            isinstance(attributes, LazyAttributes)
            and self._plain is SCALARS
            and type(processor) is Processors
            and processor.is_private
        ):
            self._attributes = {}
            attributes.defer()
            self._first = attributes
        else:
            super().take(attributes)

    def answered(self) -> None:
        """Note that the response has begun. The time until now decides whether the request was slow."""
        if self._answered_at is None:
            self._answered_at = monotonic_ns() + self.clock_offset

    def lasts(self) -> None:
        """Note that this is a connection. A connection is never slow."""
        self._answered_at = -math.inf

    @property
    def route(self) -> str:
        """The method and route of an HTTP request; the name of any other span.

        All HTTP requests without a route share the empty string, since anybody can make up paths.
        """
        route = self._attributes.get("http.route")
        if isinstance(route, str):
            return self._name if self._name.endswith(route) else route
        is_http = self._first is not None and type(self._first) is not TracedStatement
        is_http = is_http or any(name in self._attributes for name in _HTTP_METHOD)
        return "" if is_http else self._name

    @property
    def local_root(self) -> HeldSpan:
        """The local root of this span. A wrapper around a span may pass this on, and the recorder uses that."""
        return self.root or self

    def reopened(self, key: str, value: str) -> Span:
        """Return a copy that is open again, with one more attribute, for processors that see the span only now."""
        made: Any = marked(self, key, value)
        seen: Span = object.__new__(Span)
        fields = {name: field for name, field in vars(self).items() if name not in _OF_HELD}
        vars(seen).update(fields, _attributes=made._attributes, _context=made._context, _end_time=None, _open=True)
        seen._plain = self._tracer.plain
        return seen

    def keep(self) -> None:
        """Have the local trace kept, unless it has ended."""
        self.local_root._is_asked_for = True

    def dismiss(self, end_time: int | None) -> bool:
        """Drop the local trace if there is no reason to keep it. Return whether this span needs nothing more.

        A dropped local trace ends with this span, its local root, at `end_time` (nanoseconds since the epoch) or now.
        """
        tracer = self._tracer
        recorder = tracer.recorder
        processor = tracer.span_processor
        if self.root is not None or recorder is None or type(processor) is not Processors or not processor.is_private:
            return False
        if end_time is None:
            end_time = monotonic_ns() + self.clock_offset
        if self.reason_to_keep(end_time) is not None:
            return False
        try:
            del self._open
        except AttributeError:  # somebody has ended the span already
            return True
        self._end_time = max(end_time, self._start_time)
        self._plain = NO_TYPES
        recorder.drop(self)
        return True

    def reason_to_keep(self, end_time: int) -> str | None:
        """Return why the local trace of this root is kept if the root ends at `end_time`; None if it is dropped."""
        if self.has_failures or (self._status is not UNSET and self.has_failed()):
            return "error"
        if self._is_asked_for:
            return "manual"
        recorder = self._tracer.recorder
        if recorder is not None and (self._answered_at or end_time) - self._start_time >= recorder.slow:
            return "slow"
        return None

    def shorten(self) -> int:
        """Cut texts that are too long to be held. Return the estimated size of the span in bytes.

        Names of attributes, and texts in attributes that are not made yet, count as short.
        """
        size = _SPAN if self._first is None else _SPAN + _DEFERRED
        attributes = self._attributes
        if type(attributes) is dict:
            try:
                size += _ATTRIBUTE * len(attributes)
                for key, value in attributes.items():
                    if type(value) is str:
                        if len(value) > _BRIEF:
                            if len(value) > LONGEST:
                                attributes[key] = value = cut(value)  # a new value for an old key: the loop goes on
                            size += getsizeof(value)
                    elif type(value) not in SCALARS:
                        size += _size_of(value)
            except RuntimeError:  # another thread has found the span open, and adds an attribute
                size += _size_of_items(attributes)
        else:
            size += _size_of_items(attributes)
        if type(self._name) is str and len(self._name) > _BRIEF:
            self._name = cut(self._name)
            size += getsizeof(self._name)
        if self._status is not UNSET and len(self._status.description or "") > _BRIEF:
            self._status = Status(self._status.status_code, cut(self._status.description or ""))
            size += getsizeof(self._status.description)
        if self._events or self._links:
            for found in (*self._events, *self._links):
                size += _EVENT if type(found) is LazyEvent else _EVENT + _size_of_items(found.attributes)
        return size

    def ended_at(self) -> int:
        """Return when the span ended, in nanoseconds of the monotonic clock."""
        return (self._end_time or 0) - self.clock_offset

    def has_failed(self) -> bool:
        """Tell whether the span has failed. A CLIENT span with a 4xx has not, unless it has recorded an exception."""
        if self._status.status_code is not StatusCode.ERROR:
            return False
        if self._kind is not SpanKind.CLIENT:
            return True
        attributes = self._attributes
        # The second name is of the former conventions, which other instrumentations still use by default.
        status = attributes.get("http.response.status_code") or attributes.get("http.status_code")
        is_refusal = isinstance(status, int) and 400 <= status < 500
        return not is_refusal or any(event.name == "exception" for event in self._events)

    def settle(self) -> None:
        """Make the attributes to start with, unless they are made already."""
        first = self._first
        if first is None:
            super().settle()
            return
        try:
            made = first.made()
        except Exception as error:  # the server broke its protocol; it is too late to leave the request untraced
            fault("HeldSpan.settle", error)
            made = {}
        later = self._attributes
        if len(made) + len(later) <= self._most:
            for key, value in made.items():  # keep the dictionary: another thread may be about to write to it
                later.setdefault(key, value)
        else:
            super().take({key: value for key, value in made.items() if key not in later} | later)
        self._first = None

    def forget(self) -> None:
        """Let go of what attributes could be made from, and of folds: a task's context may hold the span for long."""
        self._first = self.started_in = None
        if self.has_children and self.folds is not None:
            vars(self).pop("folds", None)

    def _counted(self, held: Any) -> BoundedAttributes:
        if self._first is not None:
            self.settle()
            held = self._attributes
        return super()._counted(held)


def _size_of_items(attributes: Any) -> int:
    return sum([_ATTRIBUTE + _size_of(key) + _size_of(value) for key, value in items_of(attributes)])


def _size_of(value: Any) -> int:
    """Return the estimated size of a clean value in bytes, with the values within."""
    kind = type(value)
    if issubclass(kind, str):
        return str.__sizeof__(value)
    if issubclass(kind, bytes):
        return bytes.__sizeof__(value)
    if kind is tuple or kind is list:
        return sum(map(_size_of, value), _ATTRIBUTE + 8 * len(value))
    if kind is dict:
        return _ATTRIBUTE + _size_of_items(value)
    return 32
