"""Candidates of a search: spans that pass its SQL. They are decoded for an exact look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracemw.viewer.budget import Budget
from tracemw.viewer.storing.pool import Pool
from tracemw.viewer.storing.scopes import read_resource, read_scope
from tracemw.viewer.storing.slices import in_slices, read_protos
from tracemw.viewer.storing.sql import SqlCondition, marks
from tracemw.viewer.storing.summaries import Summary

_SPANS_AT_ONCE = 2_000  # one query looks into so many
_TRACES_AT_ONCE = 200
_RESOURCE_BYTES = 8 * 1024 * 1024  # of the decoded resources that a search remembers


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """One span as a search sees it. Times are nanoseconds since the epoch, as far as SQLite can hold them."""

    trace_id: bytes
    span_id: bytes
    start: int
    end: int
    span: Span
    resource: Resource


def read_candidates(
    pool: Pool, traces: Iterable[Summary], prefilter: SqlCondition, budget: Budget
) -> Iterator[tuple[list[Summary], Iterator[StoredSpan]]]:
    """Yield some traces at a time, with their spans that pass the prefilter; see `Store.candidates`."""
    resources = _Resources(pool)
    # Many small traces, or a single one of any size.
    for some in in_slices(traces, size=lambda trace: trace.spans, most=_SPANS_AT_ONCE, count=_TRACES_AT_ONCE):
        yield some, _passing(pool, some, prefilter, budget, resources)


def _passing(
    pool: Pool, traces: list[Summary], prefilter: SqlCondition, budget: Budget, resources: _Resources
) -> Iterator[StoredSpan]:
    limit = -1 if len(traces) > 1 else _SPANS_AT_ONCE  # several traces together never have more
    after = b""
    while True:
        rows = pool.read(
            'SELECT spans.trace_id, span_id, spans.rowid, spans.start, spans."end", scope, spans.bytes, '  # noqa: S608
            f"({prefilter.sql}) FROM spans JOIN scopes ON scopes.id = spans.scope "
            "JOIN resources ON resources.id = scopes.resource JOIN traces ON traces.trace_id = spans.trace_id "
            f"WHERE spans.trace_id IN ({marks(traces)}) AND span_id > ? ORDER BY spans.trace_id, span_id LIMIT ?",
            (*prefilter.parameters, *(trace.trace_id for trace in traces), after, limit),
            budget,
        )
        for part in in_slices((row for row in rows if row[-1]), size=lambda row: row[-2]):
            protos = read_protos(pool, [row[2] for row in part], budget)
            for trace_id, span_id, rowid, start, end, scope, _, _ in part:
                if rowid in protos:  # else the span has gone meanwhile
                    span = Span.FromString(protos[rowid])
                    yield StoredSpan(trace_id, span_id, start, end, span, resources.read(scope))
            budget.check()
        if len(rows) != limit:
            return
        after = rows[-1][1]


class _Resources:
    """Decoded resources by scope. They are remembered while they are not too many."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._by_scope: dict[int, Resource] = {}
        self._bytes = 0

    def read(self, scope: int) -> Resource:
        """Return the resource of a scope. If the scope has gone, the resource is empty."""
        resource = self._by_scope.get(scope)
        if resource is None:
            row, _, _ = read_scope(self._pool, scope)
            _, proto = read_resource(self._pool, row)
            self._bytes += len(proto)
            if self._bytes > _RESOURCE_BYTES:
                self._by_scope.clear()
                self._bytes = len(proto)
            resource = self._by_scope[scope] = Resource.FromString(proto)
        return resource
