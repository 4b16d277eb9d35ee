# ruff: noqa: SLF001  the SDK's spans are read past their properties, which copy and cost as much as all the rest
"""Spans -> the OTLP protobuf bytes that the official encoder makes of them, for a fraction of its cost.

Most of what spans say they have said before: the same keys, nearly the same values, one resource, a few scopes. So
each attribute's bytes are remembered, and encoding a span is mostly looking up. A length precedes what it counts, hence
messages are built from the inside out: `_sized` puts a length in front, `_repeated` the field's tag before each of
several. Tags (field number << 3 | wire type) stand beside the fields of their message, in the order of the numbers; the
messages are those of opentelemetry-proto's trace.proto, common.proto and resource.proto.

A span is encoded by the thread that ends it, hence by many at once, and by signal handlers in between. What is
remembered is read in steps that the interpreter does atomically, and written by one thread at a time: the others,
which wait for nobody, go without remembering.

Spans come from anybody. None leaves with an end before its start, which makes a backend such as Tempo take the
difference for centuries; no text leaves longer than a limit; and a span with a field that is none is mended.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from tracemw._otel.cleaning import DEEPEST, LONGEST, cut_octets, items_of, shown
from tracemw._process.log import log
from tracemw._process.native import make_lock

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link
    from opentelemetry.trace.span import TraceState

_LONGEST_KEPT: Final = 512  # bytes; what is longer seldom comes back, and is dear to keep
_NAMES_KEPT: Final = 1024
_ORIGINS_KEPT: Final = 256  # resources and scopes, and pairs of them; a service has one and a dozen
_NUMBER: Final = 4  # bytes that a record begins with: those of its group's number
_ALONE: Final = b"\xff" * _NUMBER  # of a record that brings its resource and scope along: it has no group
_RESTS: Final = 7  # values that a key encodes anew for each that it had kept, before it keeps values again
_ITEM: Final = 8  # bytes that an item of a sequence or mapping counts for at least
_MARK: Final = 64  # bytes that there are for a text in any case: it can tell how much of it was cut off
_LATEST: Final = 2**63 - 1  # nanoseconds since the epoch; what is later is none

_NOTHING: Final = ()  # the events, and the links, of most of our spans: there is but one empty tuple
_TABLED: Final = 2048  # varints of smaller numbers, nearly all lengths, are in a table
_KIND_AND_TIMES: Final = Struct("<BBBQBQ").pack
_FIXED64: Final = Struct("<Q").pack
_DOUBLE: Final = Struct("<d").pack
# SpanFlags, a fixed32: it is known whether the parent, or the linked span, is remote (0x100), and it is (0x200).
_LOCAL: Final = b"\x00\x01\x00\x00"
_REMOTE: Final = b"\x00\x03\x00\x00"


class SpanEncoder:
    """Spans -> records, bytes that wait; records -> the bytes of an OTLP `ExportTraceServiceRequest`.

    Args:
        memo_size: Attribute values whose bytes are remembered, of all keys together.
        longest: Bytes of a text, or of a whole sequence or mapping, that is the value of an attribute. What is longer
            is cut, and tells by how much. Names, keys and descriptions are cut at `LONGEST`.
    """

    spans_left_out: int
    """Spans that could not be encoded."""

    def __init__(self, *, memo_size: int = 8192, longest: int = LONGEST) -> None:
        if memo_size < 1:
            raise ValueError(f"memo_size={memo_size!r} leaves no room; it must be at least 1")
        self.spans_left_out = 0
        self._memo = _AttributeMemo(memo_size, longest)
        self._names = _Names()
        self._origins: dict[int, _Origin] = {}
        self._groups: dict[tuple[int, int], _Group] = {}
        self._numbered: dict[bytes, _Group] = {}
        self._numbers = count()
        # The last one seen, and its bytes: the spans of a trace share its state, and uneventful ones may a status.
        # A span ends with its status and the flags; there are two such ends, and the second is of a remote parent.
        self._trace_state: tuple[TraceState | None, bytes] = (None, b"")
        self._status: tuple[Status | None, bytes, bytes] = (None, *_ends(None))
        self._group: _Group | None = None

    @property
    def misses(self) -> int:
        """Attributes that had to be encoded because they were not remembered."""
        return self._memo.misses

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        """Return the request that carries `spans`, without those that cannot be encoded."""
        return self.request([record for span in spans if (record := self.record(span)) is not None])

    def record(self, span: ReadableSpan) -> bytes | None:
        """Return a span for `request`; None, and it is counted in `spans_left_out`, when it cannot be encoded.

        The first one that cannot is logged.
        """
        try:
            try:
                message = self._span(span)
            except Exception:
                message = self._span(cast("ReadableSpan", _Mended(span)))
            try:
                resource, scope = span._resource, span._instrumentation_scope
            except AttributeError:
                resource, scope = span.resource, span.instrumentation_scope
            group = self._group
            if group is None or group.resource.of is not resource or group.scope.of is not scope:
                group = self._group = self._group_of(resource, scope)
            size = len(message)  # _sized, without the call and a copy
            # ScopeSpans: 2 spans
            field = b"\x12" + (_VARINTS[size] if size < _TABLED else _varint(size)) + message
            if not group.number:
                return _ALONE + b"".join(_resource_spans({group.resource: {group.scope: [field]}}))
            return group.number + field
        except Exception as error:
            self.spans_left_out += 1
            if self.spans_left_out == 1:
                said = "tracemw leaves out a span that it cannot encode, and will others, unlogged"
                log(logging.ERROR, said, error=error)
            return None

    def request(self, records: Sequence[bytes]) -> bytes:
        """Return the request that carries the spans of `records`, grouped by resource, then by scope."""
        # Equal groups of different numbers share a list, so that their spans stay in the order they came.
        resources: _Grouped = {}
        groups: dict[bytes, list[bytes]] = {}
        alone: list[bytes] = []
        for record in records:
            number = record[:_NUMBER]
            fields = groups.get(number)
            if fields is None:
                if number == _ALONE:
                    alone.append(record[_NUMBER:])
                    continue
                group = self._numbered[number]
                fields = groups[number] = resources.setdefault(group.resource, {}).setdefault(group.scope, [])
            fields.append(record[_NUMBER:])
        return b"".join([*_resource_spans(resources), *alone])

    def _span(self, span: ReadableSpan) -> bytes:
        try:
            name, context, kind, parent = span._name, span._context, span._kind, span._parent
            start, end, status = span._start_time, span._end_time, span._status
            attributes, events, links = span._attributes, span._events, span._links
        except AttributeError:  # something that only looks like one of the SDK's
            name, context, kind, parent = span.name, span.get_span_context(), span.kind, span.parent
            start, end, status = span.start_time, span.end_time, span.status
            attributes, events, links = span.attributes, span.events, span.links
        trace_id, span_id, _, _, trace_state, _ = context  # type: ignore[misc]  # without one it is left out
        known, origin = self._trace_state
        if trace_state is not known:
            origin = _trace_state(trace_state)
            self._trace_state = (trace_state, origin)
        ends = self._status
        if status is not ends[0]:
            ends = self._status = (status, *_ends(status))
        rest = ends[1]
        if parent:
            _, parent_id, is_remote, _, _, _ = parent
            origin += b"\x22\x08" + parent_id.to_bytes(8, "big")
            if is_remote:
                rest = ends[2]
        if not (start and end and start <= end <= _LATEST):
            start, end = _times(start, end)
        kind_and_times = _KIND_AND_TIMES(0x30, kind._value_ + 1, 0x39, start, 0x41, end)
        # Plain containers have dropped nothing, and to ask each span costs as much as three attributes.
        if (events is not _NOTHING or links is not _NOTHING) and not _vacant(events, links):
            rest = (
                _repeated(b"\x5a", [self._event(event) for event in events or ()])
                + _count(b"\x60", span.dropped_events)
                + _repeated(b"\x6a", [self._link(link) for link in links or ()])
                + _count(b"\x70", span.dropped_links)
                + rest
            )
        if type(attributes) is not dict and (type(attributes) is not BoundedAttributes or attributes.dropped):
            rest = _count(b"\x50", span.dropped_attributes) + rest
        # Span: 1 trace_id, 2 span_id, 3 trace_state, 4 parent_span_id, 5 name, 6 kind, 7 start_time_unix_nano,
        # 8 end_time_unix_nano, 9 attributes, 10 dropped_attributes_count, 11 events, 12 dropped_events_count,
        # 13 links, 14 dropped_links_count, 15 status, 16 flags
        return b"".join(
            (
                b"\x0a\x10",
                trace_id.to_bytes(16, "big"),
                b"\x12\x08",
                span_id.to_bytes(8, "big"),
                origin,
                self._names[name],
                kind_and_times,
                _repeated(b"\x4a", self._memo.key_values(attributes)),
                rest,
            )
        )

    def _event(self, event: Event) -> bytes:
        # Span.Event: 1 time_unix_nano, 2 name, 3 attributes, 4 dropped_attributes_count
        return _sized(
            _time(b"\x09", event.timestamp)
            + _text(b"\x12", event.name)
            + _repeated(b"\x1a", self._memo.key_values(event.attributes))
            + _count(b"\x20", event.dropped_attributes)
        )

    def _link(self, link: Link) -> bytes:
        # Span.Link: 1 trace_id, 2 span_id, 4 attributes, 5 dropped_attributes_count, 6 flags
        trace_id, span_id, is_remote, _, _, _ = link.context
        return _sized(
            b"\x0a\x10"
            + trace_id.to_bytes(16, "big")
            + b"\x12\x08"
            + span_id.to_bytes(8, "big")
            + _repeated(b"\x22", self._memo.key_values(link.attributes))
            + _count(b"\x28", link.dropped_attributes)
            + b"\x35"
            + (_REMOTE if is_remote else _LOCAL)
        )

    def _resource(self, resource: Resource) -> bytes:
        # Resource: 1 attributes
        return _repeated(b"\x0a", self._memo.key_values(resource.attributes))

    def _scope(self, scope: InstrumentationScope | None) -> bytes:
        # InstrumentationScope: 1 name, 2 version, 3 attributes
        if scope is None:
            return b""
        attributes = self._memo.key_values(scope.attributes)
        return _text(b"\x0a", scope.name) + _text(b"\x12", scope.version) + _repeated(b"\x1a", attributes)

    def _group_of(self, resource: Resource, scope: InstrumentationScope | None) -> _Group:
        # Found by identity; no id is used twice while a group that is kept holds on to it.
        ids = (id(resource), id(scope))
        group = self._groups.get(ids)
        if group is None:
            origins = self._origin(resource, self._resource), self._origin(scope, self._scope)
            if len(self._groups) >= _ORIGINS_KEPT:
                return _Group(*origins, b"")
            group = _Group(*origins, next(self._numbers).to_bytes(_NUMBER, "big"))
            self._numbered[group.number] = self._groups[ids] = group
        return group

    def _origin(self, of: Any, message: Callable[[Any], bytes]) -> _Origin:
        origin = self._origins.get(id(of))
        if origin is None:
            origin = _Origin(of, message(of))
            if len(self._origins) < _ORIGINS_KEPT:
                self._origins[id(of)] = origin
        return origin


class _Mended:
    """A span whose fields are what the encoder takes, whatever is the matter with those of the given one.

    Raises:
        TypeError: for what has no span context, and so is no span.
    """

    def __init__(self, span: Any) -> None:
        context = _field(span, "context")
        if not isinstance(context, SpanContext):
            raise TypeError(f"{type(span).__qualname__} has no span context")
        self._context = context
        parent, kind, status = _field(span, "parent"), _field(span, "kind"), _field(span, "status")
        self._parent = parent if isinstance(parent, SpanContext) else None
        self._name = shown(_field(span, "name"))
        self._kind = kind if isinstance(kind, SpanKind) else SpanKind.INTERNAL
        self._status = status if isinstance(status, Status) and isinstance(status.status_code, StatusCode) else None
        start, end = _nanoseconds(_field(span, "start_time")), _nanoseconds(_field(span, "end_time"))
        self._start_time, self._end_time = _times(start, end)
        self._attributes = _attributes_of(_field(span, "attributes"))
        self._events = [_MendedEvent(event, self._start_time) for event in _list(_field(span, "events"))]
        self._links = [
            _MendedLink(link) for link in _list(_field(span, "links")) if isinstance(link.context, SpanContext)
        ]
        self.dropped_attributes = _number(_field(span, "dropped_attributes"))
        self.dropped_events = _number(_field(span, "dropped_events"))
        self.dropped_links = _number(_field(span, "dropped_links"))


class _MendedEvent:
    def __init__(self, event: Any, moment: int) -> None:
        self.name = shown(_field(event, "name"))
        self.timestamp = _nanoseconds(_field(event, "timestamp")) or moment
        self.attributes = _attributes_of(_field(event, "attributes"))
        self.dropped_attributes = _number(_field(event, "dropped_attributes"))


class _MendedLink:
    def __init__(self, link: Any) -> None:
        self.context = link.context
        self.attributes = _attributes_of(_field(link, "attributes"))
        self.dropped_attributes = _number(_field(link, "dropped_attributes"))


def _field(holder: Any, name: str) -> Any:
    for each in (f"_{name}", name):
        try:
            return getattr(holder, each)
        except Exception:  # noqa: S112  the other one may be there
            continue
    return None


def _list(several: Any) -> list[Any]:
    try:
        return list(several or ())
    except Exception:
        return []


def _attributes_of(attributes: Any) -> dict[str, Any]:
    return {key: value for key, value in items_of(attributes) if type(key) is str}


def _nanoseconds(moment: Any) -> int | None:
    try:
        whole = int(moment)
    except Exception:
        return None
    return whole if 0 < whole <= _LATEST else None


def _number(count: Any) -> int:
    return count if type(count) is int and 0 < count < 2**32 else 0


class _Origin:
    """A resource or a scope, and its bytes. Equal ones are equal here, yet each keeps the bytes of its own values."""

    __slots__ = ("_hash", "_head", "_tail", "of")

    def __init__(self, of: Resource | InstrumentationScope | None, message: bytes) -> None:
        # ResourceSpans: 1 resource, 2 scope_spans, 3 schema_url. ScopeSpans: 1 scope, 2 spans, 3 schema_url
        self.of = of
        self._head = b"\x0a" + _sized(message)
        self._tail = _text(b"\x1a", of.schema_url) if of is not None else b""
        try:
            self._hash = hash(of)  # a Resource dumps its attributes to JSON for it, each time
        except Exception:  # and some values have no form in JSON, or raise
            self._hash = id(of)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        try:
            return isinstance(other, _Origin) and (self.of is other.of or bool(self.of == other.of))
        except Exception:  # of values that cannot be compared
            return False

    def around(self, tag: bytes, within: list[bytes]) -> list[bytes]:
        """Return the `ResourceSpans` around `ScopeSpans`, or the `ScopeSpans` around spans.

        It comes in pieces, as what it is put around did: a batch is large, and is copied once.
        """
        pieces = [self._head, *within, self._tail]
        return [tag, _varint(sum(map(len, pieces))), *pieces]


class _Group(NamedTuple):
    """Where spans come from, and the number that their records begin with; none when there are too many groups."""

    resource: _Origin
    scope: _Origin
    number: bytes


_Grouped = dict[_Origin, dict[_Origin, list[bytes]]]
"""The fields of spans in `ScopeSpans`, by resource and scope."""


def _resource_spans(grouped: _Grouped) -> list[bytes]:
    """Return the pieces of a request with these spans."""
    # ExportTraceServiceRequest: 1 resource_spans. ResourceSpans: 2 scope_spans
    pieces: list[bytes] = []
    for resource, scopes in grouped.items():
        scope_spans: list[bytes] = []
        for scope, fields in scopes.items():
            scope_spans += scope.around(b"\x12", fields)
        pieces += resource.around(b"\x0a", scope_spans)
    return pieces


class _AttributeMemo:
    """Attributes -> sized `KeyValue`s, remembered by type, key and value: 1, True and 1.0 are equal, but not the same.

    A key that fills its share of the memo gives it back and rests: for a while its values are encoded anew, as few of
    them come back, and to look up and keep one costs more than to encode it. What is remembered under other keys stays.
    Only when there is no room at all (keys without number) is everything forgotten.
    """

    def __init__(self, size: int, longest: int) -> None:
        self._size = size
        self.longest = longest
        self._share = max(size // 16, 1)
        self._kept = 0
        self._tables: dict[type, dict[str, _Values | _KeptValues]] = {}
        self._forgotten_misses = 0
        self._logged = False
        # Nobody waits for it: the thread that has it may be the very one that a signal handler has interrupted.
        self._writes = make_lock()

    @property
    def misses(self) -> int:
        """Attributes that had to be encoded because they were not remembered."""
        tables = [table for of_type in self._tables.values() for table in of_type.values()]
        return self._forgotten_misses + sum(table.misses for table in tables)

    def key_values(self, attributes: Mapping[str, Any] | None) -> list[bytes]:
        """Return the `KeyValue` of each attribute, except those whose values have no form in OTLP."""
        if type(attributes) is not dict:  # item by item, BoundedAttributes cost as much as all else in a span
            attributes = attributes._dict if isinstance(attributes, BoundedAttributes) else dict(attributes or ())
        tables = self._tables
        try:
            return [tables[type(value)][key][value] for key, value in attributes.items()]
        except Exception:  # a key not seen before, a dict that grew meanwhile, a value without a form
            key_values = self._one_by_one(dict(attributes))
        return list(key_values)

    def keep(self, table: _KeptValues, value: Any, encoded: bytes) -> None:
        """Remember one more value of a key; let the key rest when these fill its share."""
        if not self._writes.acquire(blocking=False):
            return
        try:
            anew = table.anew
            if self._tables.get(anew.kind, {}).get(anew.key) is not table or value in table or not self._reserve():
                return
            table[value] = encoded
            if len(table) == self._share:
                self._kept -= self._share
                anew.rest(_RESTS * self._share)
                self._tables[anew.kind][anew.key] = anew
        finally:
            self._writes.release()

    def keep_head(self, heads: dict[int, bytes], size: int, head: bytes) -> None:
        """Remember what stands before values of one size."""
        if not self._writes.acquire(blocking=False):
            return
        try:
            if size not in heads and self._reserve():
                heads[size] = head
        finally:
            self._writes.release()

    def resume(self, anew: _SimpleValues) -> None:
        """Remember the values of a key that has rested."""
        if not self._writes.acquire(blocking=False):
            return  # the next value of it is another occasion
        try:
            if self._tables.get(anew.kind, {}).get(anew.key) is anew:
                anew.rest(math.inf)
                self._tables[anew.kind][anew.key] = _KeptValues(self, anew)
        finally:
            self._writes.release()

    def _reserve(self) -> bool:
        """Count one more entry; when there is no room for it, forget all of them, and tell."""
        if self._kept < self._size:
            self._kept += 1
            return True
        self._forgotten_misses = self.misses
        self._kept = 0
        self._tables.clear()
        return False

    def _one_by_one(self, attributes: dict[str, Any]) -> Iterator[bytes]:
        for key, value in attributes.items():
            try:
                yield self._table(type(value), key)[value]
            except Exception as error:
                if not self._logged:
                    self._logged = True
                    said = "tracemw leaves out attribute %r, and will others like it, unlogged"
                    log(logging.ERROR, said, key, error=error)

    def _table(self, kind: type, key: str) -> _Values | _KeptValues:
        """Decide, once for each key unless it is long, what becomes of its values of one type."""
        table = self._tables.get(kind, {}).get(key)
        if table is not None:
            return table
        if len(key) > _LONGEST_KEPT or not self._writes.acquire(blocking=False):
            self._forgotten_misses += 1
            return _Values(self, key)
        try:
            table = _KeptValues(self, _SimpleValues(self, kind, key)) if kind in _OCTETS else _Values(self, key)
            if not self._reserve():
                self._kept = 1
            return self._tables.setdefault(kind, {}).setdefault(key, table)
        finally:
            self._writes.release()


class _Values:
    """The values of one key and one type, each encoded anew."""

    __slots__ = ("_memo", "_tag_and_key", "misses")

    def __init__(self, memo: _AttributeMemo, key: str) -> None:
        self._memo = memo
        self._tag_and_key = _text(b"\x0a", key)
        self.misses = 0

    def __getitem__(self, value: object) -> bytes:
        self.misses += 1
        return _key_value(self._tag_and_key, _any_value(value, [self._memo.longest]))


class _SimpleValues(_Values):
    """The same for texts or integers, which end their `KeyValue`: what stands before depends on their size alone.

    While a key rests, this stands in the place of its table; else it encodes what the table does not hold.
    """

    __slots__ = ("_heads", "_octets", "_resumes", "key", "kind")

    def __init__(self, memo: _AttributeMemo, kind: type, key: str) -> None:
        super().__init__(memo, key)
        self.kind = kind
        self.key = key
        self._octets = _OCTETS[kind]
        self._heads: dict[int, bytes] = {}
        self._resumes = math.inf

    def rest(self, values: float) -> None:
        """Expect to be asked for so many values, and let the memo resume then."""
        self._resumes = self.misses + values

    def __getitem__(self, value: Any) -> bytes:
        self.misses = misses = self.misses + 1
        if misses >= self._resumes:
            self._memo.resume(self)
        try:
            octets = self._octets(value)
            return self._heads[len(octets)] + octets
        except (KeyError, UnicodeEncodeError):
            return self._with_head(value)

    def _with_head(self, value: Any) -> bytes:
        encoded = _key_value(self._tag_and_key, _any_value(value, [self._memo.longest]))
        if self.kind is str and len(value) > _LONGEST_KEPT:
            return encoded
        size = len(_utf8(value) if self.kind is str else _integer(value))
        if size <= min(_LONGEST_KEPT, self._memo.longest):
            self._memo.keep_head(self._heads, size, encoded[: len(encoded) - size])
        return encoded


class _KeptValues(dict[Any, bytes]):
    """The values of one key and one type, remembered unless they are long."""

    __slots__ = ("_memo", "anew")

    def __init__(self, memo: _AttributeMemo, anew: _SimpleValues) -> None:
        super().__init__()
        self._memo = memo
        self.anew = anew

    @property
    def misses(self) -> int:
        """Values that had to be encoded."""
        return self.anew.misses

    def __missing__(self, value: Any) -> bytes:
        encoded = self.anew[value]
        if len(encoded) <= _LONGEST_KEPT:
            self._memo.keep(self, value, encoded)
        return encoded


class _Names(dict[str, bytes]):
    """Span names -> their fields in `Span`."""

    def __missing__(self, name: str) -> bytes:
        field = _text(b"\x2a", name)
        if len(field) <= _LONGEST_KEPT:
            if len(self) >= _NAMES_KEPT:
                self.clear()
            self[name] = field
        return field


def _any_value(value: object, room: list[int], depth: int = 0) -> bytes:
    """Return an `AnyValue`; `room` holds the bytes that there are for what of it is left."""
    # AnyValue: 1 string_value, 2 bool_value, 3 int_value, 4 double_value, 5 array_value, 6 kvlist_value, 7 bytes_value;
    # ArrayValue and KeyValueList: 1 values
    if isinstance(value, str):
        octets = cut_octets(_utf8(value), max(room[0], _MARK))
        room[0] -= max(len(octets), _ITEM)
        return b"\x0a" + _sized(octets)
    room[0] -= _ITEM
    if isinstance(value, bool):
        return b"\x10" + _integer(value)
    if isinstance(value, int):
        number = int.__int__(value)  # a subclass may say anything
        return b"\x18" + _integer(number) if _fits(number) else b"\x0a" + _sized(_integer(number))
    if isinstance(value, float):
        return b"\x21" + _DOUBLE(value)
    if isinstance(value, bytes):
        octets = bytes.__getitem__(value, slice(None))
        if len(octets) > room[0]:
            kept = octets[: max(room[0] - _MARK, 0)]
            octets = kept + f"... [cut, {len(octets) - len(kept)} bytes]".encode()
        room[0] -= len(octets)
        return b"\x3a" + _sized(octets)
    if value is None:
        return b""
    if depth == DEEPEST:  # parsers refuse what nests deeper than 100 messages; a mapping in a mapping takes three
        raise ValueError(f"nested more than {DEEPEST} deep")
    if isinstance(value, Sequence):
        items: list[bytes] = []
        for item in value:
            if room[0] <= 0:
                items.append(_sized(_left_out(value, len(items))))
                break
            items.append(_sized(_any_value(item, room, depth + 1)))
        return b"\x2a" + _sized(_repeated(b"\x0a", items))
    if isinstance(value, Mapping):
        pairs: list[bytes] = []
        for key, item in value.items():
            if room[0] <= 0:
                pairs.append(_key_value(_text(b"\x0a", "…"), _left_out(value, len(pairs))))
                break
            name = key if type(key) is str else _key(key)
            room[0] -= len(name)
            pairs.append(_key_value(_text(b"\x0a", name), _any_value(item, room, depth + 1)))
        return b"\x32" + _sized(_repeated(b"\x0a", pairs))
    raise TypeError(f"{type(value).__qualname__} has no form in OTLP")


def _key(key: object) -> str:
    try:
        return str(key)
    except Exception:
        return shown(key)


def _left_out(value: Sequence[object] | Mapping[object, object], kept: int) -> bytes:
    return b"\x0a" + _sized(f"... [cut, {len(value) - kept} items]".encode())


def _key_value(key: bytes, value: bytes) -> bytes:
    # KeyValue: 1 key, 2 value
    return _sized(key + b"\x12" + _sized(value))


def _vacant(events: object, links: object) -> bool:
    """Tell whether the SDK's lists have neither kept nor dropped anything; to ask them takes three times as long."""
    if type(events) is not BoundedList or type(links) is not BoundedList:
        return False
    return not (events._dq or links._dq or events.dropped or links.dropped)  # type: ignore[attr-defined]


