"""The fields of a span in TraceQL: attributes of all scopes, and intrinsics, which every span has.

A field has a list of values: none where the attribute is missing, and one for each element of an array. Where Tempo's
rule differs from what one expects, the viewer does as Tempo does: a missing ``service.name`` is the empty text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tracemw.viewer.querying.literals import Duration, Keyword, Value
from tracemw.viewer.querying.regex import literal_prefix
from tracemw.viewer.querying.relations import QueriedTrace
from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.vocabulary import WORDED, attribute_word, intrinsic_word, key_word

SCOPES = ("", "span", "resource", "event", "link", "instrumentation")

_SQL_OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
_STATUS: Mapping[str, int] = {
    "unset": Status.STATUS_CODE_UNSET,
    "ok": Status.STATUS_CODE_OK,
    "error": Status.STATUS_CODE_ERROR,
}
_KIND: Mapping[str, int] = {name.removeprefix("SPAN_KIND_").lower(): number for name, number in Span.SpanKind.items()}
_CODES = {"status": _STATUS, "kind": _KIND}
_STATUS_WORDS = {number: Keyword("status", word) for word, number in _STATUS.items()}
_KIND_WORDS = {number: Keyword("kind", word) for word, number in _KIND.items()}

KEYWORDS: Mapping[str, Keyword] = {
    keyword.word: keyword for keyword in (*_STATUS_WORDS.values(), *_KIND_WORDS.values())
}
"""The words that stand for a status or a kind."""


class Field(Protocol):
    """A field of a span."""

    @property
    def name(self) -> str:
        """The field as TraceQL writes it."""
        ...

    @property
    def type(self) -> str:
        """The type of the field's values; ``attribute`` if only a span tells."""
        ...

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return the values of a span. A span without the field has none."""
        ...

    def prefilter(self, operator: str, value: Value) -> SqlCondition:
        """Return SQL that holds for every span whose field compares so with ``value``, and perhaps for others."""
        ...


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of one of `SCOPES`. Without a scope, it is one of the span, or else one of its resource.

    Attributes:
        of_parent: Whether the attribute is one of the parent span.
    """

    scope: str
    key: str
    of_parent: bool = False
    type: str = "attribute"

    @property
    def name(self) -> str:
        """The attribute with its scope."""
        scope = "parent" if self.of_parent else ""
        return ".".join((*filter(None, (scope, self.scope)), self.key)) if scope or self.scope else f".{self.key}"

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return the attribute's values, one for each element of an array."""
        if self.of_parent:
            parent = trace.parent(span)
            return [] if parent is None else Attribute(self.scope, self.key).read(trace, parent)
        values = list(self._values(span))
        if not values and self.key == "service.name" and self.scope in ("", "resource"):
            return [""]
        return values

    def prefilter(self, operator: str, value: Value) -> SqlCondition:
        """Let spans pass that have the key, and for ``=`` the value, somewhere in what is encoded."""
        if self.of_parent or value is None:
            return SqlCondition()
        key = _encode_key(self.key)
        if operator == "=" and value != "" and isinstance(value, str | int | float):
            condition = SqlCondition.all_of([self._contains(key), self._contains(_encode_value(value))])
            is_exact = not isinstance(value, Duration)
            return condition.needing(attribute_word(self.key, value) if is_exact else key_word(self.key))
        if operator == "=~" and isinstance(value, str) and (prefix := literal_prefix(value)):
            condition = SqlCondition.all_of([self._contains(key), self._contains(prefix.encode(errors="replace"))])
            return condition.needing(key_word(self.key))
        if self.key == "service.name" and self.scope in ("", "resource"):
            return SqlCondition()
        return self._contains(key).needing(key_word(self.key))

    def _contains(self, part: bytes) -> SqlCondition:
        """Return SQL for: what is encoded of the scope contains some bytes."""
        tables = {"": ("spans", "resources"), "resource": ("resources",), "instrumentation": ("scopes",)}
        return SqlCondition.any_of(
            SqlCondition(f"instr({table}.proto, ?)", (part,)) for table in tables.get(self.scope, ("spans",))
        )

    def _values(self, span: StoredSpan) -> Iterator[Value]:
        match self.scope:
            case "":
                values = list(_values_of(span.span.attributes, self.key))
                yield from values or _values_of(span.resource.attributes, self.key)
            case "span":
                yield from _values_of(span.span.attributes, self.key)
            case "resource":
                yield from _values_of(span.resource.attributes, self.key)
            case "instrumentation":
                yield from _values_of(span.scope.attributes, self.key)
            case "event":
                for event in span.span.events:
                    yield from _values_of(event.attributes, self.key)
            case "link":
                for link in span.span.links:
                    yield from _values_of(link.attributes, self.key)


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """A field that every span has.

    Attributes:
        name: The short name, or else the scoped one.
        type: The type of the values.
        values: Reads the values from a trace and a span of it.
        column: SQL for the field. Empty if no column holds it.
    """

    name: str
    type: str
    values: Callable[[QueriedTrace, StoredSpan], Iterable[Value]]
    column: str = ""

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return the values."""
        return list(self.values(trace, span))

    def prefilter(self, operator: str, value: Value) -> SqlCondition:
        """Return the same comparison on the column, and the word that a span needs for it."""
        if operator == "=~" and self.column and isinstance(value, str) and (prefix := literal_prefix(value)):
            return SqlCondition(f"substr({self.column}, 1, ?) = ?", (len(prefix), prefix))
        if value is None or operator not in _SQL_OPERATORS:
            return SqlCondition()
        code = _CODES[value.of][value.word] if isinstance(value, Keyword) else value
        condition = SqlCondition(f"{self.column} {operator} ?", (code,)) if self.column else SqlCondition()
        if operator == "=" and self.name in WORDED and isinstance(code, str | int) and code != 0:
            return condition.needing(intrinsic_word(self.name, code))
        return condition


def _encode_key(key: str) -> bytes:
    encoded: bytes = KeyValue(key=key.encode(errors="replace").decode()).SerializeToString()
    return encoded


def _encode_value(value: str | int | float) -> bytes:
    match value:
        case bool():
            message = AnyValue(bool_value=value)
        case int():
            message = AnyValue(int_value=value)
        case float():
            message = AnyValue(double_value=value)
        case _:
            message = AnyValue(string_value=value.encode(errors="replace").decode())
    encoded: bytes = message.SerializeToString()
    return encoded


def _duration(span: StoredSpan) -> Duration:
    return Duration(max(span.end - span.start, 0))


def _word(words: Mapping[int, Keyword], code: int) -> tuple[Keyword, ...]:
    return (words[code],) if code in words else ()  # OTLP does not know other codes


def _hex(identifier: bytes) -> str:
    return identifier.hex()


_ROOT_NAME = Intrinsic("rootName", "string", lambda trace, _: [trace.summary.root_name or ""])
_ROOT_SERVICE = Intrinsic("rootServiceName", "string", lambda trace, _: [trace.summary.root_service or ""])
_TRACE_DURATION = Intrinsic(
    "traceDuration", "duration", lambda trace, _: [Duration(trace.summary.duration)], "traces.duration"
)
_DURATION = Intrinsic("duration", "duration", lambda _, span: [_duration(span)], 'max(spans."end" - spans.start, 0)')
_NAME = Intrinsic("name", "string", lambda _, span: [span.name], "spans.name")
_KIND_FIELD = Intrinsic("kind", "kind", lambda _, span: _word(_KIND_WORDS, span.kind), "spans.kind")
_STATUS_FIELD = Intrinsic("status", "status", lambda _, span: _word(_STATUS_WORDS, span.status), "spans.status")
_MESSAGE = Intrinsic("statusMessage", "string", lambda _, span: [span.span.status.message])

INTRINSICS: Mapping[str, Intrinsic] = {
    "duration": _DURATION,
    "name": _NAME,
    "kind": _KIND_FIELD,
    "status": _STATUS_FIELD,
    "statusMessage": _MESSAGE,
    "rootName": _ROOT_NAME,
    "rootServiceName": _ROOT_SERVICE,
    "traceDuration": _TRACE_DURATION,
    "childCount": Intrinsic("childCount", "int", lambda trace, span: [trace.tree.child_count(span.span_id)]),
    "nestedSetLeft": Intrinsic("nestedSetLeft", "int", lambda trace, span: [trace.tree.nested_set(span.span_id)[0]]),
    "nestedSetRight": Intrinsic("nestedSetRight", "int", lambda trace, span: [trace.tree.nested_set(span.span_id)[1]]),
    "nestedSetParent": Intrinsic(
        "nestedSetParent", "int", lambda trace, span: [trace.tree.nested_set(span.span_id)[2]]
    ),
    "trace:duration": _TRACE_DURATION,
    "trace:rootName": _ROOT_NAME,
    "trace:rootService": _ROOT_SERVICE,
    "trace:id": Intrinsic("trace:id", "string", lambda _, span: [_hex(span.trace_id)]),
    "span:duration": _DURATION,
    "span:name": _NAME,
    "span:kind": _KIND_FIELD,
    "span:status": _STATUS_FIELD,
    "span:statusMessage": _MESSAGE,
    "span:id": Intrinsic("span:id", "string", lambda _, span: [_hex(span.span_id)]),
    "span:parentID": Intrinsic("span:parentID", "string", lambda _, span: [_hex(span.parent_id or b"")]),
    "span:childCount": Intrinsic("childCount", "int", lambda trace, span: [trace.tree.child_count(span.span_id)]),
    "event:name": Intrinsic("event:name", "string", lambda _, span: (event.name for event in span.span.events)),
    "event:timeSinceStart": Intrinsic(
        "event:timeSinceStart",
        "duration",
        lambda _, span: (
            Duration(max(event.time_unix_nano - span.span.start_time_unix_nano, 0)) for event in span.span.events
        ),
    ),
    "link:traceID": Intrinsic(
        "link:traceID", "string", lambda _, span: (_hex(link.trace_id) for link in span.span.links)
    ),
    "link:spanID": Intrinsic("link:spanID", "string", lambda _, span: (_hex(link.span_id) for link in span.span.links)),
    "instrumentation:name": Intrinsic("instrumentation:name", "string", lambda _, span: [span.scope.name]),
    "instrumentation:version": Intrinsic("instrumentation:version", "string", lambda _, span: [span.scope.version]),
}


def attribute_values(value: AnyValue) -> Iterator[Value]:
    """Yield the values that a search can compare: each element of an array, nothing of bytes and nested maps."""
    match value.WhichOneof("value"):
        case "string_value":
            yield value.string_value
        case "bool_value":
            yield value.bool_value
        case "int_value":
            yield value.int_value
        case "double_value":
            yield value.double_value
        case "array_value":
            for element in value.array_value.values:
                yield from attribute_values(element)


def value_text(value: Value) -> str:
    """Return a value as people write it: ``true``, ``error``, and ``2`` for 2.0."""
    if isinstance(value, Keyword):
        return value.word
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def _values_of(attributes: Iterable[KeyValue], key: str) -> Iterator[Value]:
    for attribute in attributes:
        if attribute.key == key:
            yield from attribute_values(attribute.value)
