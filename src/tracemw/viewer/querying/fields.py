"""The values of a span that conditions look at: attributes, and the fields that every span has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.summaries import Summary

Value = str | int | float | bool | None

_SQL_OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
_STATUS = {"unset": Status.STATUS_CODE_UNSET, "ok": Status.STATUS_CODE_OK, "error": Status.STATUS_CODE_ERROR}
_KIND = {name.removeprefix("SPAN_KIND_").lower(): number for name, number in Span.SpanKind.items()}


class Field(Protocol):
    """The left side of a comparison."""

    @property
    def words(self) -> Mapping[str, Value]:
        """Words that stand for a value on the right side."""
        ...

    def read(self, trace: Summary, span: StoredSpan) -> list[Value]:
        """Return the values of a span. A span without the field has none."""
        ...

    def prefilter(self, operator: str, value: Value) -> SqlCondition:
        """Return SQL that holds for every span whose field compares so with ``value``, and perhaps for others."""
        ...


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the span (``scope`` is ``span``), of its resource (``resource``), or of either (empty)."""

    scope: str
    key: str

    @property
    def words(self) -> Mapping[str, Value]:
        """TraceQL's constants."""
        return {"true": True, "false": False, "nil": None}

    def read(self, _: Summary, span: StoredSpan) -> list[Value]:
        """Return the attribute's values, one for each element of an array."""
        values: list[Value] = []
        if self.scope != "resource":
            values += _values_of(span.span.attributes, self.key)
        if self.scope != "span":
            values += _values_of(span.resource.attributes, self.key)
        return values

    def prefilter(self, operator: str, value: Value) -> SqlCondition:
        """Let spans pass that mention the key, and for ``=`` also the text to compare with."""
        if value is None:
            return SqlCondition()
        if operator == "=" and isinstance(value, str) and value:
            return SqlCondition.all_of([self.mentions(self.key), self.mentions(value)])
        return self.mentions(self.key)

    def mentions(self, text: str) -> SqlCondition:
        """Return SQL for: the encoded span or resource contains a text. If not, no attribute has the text."""
        tables = [self.scope + "s"] if self.scope else ["spans", "resources"]
        return SqlCondition.any_of(SqlCondition(f"instr({table}.proto, ?)", (text.encode(),)) for table in tables)


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """A field that every span has. TraceQL calls such a field an intrinsic.

    Attributes:
        column: SQL for the field. None if no column holds it.
        value: Reads the field from a span and the summary of its trace.
        words: Words that stand for numbers.
    """

    column: str | None
    value: Callable[[Summary, StoredSpan], Value]
    words: Mapping[str, Value] = field(default_factory=dict)

    def read(self, trace: Summary, span: StoredSpan) -> list[Value]:
        """Return the one value."""
        return [self.value(trace, span)]

    def prefilter(self, operator: str, value: Value) -> SqlCondition:
        """Return the same comparison on the column."""
        if self.column is None or value is None or operator not in _SQL_OPERATORS:
            return SqlCondition()
        return SqlCondition(f"{self.column} {operator} ?", (value,))


INTRINSICS: Mapping[str, Intrinsic] = {
    "name": Intrinsic("spans.name", lambda _, span: span.span.name),
    "kind": Intrinsic("spans.kind", lambda _, span: span.span.kind, _KIND),
    "status": Intrinsic("spans.status", lambda _, span: span.span.status.code, _STATUS),
    "statusMessage": Intrinsic(None, lambda _, span: span.span.status.message),
    "duration": Intrinsic('max(spans."end" - spans.start, 0)', lambda _, span: max(span.end - span.start, 0)),
    "rootName": Intrinsic("traces.root_name", lambda trace, _: trace.root_name),
    "rootServiceName": Intrinsic("traces.root_service", lambda trace, _: trace.root_service),
    "traceDuration": Intrinsic("traces.duration", lambda trace, _: trace.duration),
}


def status_text(span: StoredSpan) -> str:
    """Return the status in one word. A code that OTLP does not know counts as unset."""
    return next((text for text, code in _STATUS.items() if code == span.span.status.code), "unset")


def attribute_texts(value: AnyValue) -> Iterator[str]:
    """Return an attribute's value as texts to show, one for each element of an array."""
    return (value_text(each) for each in _values(value))


def value_text(value: Value) -> str:
    """Return a value as people write it: ``true``, and ``2`` for 2.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def _values_of(attributes: Iterable[KeyValue], key: str) -> Iterator[Value]:
    for attribute in attributes:
        if attribute.key == key:
            yield from _values(attribute.value)


def _values(value: AnyValue) -> Iterator[Value]:
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
                yield from _values(element)