def _ends(status: Status | None) -> tuple[bytes, bytes]:
    # Span: 15 status, 16 flags
    before = _status(status) + b"\x85\x01"
    return before + _LOCAL, before + _REMOTE


def _status(status: Status | None) -> bytes:
    # Status: 2 message, 3 code
    if status is None:
        return b""
    return b"\x7a" + _sized(_text(b"\x12", status.description) + _count(b"\x18", status.status_code._value_))


def _trace_state(state: TraceState | None) -> bytes:
    return _text(b"\x1a", ",".join([f"{key}={value}" for key, value in state.items()])) if state else b""


def _times(start: int | None, end: int | None) -> tuple[int, int]:
    """Return a start and an end that is not before: what is missing, or is no time, is taken from the other."""
    start = start if start and 0 < start <= _LATEST else None
    end = end if end and 0 < end <= _LATEST else None
    start = start or end or time.time_ns()
    return start, max(start, end or 0)


def _time(tag: bytes, time: int | None) -> bytes:
    return tag + _FIXED64(time) if time else b""


def _count(tag: bytes, count: int) -> bytes:
    return tag + _varint(count) if count else b""


def _text(tag: bytes, text: str | None) -> bytes:
    if not text:
        return b""
    return tag + _sized(cut_octets(_utf8(text), LONGEST))


