"""Candidates of a search: spans that pass its SQL. They are decoded for an exact look, if their columns do not tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracemw.viewer.budget import Budget
from tracemw.viewer.storing.pool import Pool
from tracemw.viewer.storing.scopes import read_resource, read_scope
from tracemw.viewer.storing.slices import in_slices, read_protos
from tracemw.viewer.storing.sql import SqlCondition, marks
from tracemw.viewer.storing.summaries import TraceSummary
from tracemw.viewer.storing.vocabulary import read_stretches

_SPANS_AT_ONCE = 2_000  # one query looks into so many
_TRACES_AT_ONCE = 200
_FEW_ROWS = 50_000
_FEW_SHARE = 0.3  # of all rows: where a search has to look into more of them, it begins with the newest traces
_RESOURCE_BYTES = 8 * 1024 * 1024  # of the decoded resources that a search remembers
_Row = tuple[bytes, bytes, bytes | None, int, int, str, int, int, int, int, int]
_COLUMNS = (
    'spans.trace_id, span_id, parent_id, spans.start, spans."end", spans.name, spans.kind, spans.status, '
    "spans.rowid, scope, spans.bytes"
)


class StoredSpan:
    """One span as a search sees it. Times are nanoseconds since the epoch, as far as SQLite can hold them.

    Attributes:
        parent_id: The id of the parent span. None for a root.
        kind: The span's kind, as a number of OTLP.
        status: The code of the span's status, likewise.
    """

    __slots__ = (
        *("trace_id", "span_id", "parent_id", "start", "end", "name", "kind", "status"),
        *("_protos", "_row", "_scope", "_scopes", "_span"),
    )

    def __init__(self, row: _Row, protos: _Protos, scopes: _Scopes) -> None:
        self.trace_id, self.span_id, self.parent_id, self.start, self.end = row[:5]
        self.name, self.kind, self.status, self._row, self._scope, _ = row[5:]
        self._protos = protos
        self._scopes = scopes
        self._span: Span | None = None

    @property
    def span(self) -> Span:
        """The whole span, decoded when somebody asks. If it has gone meanwhile, it is empty."""
        if self._span is None:
            self._span = Span.FromString(self._protos.read(self._row))
        return self._span

    @property
    def resource(self) -> Resource:
        """The span's resource."""
        return self._scopes.read(self._scope)[0]

    @property
    def scope(self) -> InstrumentationScope:
        """The span's instrumentation scope."""
        return self._scopes.read(self._scope)[1]

    def forget(self) -> None:
        """Give back the memory of the decoded span."""
        self._span = None


def read_candidates(
    pool: Pool, traces: Iterable[TraceSummary], prefilter: SqlCondition, budget: Budget
) -> Iterator[tuple[list[TraceSummary], Iterator[StoredSpan]]]:
    """Yield some traces at a time, with their spans that pass the prefilter; see `Store.candidates`."""
    scopes = _Scopes(pool)
    # Many small traces, or a single one of any size.
    for some in in_slices(traces, size=lambda trace: trace.spans, most=_SPANS_AT_ONCE, count=_TRACES_AT_ONCE):
        yield some, _passing(pool, some, prefilter, budget, scopes)


def read_holders(pool: Pool, condition: SqlCondition, budget: Budget, *, few: bool) -> set[bytes] | None:
    """Return the ids of the traces that have a span for which a condition holds; see `Store.holders`."""
    ((begin, end),) = pool.read("SELECT coalesce(min(rowid), 1), coalesce(max(rowid), 0) FROM spans", (), budget)
    if condition.needs is not None:
        stretches = list(read_stretches(pool, condition.needs, budget))
    elif few:
        return None
    else:
        stretches = [(first, first + _SPANS_AT_ONCE - 1) for first in range(begin, end + 1, _SPANS_AT_ONCE)]
    if few and sum(last - first for first, last in stretches) > max(_FEW_ROWS, (end - begin) * _FEW_SHARE):
        return None
    found: set[bytes] = set()
    for first, last in stretches:
        found.update(
            trace_id
            for (trace_id,) in pool.read(
                # CROSS JOIN: the rows of the stretch come first, whatever SQLite thinks of the other tables.
                "SELECT DISTINCT spans.trace_id FROM spans CROSS JOIN scopes ON scopes.id = spans.scope "  # noqa: S608
                "CROSS JOIN resources ON resources.id = scopes.resource "
                "CROSS JOIN traces ON traces.trace_id = spans.trace_id "
                f"WHERE spans.rowid BETWEEN ? AND ? AND ({condition.sql})",
                (first, last, *condition.parameters),
                budget,
            )
        )
    return found


