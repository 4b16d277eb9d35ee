"""A search over all traces, and the way its traces are found."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tracemw.viewer.budget import Budget
from tracemw.viewer.querying.fields import Field
from tracemw.viewer.querying.literals import Value
from tracemw.viewer.querying.pipelines import QueryPipeline
from tracemw.viewer.querying.relations import QueriedTrace
from tracemw.viewer.querying.spansets import Filter, SpanSet
from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.store import Store
from tracemw.viewer.storing.summaries import TraceSummary

_NEWEST = 2_000  # traces, into which a search looks before it passes over all spans


@dataclass(frozen=True, slots=True)
class Search:
    """A search: the conditions, and how much of the result to show.

    Attributes:
        query: What finds spans of a trace. None finds every trace.
        traces: The condition on the trace as a whole.
        holding: A condition on spans, of which the trace has one at least. None for no such condition.
        limit: How many traces to find at most.
        spans_per_set: How many spans of each set to show.
        shows_spans: Whether to show spans at all. A search for tags tells the traces only.
    """

    query: QueryPipeline | None
    traces: SqlCondition
    limit: int
    spans_per_set: int
    shows_spans: bool = True
    holding: SqlCondition | None = None


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """A span of a set, and the fields to show, of which None stands for one that is missing."""

    span: StoredSpan
    fields: Mapping[Field, Value]


@dataclass(frozen=True, slots=True)
class FoundSet:
    """A set of spans, as a search shows it.

    Attributes:
        matched: How many spans the set has.
        spans: The first of them, by start time.
        attributes: What the query has found of the set as a whole.
    """

    matched: int
    spans: tuple[FoundSpan, ...]
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundTrace:
    """A trace that a search has found. Without a query, and for tags, it has no sets."""

    summary: TraceSummary
    sets: tuple[FoundSet, ...] = ()


def find(store: Store, search: Search, budget: Budget) -> Iterator[FoundTrace]:
    """Yield the newest traces that match, `Search.limit` of them at most. Each is looked for when it is asked for.

    Raises:
        BudgetError: when the search takes too long.
    """
    required = [] if search.holding is None else [search.holding]
    if search.query is None:
        return islice(map(FoundTrace, _likely(store, required, search.traces, budget)), search.limit)
    summaries = _likely(store, [*required, *search.query.required()], search.traces, budget)
    finder = _StreamFinder if search.query.keeps_all() else _SetFinder
    return islice(finder(store, search, search.query, budget).find(summaries), search.limit)


def find_spans(
    store: Store, query: QueryPipeline, traces: SqlCondition, spans: SqlCondition, budget: Budget
) -> Iterator[tuple[QueriedTrace, StoredSpan]]:
    """Return the spans that a query finds, in no order, each when it is asked for.

    Args:
        store: Where the spans are.
        query: What finds the spans.
        traces: A condition on the traces to look into.
        spans: A condition that the caller has on spans. It only saves work: other spans may come, too.
        budget: What the search may cost.

    Raises:
        BudgetError: when the search takes too long.
    """
    prefilter = _prefilter(query)
    required = query.required()
    if query.keeps_all():
        prefilter = SqlCondition.all_of([prefilter, spans])
        required = [prefilter]
    return _spans_in(store, query, _likely(store, required, traces, budget), prefilter, budget)


def find_in_trace(store: Store, trace_id: bytes, query: QueryPipeline, budget: Budget) -> set[bytes]:
    """Return the ids of the spans of one trace that a query finds."""
    summaries = store.summaries(SqlCondition(), budget, only=[trace_id])
    return {span.span_id for _, span in _spans_in(store, query, summaries, _prefilter(query), budget)}


def _spans_in(
    store: Store, query: QueryPipeline, summaries: Iterator[TraceSummary], prefilter: SqlCondition, budget: Budget
) -> Iterator[tuple[QueriedTrace, StoredSpan]]:
    filters = tuple(query.filters())
    for summaries_at_once, candidates in store.candidates(summaries, prefilter, budget):
        traces = {summary.trace_id: QueriedTrace(store, summary, budget) for summary in summaries_at_once}
        if query.keeps_all():
            for span in candidates:
                if filters[0].matches(traces[span.trace_id], span):
                    yield traces[span.trace_id], span
                span.forget()
            continue
        found = _matching(filters, traces, candidates)
        for trace_id, trace in traces.items():
            budget.check()
            for span in query.find(trace, found.pop(trace_id).__getitem__):
                yield trace, span


def _prefilter(query: QueryPipeline) -> SqlCondition:
    """Return SQL that holds for every span that a filter of the query matches."""
    return SqlCondition.any_of(each.expression.prefilter() for each in query.filters())


class _Finder:
    def __init__(self, store: Store, search: Search, query: QueryPipeline, budget: Budget) -> None:
        self._store = store
        self._search = search
        self._query = query
        self._budget = budget
        self._filters = tuple(query.filters())
        self._prefilter = _prefilter(query)

    def _show(
        self, trace: QueriedTrace, matched: int, spans: list[StoredSpan], attributes: Mapping[str, Value]
    ) -> FoundSet:
        return FoundSet(
            matched,
            tuple(FoundSpan(span, dict(self._query.shown(trace, span))) for span in spans),
            attributes,
        )


class _StreamFinder(_Finder):
    """Finds the spans of a single filter. Of each trace, only the spans to show are held."""

    def find(self, summaries: Iterator[TraceSummary]) -> Iterator[FoundTrace]:
        count = self._search.spans_per_set
        (only,) = self._filters
        for summaries_at_once, candidates in self._store.candidates(summaries, self._prefilter, self._budget):
            traces = {
                summary.trace_id: QueriedTrace(self._store, summary, self._budget) for summary in summaries_at_once
            }
            matched = dict.fromkeys(traces, 0)
            first: dict[bytes, list[StoredSpan]] = {trace_id: [] for trace_id in traces}
            for span in candidates:
                if only.matches(traces[span.trace_id], span):
                    matched[span.trace_id] += 1
                    spans = first[span.trace_id]
                    spans.append(span)
                    if len(spans) >= 2 * count:
                        first[span.trace_id] = heapq.nsmallest(count, spans, key=_by_start)
                span.forget()
            for trace_id, trace in traces.items():
                if matched[trace_id]:
                    spans = heapq.nsmallest(count, first[trace_id], key=_by_start)
                    sets = (self._show(trace, matched[trace_id], spans, {}),) if self._search.shows_spans else ()
                    yield FoundTrace(trace.summary, sets)


class _SetFinder(_Finder):
    """Finds sets of spans. Of each trace, the spans that match any filter are held, encoded."""

    def find(self, summaries: Iterator[TraceSummary]) -> Iterator[FoundTrace]:
        for summaries_at_once, candidates in self._store.candidates(summaries, self._prefilter, self._budget):
            traces = {
                summary.trace_id: QueriedTrace(self._store, summary, self._budget) for summary in summaries_at_once
            }
            found = _matching(self._filters, traces, candidates)
            for trace_id, trace in traces.items():
                self._budget.check()
                sets = self._query.find_sets(trace, found.pop(trace_id).__getitem__)
                if sets:
                    yield FoundTrace(trace.summary, tuple(self._show_set(trace, each) for each in sets))

    def _show_set(self, trace: QueriedTrace, spans: SpanSet) -> FoundSet:
        first = heapq.nsmallest(self._search.spans_per_set, spans.spans, key=_by_start)
        return self._show(trace, len(spans.spans), first, spans.attributes)


def _likely(
    store: Store, required: Sequence[SqlCondition], traces: SqlCondition, budget: Budget
) -> Iterator[TraceSummary]:
    """Yield the traces that may be meant, newest first.

    Each required condition holds for at least one span of every trace that is meant. Where its words are rare, few
    traces come into question. Where they are not, the newest traces may be enough. Otherwise, one pass over all spans
    costs less than a look into trace after trace.
    """
    for condition in required:
        holders = store.holders(condition, budget, few=True)
        if holders is not None:
            yield from store.summaries(traces, budget, holders)
            return
    telling = next((condition for condition in required if condition.sql != "1"), None)
    newest = store.summaries(traces, budget)
    if telling is None:
        yield from newest
        return
    count, last = 0, None
    for count, last in enumerate(islice(newest, _NEWEST), 1):  # noqa: B007  # the last ones are used below
        yield last
    if last is not None and count == _NEWEST:
        rest = store.holders(telling, budget, few=False)
        older = SqlCondition("(traces.start, traces.trace_id) < (?, ?)", (last.start, last.trace_id))
        yield from store.summaries(SqlCondition.all_of([traces, older]), budget, rest)


def _matching(
    filters: tuple[Filter, ...], traces: Mapping[bytes, QueriedTrace], candidates: Iterator[StoredSpan]
) -> dict[bytes, dict[Filter, list[StoredSpan]]]:
    """Return the candidates of each trace that match each filter."""
    found: dict[bytes, dict[Filter, list[StoredSpan]]] = {
        trace_id: {each: [] for each in filters} for trace_id in traces
    }
    for span in candidates:
        for each, spans in found[span.trace_id].items():
            if each.matches(traces[span.trace_id], span):
                spans.append(span)
        span.forget()
    return found


def _by_start(span: StoredSpan) -> tuple[int, bytes]:
    return span.start, span.span_id