def _utf8(text: str) -> bytes:
    # Undecodable bytes of paths and headers arrive as lone surrogates, which UTF-8 has no form for: their escapes.
    return str.encode(text, "utf-8", "backslashreplace")


def _repeated(tag: bytes, messages: list[bytes]) -> bytes:
    return tag + tag.join(messages) if messages else b""


def _sized(message: bytes) -> bytes:
    size = len(message)
    return (_VARINTS[size] if size < _TABLED else _varint(size)) + message


def _fits(number: int) -> bool:
    return -(2**63) <= number < 2**63


def _integer(number: int) -> bytes:
    # What is too large for 64 bits leaves as text, as the specification has it: never as long as a varint, ten octets.
    if 0 <= number < 2**63:
        return _varint(number)
    return _varint(number + 2**64) if _fits(number) else shown(number).encode()


def _varint(number: int) -> bytes:
    return _VARINTS[number] if number < _TABLED else _CONTINUED[number & 0x7F] + _varint(number >> 7)


# Types whose values are kept. Not float: 0.0 equals -0.0; and a list is no key of a dict.
_OCTETS: Final[dict[type, Callable[[Any], bytes]]] = {str: str.encode, int: _integer, bool: _integer}
_CONTINUED: Final = tuple(bytes((low | 0x80,)) for low in range(0x80))
_VARINTS: Final = tuple(
    bytes((number,)) if number < 0x80 else bytes((number & 0x7F | 0x80, number >> 7)) for number in range(_TABLED)
)
