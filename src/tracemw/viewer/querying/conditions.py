"""Conditions on spans, as a search has them.

A condition has two answers. `Condition.matches` is exact, for one decoded span. `Condition.prefilter` is SQL that lets
SQLite drop most other spans undecoded. Attributes are not indexed, but a span that has one contains the key's bytes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tracemw.viewer.querying import regex
from tracemw.viewer.querying.fields import Attribute, Field, Value, status_text, value_text
from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.summaries import Summary

MAX_CONDITIONS = 100  # of one search

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=~": lambda actual, pattern: regex.matches(str(actual), str(pattern)),
    "!~": lambda actual, pattern: not regex.matches(str(actual), str(pattern)),
}
_TAG_FIELDS: Mapping[str, Callable[[Summary, StoredSpan], str | None]] = {
    "name": lambda _, span: span.span.name,
    "status": lambda _, span: status_text(span),
    "error": lambda _, span: "true" if status_text(span) == "error" else "false",
    "root.name": lambda trace, _: trace.root_name,
    "root.service.name": lambda trace, _: trace.root_service,
}


class Condition(Protocol):
    """A condition, which a span in its trace matches or not."""

    def prefilter(self) -> SqlCondition:
        """Return SQL that holds for every span that matches, and perhaps for others."""
        ...

    def matches(self, trace: Summary, span: StoredSpan) -> bool:
        """Tell whether the span matches."""
        ...


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of some conditions, on the same span."""

    conditions: tuple[Condition, ...]

    def prefilter(self) -> SqlCondition:
        """Return all prefilters, joined by AND."""
        return SqlCondition.all_of(condition.prefilter() for condition in self.conditions)

    def matches(self, trace: Summary, span: StoredSpan) -> bool:
        """Tell whether the span matches every condition."""
        return all(condition.matches(trace, span) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of some conditions."""

    conditions: tuple[Condition, ...]

    def prefilter(self) -> SqlCondition:
        """Return all prefilters, joined by OR."""
        return SqlCondition.any_of(condition.prefilter() for condition in self.conditions)

    def matches(self, trace: Summary, span: StoredSpan) -> bool:
        """Tell whether the span matches at least one condition."""
        return any(condition.matches(trace, span) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Tag:
    """Tempo's tag search: a well-known field, or an attribute of the span or its resource, reads ``text``."""

    key: str
    text: str

    def prefilter(self) -> SqlCondition:
        """Let spans pass that mention the key, or whose resource does. If the key names a field, let all pass."""
        return SqlCondition() if self.key in _TAG_FIELDS else Attribute("", self.key).mentions(self.key)

    def matches(self, trace: Summary, span: StoredSpan) -> bool:
        """Tell whether the field, or one of the attributes, reads like the text."""
        field = _TAG_FIELDS.get(self.key)
        if field is not None and field(trace, span) == self.text:
            return True
        return any(value_text(value) == self.text for value in Attribute("", self.key).read(trace, span))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of TraceQL.

    Attributes:
        field: The field to compare.
        operator: One of `OPERATORS`.
        value: The value to compare with. None is TraceQL's ``nil``. Statuses and kinds are numbers.
    """

    field: Field
    operator: str
    value: Value

    def prefilter(self) -> SqlCondition:
        """Return the field's own prefilter for the comparison."""
        return self.field.prefilter(self.operator, self.value)

    def matches(self, trace: Summary, span: StoredSpan) -> bool:
        """Tell whether the comparison holds. A span without the attribute matches ``= nil`` only, as in Tempo."""
        values = self.field.read(trace, span)
        if self.value is None:
            return bool(values) != (self.operator == "=")
        if self.operator in ("!=", "!~"):
            return bool(values) and all(self._holds(value) for value in values)
        return any(self._holds(value) for value in values)

    def _holds(self, actual: Value) -> bool:
        return _comparable(actual, self.value) and OPERATORS[self.operator](actual, self.value)


def _comparable(actual: Value, wanted: Value) -> bool:
    if isinstance(actual, bool) or isinstance(wanted, bool):
        return isinstance(actual, bool) and isinstance(wanted, bool)
    if isinstance(actual, int | float):
        return isinstance(wanted, int | float)
    return isinstance(actual, str) and isinstance(wanted, str)
