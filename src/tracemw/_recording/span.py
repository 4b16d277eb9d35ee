"""A span that holds what it is told, and does no other work.

To all other code this is the SDK's span: same class hierarchy, same private fields, same rules for attributes. The
common case writes to a plain dictionary. There is no lock: the interpreter does each step atomically. The rare cases
(odd types, limits that bite, events, links) go through the SDK's own containers.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterable, Mapping
from time import monotonic_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import _Span as SdkSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from tracemw._otel.attributes import TEMPLATED, LazyAttributes, make_whole
from tracemw._otel.cleaning import SCALARS, Items, cleaned, is_key, items_of, shown, warn_of_key
from tracemw._otel.exceptions import described, exception_type, message_of, note_recorded
from tracemw._otel.stacktrace import stacktrace
from tracemw._recording.lazy_event import LazyEvent
from tracemw._recording.limits import put_locked
from tracemw._recording.processors import Processors
from tracemw._recording.readable import KNOWS_READABLE_SPANS, readable_copy
from tracemw.redaction.in_use import in_use

if TYPE_CHECKING:
    from tracemw._recording.folds import Folds
    from tracemw._recording.tracer import Tracer

_logger: Final = logging.getLogger("opentelemetry.sdk.trace")  # users know the SDK's lines under this name
NO_TYPES: Final[frozenset[type]] = frozenset()
UNSET: Final = Status(StatusCode.UNSET)

Attributes = dict[str, Any]


class Span(SdkSpan):
    """A span that records. Only `Tracer.start_span` makes one, and sets its start time last."""

    is_held = False
    """Whether the span is of an unsampled trace."""
    is_tracemw = True

    # Fields that most spans never set.
    _record_exception = True
    _set_status_on_exception = True
    _record_end_metrics: Any = None
    _has_templates = False
    """Whether templates stand among the attributes: nobody has looked at them yet."""
    has_children = False
    """Whether a span has started beneath this one, in this process."""
    parent_span: Span | None = None
    """The parent, while both are open and like children are folded."""
    folds: Folds | None = None
    """What is folded beneath this span."""
    user_hash: str | None = None
    """The pseudonym of the user whose request this is. Spans that start beneath get it, too."""
    handled: Any = None
    """The exceptions that the application has handled while this span was current, if somebody watches."""
    _sampler = None
    _trace_config = None

    _name: str
    _context: SpanContext
    _status: Status
    _events: Any
    _links: Any
    clock_offset: int
    """Nanoseconds that the span's times are ahead of the monotonic clock; see `tracemw._otel.clock`."""
    _start_time: int
    _end_time: int | None
    _attributes: Any
    _tracer: Tracer
    _plain: frozenset[type]
    """The types of values that need no cleaning; empty once the span has ended."""
    _most: int
    """How many attributes the span may have."""
    _open: bool
    """Present until the span ends. `end` deletes it: of two threads, only one can."""

    if not TYPE_CHECKING:
        # The SDK's spans each hold these. Ours read them of the tracer.
        _limits = property(lambda self: self._tracer.limits)
        _instrumentation_info = property(lambda self: self._tracer.instrumentation_info)
        _lock = property(lambda self: vars(self).setdefault("_own_lock", threading.Lock()))

        @property
        def _span_processor(self) -> SpanProcessor:
            return self._tracer.span_processor

        @_span_processor.setter
        def _span_processor(self, processor: SpanProcessor) -> None:
            # Some processors assign this to take a span away from the others. The span gets a tracer of its own.
            self._tracer = copy.copy(self._tracer)
            self._tracer.span_processor = processor

    def take(self, attributes: Any) -> None:
        """Take the attributes to start with. The caller's mapping is not kept."""
        if issubclass(type(attributes), LazyAttributes):
            # A door of ours has made the dictionary, and nobody else has it: it needs neither check nor copy.
            processor = self._tracer.span_processor
            if self._plain is SCALARS and type(processor) is Processors and not processor.has_foreign:
                parts = attributes.parts()
                room = self._most - len(TEMPLATED)
                if len(parts) <= room:
                    self._attributes = parts
                    self._has_templates, self._most = True, room
                    return
            attributes = attributes.made()
            if self._plain is SCALARS and len(attributes) <= self._most:
                self._attributes = attributes
                return
        if type(attributes) is dict:
            made = attributes.copy()
            plain = self._plain
            for key, value in made.items():
                if type(key) is not str or type(value) not in plain or not key:
                    break
            else:
                if len(made) <= self._most:
                    self._attributes = made
                    return
            attributes = made
        self._attributes = self._limits.clean(attributes)

    def settle(self) -> None:
        """Make the attributes that templates stand for: somebody looks."""
        if self._has_templates:
            make_whole(self._attributes)
            self._has_templates, self._most = False, self._tracer.most

    @property
    def attributes(self) -> Mapping[str, Any] | None:
        """All attributes. A held span that was dropped has only those that were set after its start."""
        self.settle()
        return super().attributes

    def to_json(self, indent: int | None = 4) -> str:
        """Return the span as JSON, for people to read."""
        self.settle()
        shown: str = super().to_json(indent)
        return shown

    def get_span_context(self) -> SpanContext:
        """Return the span context, which identifies the span for its children and for other processes."""
        return self._context

    def is_recording(self) -> bool:
        """Tell whether the span has not ended."""
        return self._end_time is None

    def is_unfinished(self) -> bool:
        """Tell whether the span is open, and of this process. After a fork, only the parent ends its open spans."""
        fields = vars(self)
        return "_open" in fields and "_start_time" in fields and self._resource is self._tracer.resource

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute, in place of one with the same key. After the end, do nothing but warn."""
        attributes = self._attributes
        if type(value) in self._plain and type(key) is str and key and len(attributes) < self._most:
            if self._has_templates and key in TEMPLATED:
                self.settle()  # what a template makes must not stand beside what somebody sets
            if key in attributes:
                attributes.pop(key, None)  # as in the SDK, the newest stands last
            attributes[key] = value
        elif self._end_time is None:
            self._set(attributes, key, value)
        else:
            _logger.warning("Setting attribute on ended span.")

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes. After the end, do nothing but warn."""
        held = self._attributes
        if self._end_time is not None:
            _logger.warning("Setting attribute on ended span.")
            return
        items = items_of(attributes)
        if all(is_key(key) for key, _ in items):
            for key, value in items:
                self.set_attribute(key, value)
        else:
            self._limits.put(self._counted(held), items)

    # Callers of these two read `held` first, and then find the span open. In this order, a span that ends meanwhile is
    # not written to: the container that replaces `held` at the end is read-only.

    def _set(self, held: Any, key: str, value: Any) -> None:
        self.settle()
        limits = self._limits
        if not limits.most or not is_key(key):
            with (counted := self._counted(held))._lock:
                counted.dropped += 1
            if limits.most:
                warn_of_key(key)
        elif type(held) is dict and len(held) < self._most:
            key, value = str.__str__(key), cleaned(value, limits.max_span_attribute_length)
            held.pop(key, None)
            held[key] = value
        else:
            value = cleaned(value, limits.max_span_attribute_length)
            with (counted := self._counted(held))._lock:
                put_locked(counted, str.__str__(key), value)

    def _counted(self, held: Any) -> BoundedAttributes:
        """Move the attributes to the SDK's container, which counts what a limit keeps out. Return the container."""
        if type(held) is dict:
            self.settle()
            # `setdefault` on the dictionary is one step: two threads get the same container.
            held = self._attributes = vars(self).setdefault("_bounded", self._limits.contain(held.copy()))
        return cast("BoundedAttributes", held)

    def expose(self) -> None:
        """Move everything to the SDK's containers. Foreign code reads a span's private fields, and expects those."""
        self.settle()
        held = self._attributes
        if isinstance(held, (dict, BoundedAttributes)):
            contained = self._limits.contain(held.copy())
            contained.dropped = getattr(held, "dropped", 0)
            contained._immutable = True
            self._attributes = contained
        if self._events == ():
            self._events = BoundedList(self._limits.max_events)
        if self._links == ():
            self._links = BoundedList(self._limits.max_links)

    def update_name(self, name: str) -> None:
        """Rename the span. After the end, do nothing but warn."""
        if self._end_time is None:
            self._name = name if issubclass(type(name), str) else shown(name)
        else:
            _logger.warning("Tried calling %s on an ended span.", "update_name")

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status, unless it is OK already. UNSET changes nothing. After the end, do nothing but warn."""
        if self._end_time is not None:
            _logger.warning("Tried calling %s on an ended span.", "set_status")
            return
        known: Any = status if issubclass(type(status), Status) else None
        code = status if known is None else known.status_code
        if code is StatusCode.UNSET or self._status.status_code is StatusCode.OK or type(code) is not StatusCode:
            return
        if known is None:
            if description is not None and type(description) is not str:
                description = shown(description)
            known = Status(code, description)
        elif description is not None:
            _logger.warning("Description %s ignored. Use either `Status` or `(StatusCode, Description)`", description)
        if known.description:  # other instrumentations put the text of an exception there
            known = Status(code, in_use().text(shown(known.description), "status"))
        self._status = known

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Add an event, with the time of now by default. After the end, do nothing but warn."""
        if timestamp is None:
            timestamp = monotonic_ns() + self.clock_offset
        limits = self._tracer.limits
        if issubclass(type(attributes), LazyAttributes):
            self._add_event(LazyEvent(name, attributes, timestamp, limits))
        else:
            self._add_event(Event(name, limits.of_event(attributes), timestamp))

    def _add_event(self, event: Any) -> None:
        if self._end_time is None:
            if self._events == ():
                # `setdefault` on the dictionary is one step: two threads that add the first event get the same list.
                self._events = vars(self).setdefault("_own_events", BoundedList(self._limits.max_events))
            self._events.append(event)
        else:
            _logger.warning("Tried calling %s on an ended span.", "_add_event")

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        """Add a link to another span, unless the link leads nowhere. After the end, do nothing but warn."""
        if _leads_somewhere(context, attributes):
            self._add_link(Link(context, self._limits.of_link(attributes)))

    def _new_links(self, links: Iterable[Any]) -> Any:
        """Return the links to start with, without those that lead nowhere."""
        found = []
        for link in links:
            if link is None:
                continue
            try:
                held = self._limits.of_link(link.attributes)
                if _leads_somewhere(link.context, link.attributes):
                    link._attributes = held
                    found.append(link)
            except Exception:
                _logger.warning("A link of the wrong type is ignored: %s", shown(link))
        return BoundedList.from_seq(self._limits.max_links, found)

    def _add_link(self, link: Link) -> None:
        if self._end_time is None:
            if self._links == ():
                self._links = vars(self).setdefault("_own_links", BoundedList(self._limits.max_links))
            self._links.append(link)
        else:
            _logger.warning("Tried calling %s on an ended span.", "_add_link")

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        """Record an exception event, and the stage that the exception came from."""
        note_recorded(self, exception)
        told = Items()
        told += [
            ("exception.type", exception_type(exception)),
            ("exception.message", message_of(exception)),
            ("exception.stacktrace", stacktrace(exception, self._tracer.own_limits.stacktrace)),
            ("exception.escaped", shown(escaped)),
            *items_of(attributes),
        ]
        self.add_event("exception", told, timestamp)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the span, and record the exception that leaves its block."""
        if error is not None and self._end_time is None:
            if self._record_exception:
                self.record_exception(error, escaped=True)
            if self._set_status_on_exception:
                self.set_status(Status(StatusCode.ERROR, described(error)))
        self.end()

    def start(self, start_time: int | None = None, parent_context: Context | None = None) -> None:
        """Do nothing but warn: a tracer has started the span."""
        del start_time, parent_context
        _logger.warning("Calling start() on a started span.")

    def end(self, end_time: int | None = None) -> None:
        """End the span, and hand it to the processors. A second time, do nothing but warn.

        Args:
            end_time: The end in nanoseconds since the epoch; by default, now. An end before the start is the start.
        """
        try:
            del self._open
        except AttributeError:
            _logger.warning("Calling end() on an ended span.")
            return
        if end_time is None:
            end_time = monotonic_ns() + self.clock_offset
        elif type(end_time) is not int:
            end_time = nanoseconds(end_time, monotonic_ns() + self.clock_offset)
        self._end_time = end_time
        if end_time < self._start_time:
            self._end_time = self._start_time
        self._plain = NO_TYPES
        self._tracer.ended(self)

    # The SDK's own versions of these check for abstract classes, which takes long.

    @property
    def dropped_attributes(self) -> int:
        """How many attributes the limits have kept out."""
        return 0 if type(self._attributes) is dict else super().dropped_attributes

    @property
    def dropped_events(self) -> int:
        """How many events the limits have kept out."""
        return getattr(self._events, "dropped", 0)

    @property
    def dropped_links(self) -> int:
        """How many links the limits have kept out."""
        return getattr(self._links, "dropped", 0)

    def _readable_span(self) -> ReadableSpan:
        self.settle()
        return readable_copy(self) if KNOWS_READABLE_SPANS else super()._readable_span()

    def __deepcopy__(self, memo: dict[int, Any]) -> ReadableSpan:
        return copy.deepcopy(self._readable_span(), memo)


def nanoseconds(given: Any, now: int) -> int:
    """Return a given time as a whole number of nanoseconds; `now` for a value that is no number."""
    try:
        return int(given)
    except Exception:
        return now


def _leads_somewhere(context: object, attributes: object) -> bool:
    known: Any = context if issubclass(type(context), SpanContext) else None
    return known is not None and (known.is_valid or bool(known.trace_state) or bool(items_of(attributes)))
