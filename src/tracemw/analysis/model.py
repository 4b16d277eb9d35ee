"""A trace as the analysis sees it: a tree of spans, whatever is missing, doubled, circular or askew.

Times are nanoseconds. Nothing here recurses, so a trace may be as deep and as wide as it likes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from tracemw.analysis.conventions import answers_the_caller, http_status, in_names_of_today, seconds, whole

CLIENT: Final = "CLIENT"
SERVER: Final = "SERVER"
INTERNAL: Final = "INTERNAL"
PRODUCER: Final = "PRODUCER"
CONSUMER: Final = "CONSUMER"

MILLISECOND: Final = 1_000_000

_SKEW: Final = 10 * MILLISECOND
"""How much earlier than its caller's span one of another service may begin before the clocks are said to be apart."""

_LONG: Final = 100 * MILLISECOND
_MANY: Final = 3


class Event(NamedTuple):
    """Something that happened in a span."""

    name: str
    time: int
    attributes: dict[str, Any]


class Resource(NamedTuple):
    """The process that a span comes from."""

    service: str
    attributes: dict[str, Any]


class Span:
    """One timed operation. `start` and `end` are in the time of the trace's root, once its trace is built."""

    __slots__ = (
        "attributes",
        "children",
        "end",
        "events",
        "failed",
        "folded",
        "kind",
        "messages",
        "name",
        "parent",
        "parent_id",
        "resource",
        "skew",
        "span_id",
        "start",
        "status_message",
        "trace_id",
        "trace_state",
    )

    def __init__(
        self,
        *,
        trace_id: str,
        span_id: str,
        parent_id: str,
        name: str,
        kind: str,
        start: int,
        end: int,
        attributes: dict[str, Any],
        resource: Resource,
        is_error: bool = False,
        status_message: str = "",
        events: Sequence[Event] = (),
        trace_state: str = "",
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        """Empty for a root."""
        self.name = name
        self.kind = kind
        """`CLIENT`, `SERVER`, `INTERNAL`, `PRODUCER` or `CONSUMER`."""
        self.start = start
        self.end = max(start, end)
        self.attributes = attributes = in_names_of_today(attributes)
        self.resource = resource
        self.failed = is_error
        if not is_error and "http.response.status_code" in attributes and (http_status(attributes) or 0) >= 500:
            self.failed = True
        self.status_message = status_message
        self.events = events
        self.trace_state = trace_state
        self.parent: Span | None = None
        self.children: list[Span] = []
        self.messages: list[Span] = []
        """Spans of single ASGI messages (`http send`), which are no work of their own."""
        self.skew = 0
        """By how much the clock of this span was put right."""
        self.folded = 1
        if "tracemw.folded.count" in attributes:
            self.folded = max(whole(attributes["tracemw.folded.count"]) or 1, 1)

    @property
    def service(self) -> str:
        """The name of the service; empty when the resource has none."""
        return self.resource.service

    @property
    def duration(self) -> int:
        """Nanoseconds from start to end, never below 0."""
        return self.end - self.start

    @property
    def busy(self) -> int:
        """Nanoseconds of work: of a span that stands for many, their sum."""
        return self.end - self.start if self.folded == 1 else _nanoseconds(self, "tracemw.folded.sum")

    @property
    def longest(self) -> int:
        """Nanoseconds of the longest of the spans that this one stands for."""
        return self.end - self.start if self.folded == 1 else _nanoseconds(self, "tracemw.folded.max")

    @property
    def is_database(self) -> bool:
        """Whether this is a call of a database."""
        return "db.system.name" in self.attributes and self.kind in (CLIENT, INTERNAL)

    @property
    def is_call(self) -> bool:
        """Whether this is a call over HTTP or RPC, as the caller sees it."""
        return self.kind == CLIENT and "db.system.name" not in self.attributes

    @property
    def is_message(self) -> bool:
        """Whether this is a single ASGI message (`http send`), as OpenTelemetry's own middleware records them."""
        return "asgi.event.type" in self.attributes and self.kind == INTERNAL

    @property
    def failed_hard(self) -> bool:
        """Whether this span failed by more than an answer such as 404."""
        return self.failed and not (self.kind == CLIENT and answers_the_caller(self.attributes))

    @property
    def exception(self) -> Event | None:
        """The last exception on record."""
        return next((event for event in reversed(self.events) if event.name == "exception"), None)

    @property
    def error_type(self) -> str:
        """The class of the exception, or what the span gives as `error.type`; empty when neither is there."""
        event = self.exception
        found = event.attributes.get("exception.type") if event else None
        return str(found or self.attributes.get("error.type") or "")

    def __repr__(self) -> str:
        return f"<Span {self.span_id} {self.service} {self.name!r}>"


class Trace:
    """The spans of one trace, as a tree.

    Spans that were delivered twice are one. A span whose parent is not there is a root of its own; so is the first span
    of a circle. A child of another service that begins more than 10 ms before its parent had another clock: it is moved
    with everything beneath it. Spans belong to one trace: it links and moves them.

    Args:
        spans: All spans of the trace, in any order.

    Raises:
        ValueError: if there are no spans.
    """

    __slots__ = (
        "eventful",
        "failed",
        "long",
        "orphans",
        "parents",
        "root",
        "roots",
        "services",
        "skewed",
        "spans",
        "trace_id",
    )

    def __init__(self, spans: Iterable[Span]) -> None:
        by_id: dict[str, Span] = {}
        for span in spans:
            by_id.setdefault(span.span_id, span)
        if not by_id:
            raise ValueError("there are no spans in this trace; check its id and the time range")
        self.trace_id = next(iter(by_id.values())).trace_id
        self.orphans: list[Span] = []
        """Spans whose parent is not there."""
        self.roots: list[Span] = []
        """Spans without a parent, orphans among them."""
        self._link(by_id)
        self.spans: list[Span] = []
        """Every span but those of single messages, parents before their children."""
        self.skewed: list[Span] = []
        """Spans with which another clock begins."""
        self._walk(self.roots)
        if len(self.spans) + sum([len(span.messages) for span in self.spans]) < len(by_id):
            reached = set(self.spans).union(*(span.messages for span in self.spans))
            self._walk(self._cut_circles(span for span in by_id.values() if span not in reached))
        self.services: set[str] = set()
        self.failed: list[Span] = []
        self.long: list[Span] = []
        """Spans of 100 ms and longer."""
        self.parents: list[Span] = []
        """Spans with three children and more, or with folded ones."""
        self.eventful: list[Span] = []
        """Spans with events."""
        self._sort_out()
        whole_roots = [root for root in self.roots if not root.parent_id] or self.roots
        self.root = max(whole_roots, key=lambda root: root.end - root.start)
        """The longest span without a parent."""

    @property
    def is_fragment(self) -> bool:
        """Whether the root is missing. A request whose caller nobody traces is whole, although it has a parent."""
        return self.root.parent_id != "" and (len(self.roots) > 1 or self.root.kind not in (SERVER, CONSUMER))

    def _link(self, by_id: dict[str, Span]) -> None:
        with_children = {span.parent_id for span in by_id.values()}
        for span in by_id.values():
            parent = by_id.get(span.parent_id) if span.parent_id else None
            if parent is None or parent is span:
                self.roots.append(span)
                if span.parent_id:
                    self.orphans.append(span)
                continue
            span.parent = parent
            is_message = span.is_message and span.span_id not in with_children
            siblings = parent.messages if is_message else parent.children
            siblings.append(span)

    def _walk(self, roots: list[Span]) -> None:
        """Put the spans beneath roots in order, and put clocks right."""
        order = self.spans
        pending = roots[::-1]
        while pending:
            span = pending.pop()
            order.append(span)
            children = span.children
            if children:
                if span.skew or any(child.resource is not span.resource for child in children):
                    self._put_right(span)
                pending.extend(children)

    def _cut_circles(self, spans: Iterable[Span]) -> list[Span]:
        """Make roots of the first span of each circle, and return these."""
        cut = []
        passed: dict[Span, int] = {}
        for number, span in enumerate(spans):
            way = []
            above: Span | None = span
            while above is not None and above not in passed:
                passed[above] = number
                way.append(above)
                above = above.parent
            if above is not None and passed[above] == number:
                first = min(way[way.index(above) :], key=lambda span: span.start)
                if first.parent is not None:
                    first.parent.children.remove(first)
                first.parent = None
                cut.append(first)
        self.roots += cut
        self.orphans += cut
        return cut

    def _put_right(self, parent: Span) -> None:
        for child in parent.children:
            shift = parent.skew
            if child.service != parent.service and child.kind != CONSUMER:
                shift = _shift(child, parent)
                if shift not in (0, parent.skew):
                    self.skewed.append(child)
            if shift:
                child.skew = shift
                for moved in (child, *child.messages):
                    moved.start += shift
                    moved.end += shift

    def _sort_out(self) -> None:
        failed, long, parents, eventful = self.failed, self.long, self.parents, self.eventful
        resources = {}
        for span in self.spans:
            resources[id(span.resource)] = span.resource
            if span.failed:
                failed.append(span)
            if span.end - span.start >= _LONG:
                long.append(span)
            if len(span.children) >= _MANY:
                parents.append(span)
            elif span.folded > 1 and span.parent is not None and len(span.parent.children) < _MANY:
                parents.append(span.parent)
            if span.events:
                eventful.append(span)
        self.services = {resource.service for resource in resources.values()}
        if len(parents) > 1:
            self.parents = list(dict.fromkeys(parents))


def _shift(child: Span, parent: Span) -> int:
    """Return by how much a child of another service is moved: not at all, with its parent, or into its middle.

    A request that begins after its caller had the answer had another clock, too. After a timeout, that may be so.
    """
    earliest = parent.start - _SKEW
    answered = child.kind == SERVER and parent.kind == CLIENT and not parent.failed
    if child.start >= earliest and (child.start <= parent.end or not (parent.skew or answered)):
        return 0
    if parent.skew and child.start + parent.skew >= earliest:
        return parent.skew
    return parent.start + max(parent.duration - child.duration, 0) // 2 - child.start


def descendants(span: Span) -> list[Span]:
    """Return all spans beneath a span, parents first."""
    found = list(span.children)
    for each in found:  # the list grows while it is read
        found.extend(each.children)
    return found


def ancestors(span: Span) -> list[Span]:
    """Return the spans above a span, the nearest first."""
    found, above = [], span.parent
    while above is not None:
        found.append(above)
        above = above.parent
    return found


def milliseconds(nanoseconds: float) -> float:
    """Return milliseconds, to the microsecond."""
    return round(nanoseconds / MILLISECOND, 3)


def _nanoseconds(span: Span, name: str) -> int:
    return round(seconds(span.attributes.get(name)) * 1e9) or span.duration