def read_span(pool: Pool, trace_id: bytes, span_id: bytes, budget: Budget) -> StoredSpan | None:
    """Return one span; see `Store.span`."""
    rows = pool.read(
        f"SELECT {_COLUMNS} FROM spans WHERE trace_id = ? AND span_id = ?",  # noqa: S608
        (trace_id, span_id),
        budget,
    )
    return StoredSpan(rows[0], _Protos(pool, [rows[0][8]], budget), _Scopes(pool)) if rows else None


def read_links(pool: Pool, trace_id: bytes, budget: Budget) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the span id and parent id of each span of a trace; see `Store.links`."""
    after: tuple[int, bytes] = (-1, b"")
    while True:
        rows = pool.read(
            "SELECT span_id, parent_id, start FROM spans "
            "WHERE trace_id = ? AND (start, span_id) > (?, ?) ORDER BY start, span_id LIMIT ?",
            (trace_id, *after, _SPANS_AT_ONCE),
            budget,
        )
        for span_id, parent_id, _ in rows:
            yield span_id, parent_id
        if len(rows) < _SPANS_AT_ONCE:
            return
        after = (rows[-1][2], rows[-1][0])


def _passing(
    pool: Pool, traces: list[TraceSummary], prefilter: SqlCondition, budget: Budget, scopes: _Scopes
) -> Iterator[StoredSpan]:
    for first, last in _pages(pool, traces, budget):
        rows = pool.read(
            f"SELECT {_COLUMNS} FROM spans JOIN scopes ON scopes.id = spans.scope "  # noqa: S608
            "JOIN resources ON resources.id = scopes.resource JOIN traces ON traces.trace_id = spans.trace_id "
            f"WHERE spans.trace_id IN ({marks(traces)}) AND span_id > ? AND span_id <= ? AND ({prefilter.sql})",
            (*(trace.trace_id for trace in traces), first, last, *prefilter.parameters),
            budget,
        )
        for part in in_slices(rows, size=lambda row: row[-1]):
            protos = _Protos(pool, [row[8] for row in part], budget)
            for row in part:
                yield StoredSpan(row, protos, scopes)
            budget.check()


def _pages(pool: Pool, traces: list[TraceSummary], budget: Budget) -> Iterator[tuple[bytes, bytes]]:
    """Yield ranges of span ids, so that each has few spans. Several traces together never have many."""
    after, end = b"", b"\xff" * 9  # span ids have 8 bytes
    if len(traces) == 1:
        while True:
            rows = pool.read(
                "SELECT span_id FROM spans WHERE trace_id = ? AND span_id > ? ORDER BY span_id LIMIT 1 OFFSET ?",
                (traces[0].trace_id, after, _SPANS_AT_ONCE - 1),
                budget,
            )
            if not rows:
                break
            yield after, rows[0][0]
            after = rows[0][0]
    yield after, end


class _Protos:
    """The encodings of some spans, read together when somebody asks for the first one."""

    def __init__(self, pool: Pool, rows: list[int], budget: Budget) -> None:
        self._pool = pool
        self._rows = rows
        self._budget = budget
        self._by_row: dict[int, bytes] | None = None

    def read(self, row: int) -> bytes:
        """Return the encoding of the span of a row; nothing if it has gone."""
        if self._by_row is None:
            self._by_row = read_protos(self._pool, self._rows, self._budget)
        return self._by_row.get(row, b"")


class _Scopes:
    """Decoded scopes with their resources, by row. They are remembered while they are not too many."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._by_row: dict[int, tuple[Resource, InstrumentationScope]] = {}
        self._bytes = 0

    def read(self, row: int) -> tuple[Resource, InstrumentationScope]:
        """Return the resource of a scope, and the scope. If they have gone, both are empty."""
        found = self._by_row.get(row)
        if found is None:
            resource, _, scope = read_scope(self._pool, row)
            _, proto = read_resource(self._pool, resource)
            self._bytes += len(proto) + len(scope)
            if self._bytes > _RESOURCE_BYTES:
                self._by_row.clear()
                self._bytes = len(proto) + len(scope)
            found = self._by_row[row] = (Resource.FromString(proto), InstrumentationScope.FromString(scope))
        return found
