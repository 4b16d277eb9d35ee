"""Pipelines of TraceQL: what stands between bars. Each stage has the sets of spans that the one before has left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tracemw.viewer.querying.conditions import COMPARISONS, Expression, Literal, type_of
from tracemw.viewer.querying.fields import Field
from tracemw.viewer.querying.literals import Duration, Value
from tracemw.viewer.querying.relations import QueriedTrace
from tracemw.viewer.querying.spansets import Filter, Source, SpanSet, SpansetExpression
from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.sql import SqlCondition

AGGREGATES = ("count", "avg", "max", "min", "sum")


class Stage(Protocol):
    """One stage of a pipeline."""

    def apply(self, trace: QueriedTrace, sets: list[SpanSet]) -> list[SpanSet]:
        """Return what the stage makes of the sets of a trace."""
        ...

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield the fields that a search shows because of the stage. ``None`` stands for one that is missing."""
        ...


@dataclass(frozen=True, slots=True)
class Filtering:
    """A stage that finds spans among those of each set."""

    expression: SpansetExpression

    def apply(self, trace: QueriedTrace, sets: list[SpanSet]) -> list[SpanSet]:
        """Return the sets with the spans that are found, without those that become empty."""
        found = ((each, self.expression.find(trace, _within(trace, each))) for each in sets)
        return [each.with_spans(spans) for each, spans in found if spans]

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield what the filters show."""
        for each in self.expression.filters():
            yield from each.expression.shown(trace, span)


@dataclass(frozen=True, slots=True)
class Aggregating:
    """A stage that keeps the sets of which an aggregate compares so with a number: ``| avg(duration) > 1s``.

    Attributes:
        text: The aggregate as it stands in the query.
        of: What is aggregated. None for ``count()``.
    """

    text: str
    aggregate: str
    of: Expression | None
    operator: str
    limit: int | float

    def apply(self, trace: QueriedTrace, sets: list[SpanSet]) -> list[SpanSet]:
        """Return the sets that stay, each with the result."""
        kept: list[SpanSet] = []
        for each in sets:
            result = self._aggregate(trace, each.spans)
            if result is not None and COMPARISONS[self.operator](result, self.limit):
                kept.append(SpanSet(each.spans, {**each.attributes, self.text: result}))
        return kept

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield what is aggregated."""
        return iter(()) if self.of is None else self.of.shown(trace, span)

    def _aggregate(self, trace: QueriedTrace, spans: list[StoredSpan]) -> int | float | None:
        if self.of is None:
            return len(spans)
        values: list[int | float] = []
        for span in spans:
            values.extend(
                value
                for value in self.of.read(trace, span)
                if isinstance(value, int | float) and not isinstance(value, bool)
            )
            span.forget()
        if not values:
            return None
        match self.aggregate:
            case "avg":
                result: int | float = sum(values) / len(values)
            case "max":
                result = max(values)
            case "min":
                result = min(values)
            case _:
                result = sum(values)
        return Duration(result) if isinstance(values[0], Duration) else result


@dataclass(frozen=True, slots=True)
class Grouping:
    """The stage ``by(...)``: one set for each value.

    Attributes:
        text: The stage as it stands in the query.
    """

    text: str
    by: Expression

    def apply(self, trace: QueriedTrace, sets: list[SpanSet]) -> list[SpanSet]:
        """Return the groups, in the order of their first spans."""
        groups: list[SpanSet] = []
        for each in sets:
            by_value: dict[tuple[str, Value], list[StoredSpan]] = {}  # by type, too: 1 and true are equal in Python
            for span in sorted(each.spans, key=lambda span: (span.start, span.span_id)):
                value = next(iter(self.by.read(trace, span)), None)
                span.forget()
                by_value.setdefault((type_of(value), value), []).append(span)
            groups += (SpanSet(spans, {**each.attributes, self.text: key[1]}) for key, spans in by_value.items())
        return groups

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield what the spans are grouped by."""
        return self.by.shown(trace, span)


@dataclass(frozen=True, slots=True)
class Coalescing:
    """The stage ``coalesce()``: all sets become one again."""

    def apply(self, _: QueriedTrace, sets: list[SpanSet]) -> list[SpanSet]:
        """Return the one set."""
        spans = {span.span_id: span for each in sets for span in each.spans}
        return [SpanSet(list(spans.values()))] if spans else []

    def shown(self, _: QueriedTrace, __: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield nothing."""
        return iter(())


@dataclass(frozen=True, slots=True)
class Selecting:
    """The stage ``select(...)``: more fields to show."""

    fields: tuple[Field, ...]

    def apply(self, _: QueriedTrace, sets: list[SpanSet]) -> list[SpanSet]:
        """Return the sets as they are."""
        return sets

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield each field's first value, or None."""
        for each in self.fields:
            yield each, next(iter(each.read(trace, span)), None)


@dataclass(frozen=True, slots=True)
class QueryPipeline:
    """A pipeline: what finds the first sets of a trace, and the stages after that. In parentheses, it finds a set."""

    first: SpansetExpression
    stages: tuple[Stage, ...] = ()

    def filters(self) -> Iterator[Filter]:
        """Yield the filters that look at the whole trace."""
        return self.first.filters()

    def required(self) -> list[SqlCondition]:
        """Return what the first part requires."""
        return self.first.required()

    def find(self, trace: QueriedTrace, source: Source) -> list[StoredSpan]:
        """Return the spans of all sets."""
        return list({span.span_id: span for each in self.find_sets(trace, source) for span in each.spans}.values())

    def find_sets(self, trace: QueriedTrace, source: Source) -> list[SpanSet]:
        """Return the sets that the last stage leaves."""
        spans = self.first.find(trace, source)
        sets = [SpanSet(spans)] if spans else []
        for stage in self.stages:
            sets = stage.apply(trace, sets)
        return sets

    def keeps_all(self) -> bool:
        """Tell whether a single filter says all: the stages after it change no set."""
        return isinstance(self.first, Filter) and all(isinstance(stage, Selecting) for stage in self.stages)

    def shown(self, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[Field, Value]]:
        """Yield the fields that a search shows of a span; see `Stage.shown`."""
        for stage in (Filtering(self.first), *self.stages):
            yield from stage.shown(trace, span)


ALL = Filter(Literal(True))
"""The filter ``{}``, which every span matches."""


def _within(trace: QueriedTrace, spans: SpanSet) -> Source:
    """Return a source of the spans of a set."""

    def source(wanted: Filter) -> list[StoredSpan]:
        return list(_forgetful(wanted, trace, spans.spans))

    return source


def _forgetful(wanted: Filter, trace: QueriedTrace, spans: Iterable[StoredSpan]) -> Iterator[StoredSpan]:
    for span in spans:
        matches = wanted.matches(trace, span)
        span.forget()
        if matches:
            yield span
