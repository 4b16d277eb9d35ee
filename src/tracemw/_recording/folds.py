"""Many like spans beneath one parent: the first ones stay, the others become one span with their sum.

A request that runs one query 5,000 times costs and shows about what one with 30 queries does. A span is folded when it
ends, if all of these hold:

* It is a leaf: no span has started beneath it. Other processes can have none beneath it either: it is an INTERNAL span,
  or one of a database. A folded HTTP call would leave its server's span without a parent.
* It has not failed, and has neither events nor links.
* So many like ones have ended beneath its parent, which is open. Spans are like if they have the same name, kind and
  scope, and the same query: what differs in literals only is the same.

The first span that is folded stands for all. It goes when its parent ends, or after a minute, with the time from the
first start to the last end, and with the attributes `tracemw.folded.*`.

Whoever counts repeats knows a query in a loop. So the spans of others' database instrumentations, which do not tell
where the loop is, get the line of code here. Those of the door for SQLAlchemy have it already.

There is no lock: where several fields change together, no call stands among the steps (docs/architecture.md).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from opentelemetry.trace import SpanKind, StatusCode

from tracemw._db.conforming import shape_of
from tracemw._db.traced_statements import STATEMENT, TracedStatement
from tracemw._otel.callers import calling_line
from tracemw._recording.books import Books
from tracemw._recording.processors import Processors
from tracemw._recording.span import UNSET, Span

if TYPE_CHECKING:
    from tracemw._recording.tracer import Tracer

LONGEST: Final = 60 * 10**9
"""Nanoseconds that one fold covers. A parent that is open for hours shows its spans before its end."""

_MOST_SHAPES: Final = 100
"""Shapes that are counted beneath one parent. Spans of further shapes stay as they are."""

_REPEATS: Final = 5
"""The execution of a statement beneath one parent from which on others' spans get the line of code."""
_LINES: Final = 100
"""Repeats that get it. Further ones would tell the same."""
_SLOW: Final = 100_000_000
"""Nanoseconds from which the span of another's statement gets that line, too."""

_CLIENT: Final = SpanKind.CLIENT
_INTERNAL: Final = SpanKind.INTERNAL


class Fold:
    """The spans of one shape beneath one parent.

    Args:
        parent: The parent.
        books: The books to count in.
        seen: Spans of this shape that have ended so far.
    """

    # Defaults in the class, and no slots: nearly all folds only count, and are made for each statement of a request.
    first: Any = None
    """The span that stands for those that are folded."""
    is_closed = False
    count = total = longest = shortest = slowest_start = end = 0

    def __init__(self, parent: Span, books: Books, seen: int = 0) -> None:
        self.seen = seen
        self._parent = ref(parent)  # which leads here, so that this would close a cycle
        self._books = books

    def join(self, started: int, ended: int) -> bool:
        """Let the first span stand for something that has no span of its own.

        Args:
            started: When that began, in nanoseconds of the monotonic clock.
            ended: When that ended.

        Returns:
            False if the fold is closed, takes no more, or the parent has ended: then there has to be a span.
        """
        parent, first = self._parent(), self.first
        if parent is None or first is None:
            return False
        start, end = started + parent.clock_offset, ended + parent.clock_offset
        if end - first._start_time > LONGEST or not self.add(start, end, first, parent):
            return False
        self.seen += 1
        self._books.folded += 1
        return True

    def add(self, start: int, end: int, span: Span, parent: Span) -> bool:
        """Let the first span stand for one more, from `start` to `end`.

        Return False if the fold is closed, or the parent has ended. If none is folded yet, `span` is the first.
        """
        # No call from here to the count: a fold is complete when its parent has ended.
        if not self.is_closed and parent._end_time is None:
            if self.first is None:
                self.first = span
                self.shortest = end - start
            if end > self.end:
                self.end = end
            if end - start < self.shortest:
                self.shortest = end - start
            if end - start >= self.longest:
                self.longest = end - start
                self.slowest_start = start
            self.total += end - start
            self.count += 1
            return True
        return False

    def close(self) -> Span | None:
        """Return the span that stands for all; None if none is folded, or the fold is closed already."""
        # No call from here to the next step: only one thread closes a fold.
        is_closed = self.is_closed
        self.is_closed = True
        first: Span | None = self.first
        if is_closed or first is None:
            return None
        if self.count == 1:  # it stands for itself
            return first
        first._end_time = self.end
        first._attributes = {
            **first._attributes,
            "tracemw.folded.count": self.count,
            "tracemw.folded.sum": self.total / 1e9,
            "tracemw.folded.min": self.shortest / 1e9,
            "tracemw.folded.max": self.longest / 1e9,
            "tracemw.folded.slowest_start": self.slowest_start,
        }
        return first


