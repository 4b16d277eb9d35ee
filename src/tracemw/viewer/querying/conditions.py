"""Expressions on the fields of a span, as they stand in the braces of TraceQL; and the pairs of a tag search.

An expression has two answers. `Expression.read` is exact, for one span. `Expression.prefilter` is SQL that lets SQLite
drop most other spans undecoded.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tracemw.viewer.querying import regex
from tracemw.viewer.querying.fields import INTRINSICS, Attribute, Field, value_text
from tracemw.viewer.querying.literals import Duration, Keyword, Value
from tracemw.viewer.querying.relations import QueriedTrace
from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.sql import SqlCondition

MAX_CONDITIONS = 100  # of one search

NUMBERS = ("int", "float", "duration")
"""The types that can be compared with one another, and with which one can calculate."""

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=~": lambda actual, pattern: regex.matches(actual, pattern),
    "!~": lambda actual, pattern: not regex.matches(actual, pattern),
}
ARITHMETIC: Mapping[str, Callable[[Any, Any], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
    "^": math.pow,
}


class Expression(Protocol):
    """An expression, which has values in a span of a trace."""

    @property
    def type(self) -> str:
        """The type of the values; ``attribute`` if only a span tells."""
        ...

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return the values of a span. A span that lacks something has none."""
        ...

    def prefilter(self) -> SqlCondition:
        """Return SQL that holds for every span of which the expression is true, and perhaps for others."""
        ...

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield the fields that a search shows, because the expression asks for them, with the values that match."""
        ...


def holds(expression: Expression, trace: QueriedTrace, span: StoredSpan) -> bool:
    """Tell whether an expression is true of a span."""
    return True in expression.read(trace, span)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands in the query."""

    value: Value

    @property
    def type(self) -> str:
        """The value's own type."""
        return type_of(self.value)

    def read(self, _: QueriedTrace, __: StoredSpan) -> list[Value]:
        """Return the value."""
        return [self.value]

    def prefilter(self) -> SqlCondition:
        """Let all spans pass, unless the value is ``false``."""
        return SqlCondition("0") if self.value is False else SqlCondition()

    def shown(self, _: QueriedTrace, __: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield nothing."""
        return iter(())


@dataclass(frozen=True, slots=True)
class Reference:
    """A field of the span."""

    field: Field

    @property
    def type(self) -> str:
        """The field's type."""
        return self.field.type

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return the field's values."""
        return self.field.read(trace, span)

    def prefilter(self) -> SqlCondition:
        """Let spans pass that may have the field."""
        return self.field.prefilter("!=", "")

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield the field's first value."""
        for value in self.read(trace, span)[:1]:
            yield self.field, value


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of some expressions, on the same span."""

    expressions: tuple[Expression, ...]
    type: str = "bool"

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return whether every expression is true."""
        return [all(holds(expression, trace, span) for expression in self.expressions)]

    def prefilter(self) -> SqlCondition:
        """Return all prefilters, joined by AND."""
        return SqlCondition.all_of(expression.prefilter() for expression in self.expressions)

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield what the expressions show."""
        for expression in self.expressions:
            yield from expression.shown(trace, span)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of some expressions."""

    expressions: tuple[Expression, ...]
    type: str = "bool"

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return whether at least one expression is true."""
        return [any(holds(expression, trace, span) for expression in self.expressions)]

    def prefilter(self) -> SqlCondition:
        """Return all prefilters, joined by OR."""
        return SqlCondition.any_of(expression.prefilter() for expression in self.expressions)

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield what the expressions show."""
        for expression in self.expressions:
            yield from expression.shown(trace, span)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of an expression. A span that lacks something is no opposite."""

    expression: Expression
    type: str = "bool"

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return whether the expression is false."""
        return [False in self.expression.read(trace, span)]

    def prefilter(self) -> SqlCondition:
        """Let all spans pass."""
        return SqlCondition()

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield what the expression shows."""
        return self.expression.shown(trace, span)


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether a span has a field at all: ``!= nil``, or ``= nil`` when ``wanted`` is False."""

    expression: Expression
    wanted: bool
    type: str = "bool"

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return whether the span has values, or has none."""
        return [bool(self.expression.read(trace, span)) == self.wanted]

    def prefilter(self) -> SqlCondition:
        """Let spans pass that mention the field."""
        if self.wanted and isinstance(self.expression, Reference):
            return self.expression.prefilter()
        return SqlCondition()

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield what the expression shows."""
        return self.expression.shown(trace, span)


@dataclass(frozen=True, slots=True)
class BinaryComparison:
    """A comparison of two expressions. Of an array, one element is enough, for ``!=`` and ``!~`` too, as in Tempo."""

    left: Expression
    operator: str
    right: Expression
    type: str = "bool"

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return whether the comparison holds for any of the values."""
        rights = self.right.read(trace, span)
        return [any(self._compare(left, right) for left in self.left.read(trace, span) for right in rights)]

    def prefilter(self) -> SqlCondition:
        """Return the field's own prefilter for the comparison with a literal."""
        if isinstance(self.left, Reference) and isinstance(self.right, Literal):
            return self.left.field.prefilter(self.operator, self.right.value)
        return SqlCondition()

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield the values of the field that match the literal."""
        if isinstance(self.left, Reference) and isinstance(self.right, Literal):
            for value in self.left.read(trace, span):
                if self._compare(value, self.right.value):
                    yield self.left.field, value

    def _compare(self, left: Value, right: Value) -> bool:
        return self._comparable(left, right) and COMPARISONS[self.operator](left, right)

    def _comparable(self, left: Value, right: Value) -> bool:
        """Tell whether two values can be compared.

        Tempo keeps integers and floats of attributes apart: an integer never equals or exceeds a literal with a point.
        """
        types = type_of(left), type_of(right)
        if "attribute" in (self.left.type, self.right.type) and (
            isinstance(self.left, Literal) or isinstance(self.right, Literal)
        ):
            return types[0] == types[1] or set(types) == {"int", "duration"}
        return types[0] == types[1] or (types[0] in NUMBERS and types[1] in NUMBERS)


@dataclass(frozen=True, slots=True)
class Calculation:
    """Arithmetic with two expressions. The result is a float, as in Tempo."""

    left: Expression
    operator: str
    right: Expression

    @property
    def type(self) -> str:
        """The type of the left side, or else of the right."""
        return self.right.type if self.left.type == "attribute" else self.left.type

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return the results for all pairs of numbers."""
        rights = [value for value in self.right.read(trace, span) if type_of(value) in NUMBERS]
        lefts = (value for value in self.left.read(trace, span) if type_of(value) in NUMBERS)
        return [self._calculate(left, right) for left in lefts for right in rights]

    def prefilter(self) -> SqlCondition:
        """Let all spans pass."""
        return SqlCondition()

    def shown(self, _: QueriedTrace, __: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield nothing."""
        return iter(())

    def _calculate(self, left: Any, right: Any) -> float:
        try:
            return ARITHMETIC[self.operator](float(left), float(right))
        except (ArithmeticError, ValueError):
            return math.nan


@dataclass(frozen=True, slots=True)
class Tag:
    """A pair of Tempo's tag search: a field whose text contains ``text``, or another value that reads so."""

    key: str
    text: str
    type: str = "bool"

    def read(self, trace: QueriedTrace, span: StoredSpan) -> list[Value]:
        """Return whether the field matches."""
        if self.key == "error":
            return [(INTRINSICS["status"].read(trace, span)[0] == Keyword("status", "error")) == (self.text == "true")]
        return [any(self._matches(value) for value in self._field.read(trace, span))]

    def prefilter(self) -> SqlCondition:
        """Let spans pass that mention the key, or whose resource does. If the key names an intrinsic, let all pass."""
        return self._field.prefilter("=~", "") if isinstance(self._field, Attribute) else SqlCondition()

    def shown(self, _: QueriedTrace, __: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield nothing."""
        return iter(())

    @property
    def _field(self) -> Field:
        name = TAG_FIELDS.get(self.key)
        return Attribute("", self.key) if name is None else INTRINSICS[name]

    def _matches(self, value: Value) -> bool:
        return self.text in value if isinstance(value, str) else value_text(value) == self.text


TAG_FIELDS: Mapping[str, str] = {
    "name": "name",
    "status": "status",
    "status.code": "status",
    "error": "status",
    "root.name": "rootName",
    "root.service.name": "rootServiceName",
}
"""The keys of a tag search that stand for an intrinsic."""


def type_of(value: Value) -> str:
    """Return the type of a value, as `Expression.type` names it."""
    return value.of if isinstance(value, Keyword) else _TYPES[type(value)]


_TYPES: Mapping[type, str] = {
    int: "int",
    float: "float",
    str: "string",
    bool: "bool",
    Duration: "duration",
    type(None): "nil",
}
