"""Sets of spans: what TraceQL makes of a trace, by filters and by the operators between them.

A filter is looked for in two ways: among the candidates of a whole trace, and among the spans of a set that the stages
before have left. Both are a source, which gives a filter its spans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from tracemw.viewer.querying.conditions import Expression, holds
from tracemw.viewer.querying.literals import Value
from tracemw.viewer.querying.relations import (
    QueriedTrace,
    Tree,
    ancestors_of,
    children_of,
    descendants_of,
    parents_of,
    siblings_of,
)
from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.sql import SqlCondition


@dataclass(frozen=True, slots=True)
class SpanSet:
    """Some spans of one trace.

    Attributes:
        spans: The spans, in no order.
        attributes: What ``by()`` and aggregates have found, by their text in the query.
    """

    spans: list[StoredSpan]
    attributes: Mapping[str, Value] = field(default_factory=dict)

    def with_spans(self, spans: list[StoredSpan]) -> SpanSet:
        """Return a set of other spans, with the same attributes."""
        return replace(self, spans=spans)


Source = Callable[["Filter"], list[StoredSpan]]


class SpansetExpression(Protocol):
    """A part of a query that finds a set of spans."""

    def filters(self) -> Iterator[Filter]:
        """Yield the filters of the expression."""
        ...

    def required(self) -> list[SqlCondition]:
        """Return conditions of which each holds for at least one span of every trace in which there is a set."""
        ...

    def find(self, trace: QueriedTrace, source: Source) -> list[StoredSpan]:
        """Return the spans that the expression finds, each once."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Filter:
    """A filter in braces. Each stands for itself: two that look alike are two."""

    expression: Expression

    def matches(self, trace: QueriedTrace, span: StoredSpan) -> bool:
        """Tell whether a span matches."""
        return holds(self.expression, trace, span)

    def filters(self) -> Iterator[Filter]:
        """Yield the filter."""
        yield self

    def required(self) -> list[SqlCondition]:
        """Return the prefilter of the filter."""
        return [self.expression.prefilter()]

    def find(self, _: QueriedTrace, source: Source) -> list[StoredSpan]:
        """Return the spans that match."""
        return source(self)


_Relation = Callable[[Tree, list[StoredSpan], list[StoredSpan]], set[bytes]]

RELATIONS: Mapping[str, _Relation] = {
    ">": children_of,
    ">>": descendants_of,
    "<": parents_of,
    "<<": ancestors_of,
    "~": siblings_of,
}
"""The structural operators: the right side's spans that stand so to a span of the left side."""

_OPPOSITES = {">": "<", ">>": "<<", "<": ">", "<<": ">>", "~": "~"}


@dataclass(frozen=True, slots=True)
class Joined:
    """Two sets joined by ``&&`` or ``||``."""

    left: SpansetExpression
    operator: str
    right: SpansetExpression

    def filters(self) -> Iterator[Filter]:
        """Yield the filters of both sides."""
        yield from self.left.filters()
        yield from self.right.filters()

    def required(self) -> list[SqlCondition]:
        """Return what both sides require; for ``||``, what either does."""
        left, right = self.left.required(), self.right.required()
        return [*left, *right] if self.operator == "&&" else [SqlCondition.any_of([left[0], right[0]])]

    def find(self, trace: QueriedTrace, source: Source) -> list[StoredSpan]:
        """Return the spans of both sides. For ``&&``, each side must have some."""
        left, right = self.left.find(trace, source), self.right.find(trace, source)
        if self.operator == "&&" and not (left and right):
            return []
        return _unique(left, right)


@dataclass(frozen=True, slots=True)
class Related:
    """The right side's spans that stand in a relation to a span of the left side.

    Attributes:
        relation: One of `RELATIONS`.
        mode: ``!`` for the spans of the right side that do not stand so; ``&`` for the spans of both sides that do.
    """

    left: SpansetExpression
    relation: str
    mode: str
    right: SpansetExpression

    def filters(self) -> Iterator[Filter]:
        """Yield the filters of both sides."""
        yield from self.left.filters()
        yield from self.right.filters()

    def required(self) -> list[SqlCondition]:
        """Return what the sides require. Without the left one, no span of the right side is related."""
        return [*self.right.required(), *(self.left.required() if self.mode != "!" else ())]

    def find(self, trace: QueriedTrace, source: Source) -> list[StoredSpan]:
        """Return the spans."""
        right = self.right.find(trace, source)
        if not right:
            return []
        left = self.left.find(trace, source)
        found = RELATIONS[self.relation](trace.tree, left, right) if left else set()
        related = [span for span in right if (span.span_id in found) != (self.mode == "!")]
        if self.mode != "&":
            return related
        opposite = RELATIONS[_OPPOSITES[self.relation]](trace.tree, right, left)
        return _unique([span for span in left if span.span_id in opposite], related)


def _unique(left: list[StoredSpan], right: list[StoredSpan]) -> list[StoredSpan]:
    return list({span.span_id: span for span in (*left, *right)}.values())
