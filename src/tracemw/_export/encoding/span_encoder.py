# ruff: noqa: SLF001  the properties of the SDK's spans copy, and cost as much as all the rest
"""The encoder of spans: `Span` of opentelemetry-proto's trace.proto, and requests made of them.

Spans come from anybody. No span leaves with an end before its start: a backend such as Tempo would take the difference
for centuries. No text leaves longer than a limit. A span with a wrong field is mended. A database span leaves by the
conventions of now, and without literals.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from struct import Struct
from typing import TYPE_CHECKING, Final, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import SpanKind, StatusCode

from tracemw._db.conforming import conformed, is_of_database
from tracemw._export.encoding.envelopes import Groups, ScopeGroup
from tracemw._export.encoding.memo import AttributeMemo
from tracemw._export.encoding.mending import LATEST, MendedSpan, mended_times
from tracemw._export.encoding.protobuf import (
    TABLED,
    VARINTS,
    count_field,
    repeated,
    sized,
    text_field,
    time_field,
    varint,
)
from tracemw._export.encoding.span_names import Names
from tracemw._otel.cleaning import LONGEST
from tracemw._process.log import log
from tracemw.redaction.policy import RedactionPolicy

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link, Status
    from opentelemetry.trace.span import TraceState

_NOTHING: Final = ()
"""The events, and the links, of most of our spans. All empty tuples are this one object."""

_SERVER: Final = SpanKind.SERVER
_ERROR: Final = StatusCode.ERROR
_LONG: Final = 100_000_000
"""Nanoseconds from which a trivial database statement has something to tell."""

_TIMES: Final = Struct("<QBQ").pack
_KINDS: Final = tuple(bytes((0x30, kind._value_ + 1, 0x39)) for kind in sorted(SpanKind, key=lambda kind: kind._value_))
"""By the value of a kind: the kind, and the tag of the start."""

# SpanFlags, a fixed32. 0x100: whether the parent, or the linked span, is remote is known. 0x200: that span is remote.
_LOCAL: Final = b"\x00\x01\x00\x00"
_REMOTE: Final = b"\x00\x03\x00\x00"


class SpanEncoder:
    """Makes records of spans, and of records the bytes of an OTLP `ExportTraceServiceRequest`.

    Any thread may encode, and a signal handler may do so in the midst of that.

    Args:
        memo_size: How many attribute values the encoder remembers, of all keys together.
        longest: How many bytes the value of an attribute may take: a text, or a whole sequence or mapping. A longer
            value is cut, and says by how much. Names, keys and descriptions are cut at `LONGEST`.
        policy: What may leave; by default, all keys that are allowed unasked.

    Raises:
        ValueError: for a `memo_size` below 1.
    """

    spans_left_out: int
    """How many spans could not be encoded."""

    def __init__(self, *, memo_size: int = 8192, longest: int = LONGEST, policy: RedactionPolicy | None = None) -> None:
        if memo_size < 1:
            raise ValueError(f"memo_size={memo_size!r} is not accepted; use at least 1")
        self.spans_left_out = 0
        policy = policy or RedactionPolicy(longest=longest)
        few = max(memo_size // 16, 1)
        self._policy = policy
        self._memo = AttributeMemo(memo_size, longest, policy)
        self._memo_of_events = AttributeMemo(max(memo_size // 4, 1), longest, policy, "event")
        self._memo_of_links = AttributeMemo(few, longest, policy, "link")
        self._names, self._names_of_events = Names(policy, b"\x2a"), Names(policy, b"\x12")
        self._groups = Groups(
            AttributeMemo(few, longest, policy, "resource"), AttributeMemo(few, longest, policy, "scope")
        )
        # The latest of each, with its bytes. The spans of a trace share a state, and most spans share a status. The
        # last bytes of a span are its status and flags. Of these there are two: for a local parent, and a remote one.
        self._trace_state: tuple[TraceState | None, bytes] = (None, b"")
        self._status: tuple[Status | None, bytes, bytes] = (None, *_ends(None, policy))
        self._group: ScopeGroup | None = None

    @property
    def misses(self) -> int:
        """How many attributes were not remembered, and had to be encoded."""
        return self._memo.misses + self._memo_of_events.misses + self._memo_of_links.misses

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        """Return the request that carries `spans`, without those for which `record` has none."""
        return self.request([record for span in spans if (record := self.record(span))])

    def record(self, span: ReadableSpan) -> bytes | None:
        """Return a span for `request`; None when it cannot be encoded, and nothing (`b""`) when it has nothing to tell.

        Spans that cannot be encoded are counted in `spans_left_out`, and the first one is logged. Nothing to tell has
        the span of a trivial database statement, such as BEGIN, which somebody else has made, and which has neither
        failed nor taken long.
        """
        try:
            try:
                message = self._span(span)
            except Exception:
                message = self._span(cast("ReadableSpan", MendedSpan(span)))
            if not message:
                return message
            try:
                resource, scope = span._resource, span._instrumentation_scope
            except AttributeError:
                resource, scope = span.resource, span.instrumentation_scope
            group = self._group
            if group is None or group.resource.of is not resource or group.scope.of is not scope:
                group = self._group = self._groups.find(resource, scope)
            size = len(message)  # as `sized`, without the call and a copy
            length = VARINTS[size] if size < TABLED else varint(size)
            return group.head + length + message if group.head else group.record(length + message)
        except Exception as error:
            self.spans_left_out += 1
            if self.spans_left_out == 1:
                said = "tracemw leaves out a span that it cannot encode; further ones are not logged"
                log(logging.ERROR, said, error=error)
            return None

    def request(self, records: Sequence[bytes]) -> bytes:
        """Return the request that carries the spans of `records`, grouped by resource, then by scope."""
        return self._groups.request(records)

    def _span(self, span: ReadableSpan) -> bytes:
        try:
            name, context = span._name, span._context  # four at once would be put into a tuple first
            kind, parent = span._kind, span._parent
            start, end, status = span._start_time, span._end_time, span._status
            attributes, events, links = span._attributes, span._events, span._links
        except AttributeError:  # an object that only looks like a span of the SDK
            name, context, kind, parent = span.name, span.get_span_context(), span.kind, span.parent
            start, end, status = span.start_time, span.end_time, span.status
            attributes, events, links = span.attributes, span.events, span.links
        trace_id, span_id, _, _, trace_state, _ = context  # type: ignore[misc]  # a span without one is left out
        known, state_and_parent = self._trace_state
        if trace_state is not known:
            state_and_parent = _trace_state(trace_state, self._policy)
            self._trace_state = (trace_state, state_and_parent)
        ends = self._status
        if status is not ends[0]:
            ends = self._status = (status, *_ends(status, self._policy))
        rest = ends[1]
        if parent:
            _, parent_id, is_remote, _, _, _ = parent
            state_and_parent += b"\x22\x08" + parent_id.to_bytes(8)
            if is_remote:
                rest = ends[2]
        if not (start and end and start <= end <= LATEST):
            start, end = mended_times(start, end)
        # Plain containers have dropped nothing. To ask each span would cost as much as three attributes.
        if (events is not _NOTHING or links is not _NOTHING) and not _vacant(events, links):
            rest = (
                repeated(b"\x5a", [self._event(event) for event in events or ()])
                + count_field(b"\x60", span.dropped_events)
                + repeated(b"\x6a", [self._link(link) for link in links or ()])
                + count_field(b"\x70", span.dropped_links)
                + rest
            )
        if type(attributes) is not dict and (type(attributes) is not BoundedAttributes or attributes.dropped):
            rest = count_field(b"\x50", span.dropped_attributes) + rest
        if kind is not _SERVER and attributes and is_of_database(attributes):
            name, attributes, is_trivial = conformed(name, attributes)
            if is_trivial and end - start < _LONG and not _has_failed(status):
                return b""
        # Span: 1 trace_id, 2 span_id, 3 trace_state, 4 parent_span_id, 5 name, 6 kind, 7 start_time_unix_nano,
        # 8 end_time_unix_nano, 9 attributes, 10 dropped_attributes_count, 11 events, 12 dropped_events_count,
        # 13 links, 14 dropped_links_count, 15 status, 16 flags
        fields = [
            b"\x0a\x10",
            trace_id.to_bytes(16),
            b"\x12\x08",
            span_id.to_bytes(8),
            state_and_parent,
            self._names[name],
            _KINDS[kind._value_],
            _TIMES(start, 0x41, end),
        ]
        self._memo.add_fields(fields, attributes)
        fields.append(rest)
        return b"".join(fields)

    def _event(self, event: Event) -> bytes:
        # Span.Event: 1 time_unix_nano, 2 name, 3 attributes, 4 dropped_attributes_count
        return sized(
            time_field(b"\x09", event.timestamp)
            + self._names_of_events[event.name]
            + self._memo_of_events.fields(event.attributes)
            + count_field(b"\x20", event.dropped_attributes)
        )

    def _link(self, link: Link) -> bytes:
        # Span.Link: 1 trace_id, 2 span_id, 4 attributes, 5 dropped_attributes_count, 6 flags
        trace_id, span_id, is_remote, _, _, _ = link.context
        return sized(
            b"\x0a\x10"
            + trace_id.to_bytes(16)
            + b"\x12\x08"
            + span_id.to_bytes(8)
            + self._memo_of_links.fields(link.attributes)
            + count_field(b"\x28", link.dropped_attributes)
            + b"\x35"
            + (_REMOTE if is_remote else _LOCAL)
        )


def _vacant(events: object, links: object) -> bool:
    """Tell whether the SDK's lists have neither kept nor dropped anything. Public names take thrice as long."""
    if type(events) is not BoundedList or type(links) is not BoundedList:
        return False
    return not (events._dq or links._dq or events.dropped or links.dropped)  # type: ignore[attr-defined]


def _has_failed(status: Status | None) -> bool:
    return status is not None and status.status_code is _ERROR


def _ends(status: Status | None, policy: RedactionPolicy) -> tuple[bytes, bytes]:
    # Span: 15 status, 16 flags
    before = _status(status, policy) + b"\x85\x01"
    return before + _LOCAL, before + _REMOTE


def _status(status: Status | None, policy: RedactionPolicy) -> bytes:
    # Status: 2 message, 3 code
    if status is None:
        return b""
    description = status.description and policy.text(status.description, "status")
    return b"\x7a" + sized(text_field(b"\x12", description) + count_field(b"\x18", status.status_code._value_))


def _trace_state(state: TraceState | None, policy: RedactionPolicy) -> bytes:
    if not state:
        return b""
    text = ",".join([f"{key}={value}" for key, value in state.items()])
    return text_field(b"\x1a", policy.text(text, "tracestate"))
