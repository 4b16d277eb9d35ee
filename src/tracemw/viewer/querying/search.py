"""A search over all traces, and the way its traces are found."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from tracemw.viewer.budget import Budget
from tracemw.viewer.querying.conditions import Condition
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.store import Store
from tracemw.viewer.storing.summaries import Summary


@dataclass(frozen=True, slots=True)
class Search:
    """A search: the conditions, and how much of the result to show.

    Attributes:
        condition: The condition that a span of the trace must match. None stands for no condition.
        traces: The condition on the trace as a whole.
        limit: How many traces to find at most.
        spans_per_set: How many matching spans of each trace to show.
    """

    condition: Condition | None
    traces: SqlCondition
    limit: int
    spans_per_set: int


@dataclass(frozen=True, slots=True, order=True)
class FoundSpan:
    """A span that matched, as the answer shows it. Times are nanoseconds since the epoch."""

    start: int
    span_id: bytes
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class FoundTrace:
    """A trace that matched.

    Attributes:
        matched: How many of its spans match the condition. 0 for a search without a condition.
        spans: The first of those spans, by start time.
    """

    summary: Summary
    matched: int = 0
    spans: tuple[FoundSpan, ...] = ()


def find(store: Store, search: Search, budget: Budget) -> Iterator[FoundTrace]:
    """Yield the newest traces that match, `Search.limit` of them at most. Each is looked for when it is asked for.

    Raises:
        BudgetError: when the search takes too long.
    """
    summaries = store.summaries(search.traces, budget)
    if search.condition is None:
        return islice(map(FoundTrace, summaries), search.limit)
    return islice(_matching(store, summaries, search.condition, search.spans_per_set, budget), search.limit)


def _matching(
    store: Store, summaries: Iterator[Summary], condition: Condition, spans_per_set: int, budget: Budget
) -> Iterator[FoundTrace]:
    for traces, candidates in store.candidates(summaries, condition.prefilter(), budget):
        by_id = {trace.trace_id: trace for trace in traces}
        matched = dict.fromkeys(by_id, 0)
        first: dict[bytes, list[FoundSpan]] = {trace_id: [] for trace_id in by_id}
        for span in candidates:
            if condition.matches(by_id[span.trace_id], span):
                matched[span.trace_id] += 1
                spans = first[span.trace_id]
                spans.append(FoundSpan(span.start, span.span_id, span.end, span.span.name))
                if len(spans) >= 2 * spans_per_set:
                    first[span.trace_id] = heapq.nsmallest(spans_per_set, spans)
        for trace in traces:
            if matched[trace.trace_id]:
                spans = heapq.nsmallest(spans_per_set, first[trace.trace_id])
                yield FoundTrace(trace, matched[trace.trace_id], tuple(spans))
