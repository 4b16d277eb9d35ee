"""TraceQL metrics: spans counted or measured over time, in series by the values of fields.

A time belongs to the next multiple of the step, and start and end are widened to such multiples, as in Tempo.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeGuard

from tracemw.viewer.budget import Budget
from tracemw.viewer.querying.conditions import type_of
from tracemw.viewer.querying.contrasts import compared
from tracemw.viewer.querying.literals import Duration, QueryError, Value
from tracemw.viewer.querying.relations import QueriedTrace
from tracemw.viewer.querying.search import find_spans
from tracemw.viewer.querying.traceql import Metrics, Query
from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.store import Store

SECOND = 10**9

_MOST_POINTS = 11_000  # of one series, as in Prometheus
_MOST_VALUES = 2_000_000  # of all series
_COUNTING = ("rate", "count_over_time", "histogram_over_time", "compare")

Label = tuple[str, Value]


@dataclass(frozen=True, slots=True)
class SeriesWindow:
    """The time to look at, in nanoseconds.

    Attributes:
        step: The length of one interval.
        is_instant: Whether the whole window is one interval, and a series one value.
    """

    start: int
    end: int
    step: int
    is_instant: bool = False

    @classmethod
    def aligned(cls, start: int, end: int, step: int) -> SeriesWindow:
        """Return a window whose start and end are multiples of the step.

        Raises:
            QueryError: for an empty window, and for one of too many intervals.
        """
        if end <= start:
            raise QueryError("end must be greater than start")
        window = cls(start - start % step, end + -end % step, step)
        if window.points > _MOST_POINTS:
            raise QueryError(f"the window has more than {_MOST_POINTS} steps: ask with a larger step")
        return window

    @property
    def points(self) -> int:
        """How many values a series has."""
        return 1 if self.is_instant else (self.end - self.start) // self.step + 1

    def interval(self, time: int) -> int:
        """Return the number of the interval in which a time of the window is."""
        return 0 if self.is_instant else -((self.start - time) // self.step)

    def timestamp(self, interval: int) -> int:
        """Return the end of an interval."""
        return self.start + interval * self.step


@dataclass(frozen=True, slots=True)
class SeriesExemplar:
    """A trace that stands for a value of a series."""

    trace_id: bytes
    interval: int


@dataclass(frozen=True, slots=True)
class Series:
    """One series.

    Attributes:
        labels: The names and values that tell the series from others.
        values: One value for each interval. NaN stands for none.
        exemplars: Traces that stand for some of them.
    """

    labels: tuple[Label, ...]
    values: list[float]
    exemplars: list[SeriesExemplar] = field(default_factory=list)


@dataclass(slots=True)
class _Cells:
    """What has been seen of one series: the measured values of each interval, or how many there are."""

    counts: array[int]
    values: list[array[float]] | None
    exemplars: list[SeriesExemplar]


def measure(store: Store, query: Query, window: SeriesWindow, exemplars: int, budget: Budget) -> list[Series]:
    """Return the series of a metrics query, by their labels.

    Args:
        store: Where the spans are.
        query: The query.
        window: The time to look at.
        exemplars: How many traces to name at most. Each is named once.
        budget: What the answer may cost.

    Raises:
        QueryError: when the query measures nothing, or the answer would be too large.
        BudgetError: when it takes too long.
    """
    metrics = query.metrics
    if metrics is None:
        raise QueryError("not a metrics query")
    collected = _Collected(metrics, window, exemplars)
    overlapping = SqlCondition('traces."end" >= ? AND traces.start <= ?', (window.start, window.end))
    started = SqlCondition("spans.start BETWEEN ? AND ?", (window.start, window.end))
    for trace, span in find_spans(store, query.pipeline, overlapping, started, budget):
        if window.start <= span.start <= window.end:
            collected.add(trace, span)
        span.forget()
    return _ranked(collected.series(), metrics, window)


class _Collected:
    def __init__(self, metrics: Metrics, window: SeriesWindow, exemplars: int) -> None:
        self._metrics = metrics
        self._window = window
        self._exemplars = exemplars
        self._named: set[bytes] = set()
        self._cells: dict[tuple[tuple[str, ...], tuple[Label, ...]], _Cells] = {}  # by type, too: 1 equals true
        self._room = _MOST_VALUES

    def add(self, trace: QueriedTrace, span: StoredSpan) -> None:
        metrics = self._metrics
        interval = self._window.interval(span.start)
        if metrics.selection is not None:
            for labels in compared(metrics.selection, trace, span):
                self._cell(labels).counts[interval] += 1
            return
        measured = metrics.of.read(trace, span) if metrics.of is not None else [1]
        labels = tuple((each.name, next(iter(each.read(trace, span)), None)) for each in metrics.by)
        for value in filter(_is_number, measured):
            bucket = (("__bucket", _bucket(value)),) if metrics.function == "histogram_over_time" else ()
            cells = self._cell((*labels, *bucket))
            cells.counts[interval] += 1
            if cells.values is not None:
                self._take(1)
                cells.values[interval].append(_number(value))
            if len(self._named) < self._exemplars and span.trace_id not in self._named:
                self._named.add(span.trace_id)
                cells.exemplars.append(SeriesExemplar(span.trace_id, interval))

    def series(self) -> Iterator[Series]:
        functions: list[tuple[tuple[Label, ...], Callable[[array[float]], float]]]
        functions = [((("p", each),), _quantile(each)) for each in self._metrics.quantiles]
        functions = functions or [((), _FUNCTIONS.get(self._metrics.function, len))]
        factor = SECOND / self._window.step if self._metrics.function == "rate" else 1
        for (_, labels), cells in self._cells.items():
            for more, function in functions:
                if cells.values is None:
                    values = [number * factor for number in cells.counts]
                else:
                    values = [function(each) if each else math.nan for each in cells.values]
                yield Series(self._named_labels(labels, more), values, cells.exemplars)

    def _cell(self, labels: tuple[Label, ...]) -> _Cells:
        key = (tuple(type_of(value) for _, value in labels), labels)
        cells = self._cells.get(key)
        if cells is None:
            points = self._window.points
            self._take(points)
            values = None if self._metrics.function in _COUNTING else [array("d") for _ in range(points)]
            cells = self._cells[key] = _Cells(array("q", bytes(8 * points)), values, [])
        return cells

    def _take(self, number: int) -> None:
        self._room -= number
        if self._room < 0:
            raise QueryError(
                f"the answer needs more than {_MOST_VALUES} values: ask with a larger step, or by fewer fields"
            )

    def _named_labels(self, labels: tuple[Label, ...], more: tuple[Label, ...]) -> tuple[Label, ...]:
        """Return the labels as Tempo has them: those that are missing go, unless all are."""
        known = (*((name, value) for name, value in labels if value is not None), *more)
        return known or labels[:1] or (("__name__", self._metrics.function),)


def _ranked(series: Iterator[Series], metrics: Metrics, window: SeriesWindow) -> list[Series]:
    """Return the series by their labels; of each interval only the first values, if the query ranks them."""
    ordered = sorted(series, key=lambda each: [(name, type_of(value), str(value)) for name, value in each.labels])
    ranking, limit = metrics.ranking
    if not ranking:
        return ordered
    kept = [Series(each.labels, [math.nan] * window.points, each.exemplars) for each in ordered]
    choose = heapq.nlargest if ranking == "topk" else heapq.nsmallest
    for interval in range(window.points):
        values = ((each.values[interval], index) for index, each in enumerate(ordered))
        told = (pair for pair in values if not math.isnan(pair[0]) and (pair[0] or metrics.function not in _COUNTING))
        for value, index in choose(limit, told, key=itemgetter(0)):
            kept[index].values[interval] = value
    return [each for each in kept if not all(map(math.isnan, each.values))]


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: int | float) -> float:
    """Return a value as it is measured: a duration in seconds."""
    return value / SECOND if isinstance(value, Duration) else float(value)


def _bucket(value: int | float) -> float:
    """Return the smallest power of two that is no smaller; for a duration, one of nanoseconds, in seconds."""
    power = 2.0 ** math.ceil(math.log2(value)) if value > 0 else 0.0
    return power / SECOND if isinstance(value, Duration) else power


def _quantile(quantile: float) -> Callable[[array[float]], float]:
    """Return the function that finds a quantile between the two nearest values. Tempo only estimates it."""

    def find(values: array[float]) -> float:
        ordered = sorted(values)
        place = quantile * (len(ordered) - 1)
        below = ordered[math.floor(place)]
        return below + (ordered[math.ceil(place)] - below) * (place % 1)

    return find


_FUNCTIONS: dict[str, Callable[[array[float]], float]] = {
    "min_over_time": min,
    "max_over_time": max,
    "sum_over_time": sum,
    "avg_over_time": lambda values: sum(values) / len(values),
}
