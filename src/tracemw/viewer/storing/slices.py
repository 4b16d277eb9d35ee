"""Slices: answers consist of parts of bounded size, and only one part is held at a time."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData

from tracemw.viewer.budget import Budget
from tracemw.viewer.storing.pool import Pool
from tracemw.viewer.storing.scopes import read_resource, read_scope
from tracemw.viewer.storing.sql import marks

_SLICE_BYTES = 256 * 1024  # of encoded spans
_SLICE_SPANS = 500
_ROWS_AT_ONCE = 2_000  # of one query; in memory, all others wait for it

_Row = TypeVar("_Row")


def in_slices(
    rows: Iterable[_Row], *, size: Callable[[_Row], int], most: int = _SLICE_BYTES, count: int = _SLICE_SPANS
) -> Iterator[list[_Row]]:
    """Yield rows in lists: at most ``count`` rows, whose sizes add up to ``most`` at most, or a single larger row."""
    part: list[_Row] = []
    total = 0
    for row in rows:
        if part and (total + size(row) > most or len(part) == count):
            yield part
            part, total = [], 0
        part.append(row)
        total += size(row)
    if part:
        yield part


def read_trace(pool: Pool, trace_id: bytes) -> Iterator[TracesData]:
    """Return a trace in slices; see `Store.trace`."""
    # By `map`: the variables of a generator would hold a slice for as long as its reader takes.
    return map(partial(_read_slice, pool), in_slices(_ordered_rows(pool, trace_id), size=lambda row: row[2]))


def read_protos(pool: Pool, rowids: list[int], budget: Budget | None = None) -> dict[int, bytes]:
    """Return the encodings of spans by row, without those that have gone."""
    sql = f"SELECT rowid, proto FROM spans WHERE rowid IN ({marks(rowids)})"  # noqa: S608
    return dict(pool.read(sql, tuple(rowids), budget))


def _read_slice(pool: Pool, rows: list[tuple[int, int, int]]) -> TracesData:
    builder = _SliceBuilder(pool)
    protos = read_protos(pool, [rowid for rowid, _, _ in rows])
    for rowid, scope, _ in rows:
        if rowid in protos:  # else the span has gone meanwhile
            builder.add(scope, protos[rowid])
    return builder.traces


def _ordered_rows(pool: Pool, trace_id: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the row, scope and size of each span of a trace: by resource, then by scope, then by start time."""
    spans_of: dict[int, tuple[array[int], array[int]]] = {}
    after = (-1, b"")
    while True:
        rows = pool.read(
            "SELECT rowid, scope, bytes, start, span_id FROM spans "
            "WHERE trace_id = ? AND (start, span_id) > (?, ?) ORDER BY start, span_id LIMIT ?",
            (trace_id, *after, _ROWS_AT_ONCE),
        )
        for rowid, scope, size, _, _ in rows:
            rowids, sizes = spans_of.setdefault(scope, (array("q"), array("q")))
            rowids.append(rowid)
            sizes.append(size)
        if len(rows) < _ROWS_AT_ONCE:
            break
        after = rows[-1][3:]
    scopes_of: dict[int, list[int]] = {}
    for scope in spans_of:
        resource, _, _ = read_scope(pool, scope)
        if resource:  # else the scope has gone meanwhile, and its spans with it
            scopes_of.setdefault(resource, []).append(scope)
    for scopes in scopes_of.values():
        for scope in scopes:
            for rowid, size in zip(*spans_of[scope], strict=True):
                yield rowid, scope, size


class _SliceBuilder:
    """Puts spans of a trace under their resources and scopes. Spans of one scope come one after the other."""

    def __init__(self, pool: Pool) -> None:
        self.traces = TracesData()
        self._pool = pool
        self._resource: tuple[int, ResourceSpans] | None = None
        self._scope: tuple[int, ScopeSpans] | None = None

    def add(self, scope: int, proto: bytes) -> None:
        """Add a span of a scope."""
        if self._scope is None or self._scope[0] != scope:
            resource, schema_url, scope_proto = read_scope(self._pool, scope)
            if self._resource is None or self._resource[0] != resource:
                resource_schema_url, resource_proto = read_resource(self._pool, resource)
                resource_spans = self.traces.resource_spans.add(
                    resource=Resource.FromString(resource_proto), schema_url=resource_schema_url
                )
                self._resource = (resource, resource_spans)
            scope_spans = self._resource[1].scope_spans.add(
                scope=InstrumentationScope.FromString(scope_proto), schema_url=schema_url
            )
            self._scope = (scope, scope_spans)
        self._scope[1].spans.append(Span.FromString(proto))