Folds = dict[Hashable, Fold]
"""What is folded beneath one span, by shape. A span has its folds from the first child on that may be folded."""


def fold(span: Span) -> bool:
    """Fold a span that has just ended, if so many like ones have ended before it. Return whether it is folded."""
    parent, tracer = span.parent_span, span._tracer
    del span.parent_span
    recorder, processor = tracer.recorder, tracer.span_processor
    if parent is None or parent._end_time is not None or recorder is None or type(processor) is not Processors:
        return False
    shape = _shape_of(span)
    if shape is None:
        return False
    # `setdefault` is one step: two threads get the same dictionary, and the same fold.
    folds: Folds = parent.folds or vars(parent).setdefault("folds", {})
    found = folds.get(shape)
    if found is None:
        if len(folds) >= _MOST_SHAPES:
            return False
        found = folds.setdefault(shape, Fold(parent, recorder.books))
    found.seen += 1
    if span._kind is _CLIENT and (found.seen >= _REPEATS or (span._end_time or 0) - span._start_time >= _SLOW):
        _tell_line(span, found.seen)
    if found.seen <= tracer.fold_after:
        return False
    # A foreign processor that has seen the start of the span waits for its end.
    if not (processor.is_private and not processor.ending if span.is_held else processor.are_plain):
        return False
    if found.first is not None and (span._end_time or 0) - found.first._start_time > LONGEST:
        _hand_on(found, recorder.books)
        found = folds[shape] = Fold(parent, recorder.books, found.seen)
    if not found.add(span._start_time, span._end_time or 0, span, parent):
        return False
    recorder.books.folded += 1
    return True


def fold_for(tracer: Tracer, parent: Any, shape: Hashable) -> Fold | None:
    """Return the fold that a span of this shape would join, if it need not be made: nobody else would hear of it."""
    folds: Folds | None = parent.folds
    found = None if folds is None else folds.get((tracer, shape))
    processor = tracer.span_processor
    if found is None or found.first is None or type(processor) is not Processors or processor.has_foreign:
        return None
    return found


def hand_on_folds(parent: Span) -> None:
    """Hand on the spans that stand for others beneath a span that has ended."""
    folds = vars(parent).pop("folds", None)
    recorder = parent._tracer.recorder
    if folds is not None and recorder is not None:
        for found in list(folds.values()):
            if found.first is not None:  # most only count
                _hand_on(found, recorder.books)


def _hand_on(found: Fold, books: Books) -> None:
    span = found.close()
    if span is not None:
        books.folded -= 1
        vars(span).pop("_record_end_metrics", None)  # its end has been counted
        span._tracer.ended(span)


def _tell_line(span: Span, seen: int) -> None:
    """Tell the line of code that has executed another's statement, which is repeated or slow."""
    if seen >= _REPEATS + _LINES and (span._end_time or 0) - span._start_time < _SLOW:
        return
    if getattr(span.instrumentation_scope, "name", "") == "tracemw":
        return
    line = calling_line()
    attributes = span._attributes
    if line is not None and len(attributes) + 3 <= span._most and "code.line.number" not in attributes:
        attributes.update(line.attributes())


def _shape_of(span: Span) -> Hashable | None:
    """Return what like spans have in common; None for a span that is never folded."""
    attributes = span._attributes
    if span.has_children or type(attributes) is not dict or span._events or span._links:
        return None
    if span._status is not UNSET and span._status.status_code is StatusCode.ERROR:
        return None
    if span._kind is _CLIENT:
        held: Any = span
        told = held._first if span.is_held else attributes.get(STATEMENT)
        if type(told) is TracedStatement:
            return (span._tracer, told.shape)
        query = shape_of(span._name, attributes)
        return None if query is None else (span._tracer, query)
    return (span._tracer, span._name) if span._kind is _INTERNAL else None
