"""One transaction of the store: spans go in, summaries of their traces follow, and the oldest traces make room."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tracemw.viewer.receiving.batch import ResourceScope
from tracemw.viewer.storing.database import Totals
from tracemw.viewer.storing.scopes import KeptScope, Scopes

_LARGEST_INTEGER = 2**63 - 1  # SQLite's integers are signed, OTLP's times are not
_LONGEST_NAME = 1000  # characters of a trace's name in lists; the span keeps all of them
_SPAN_OVERHEAD = 250  # bytes that a span costs beside its encoding: its columns, and its place in the indexes


@dataclass(slots=True)
class _Share:
    """How many more spans one trace has of one scope."""

    spans: int = 0
    errors: int = 0


@dataclass(slots=True)
class _Growth:
    """The counts of one trace, with the spans of this transaction. ``shares`` are by the row of their scope."""

    spans: int
    errors: int
    size: int
    scope_size: int
    is_new: bool
    shares: dict[int, _Share] = field(default_factory=dict)


class Transaction:
    """Spans on their way into the tables. The caller begins and commits the transaction of SQLite.

    Attributes:
        totals: How much the store holds once the transaction is committed.
    """

    def __init__(self, connection: sqlite3.Connection, totals: Totals, *, max_spans: int, max_bytes: int) -> None:
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self._max_spans = max_spans
        self._max_bytes = max_bytes
        self._growths: dict[bytes, _Growth] = {}
        self.totals = replace(totals)
        self._scopes = Scopes(connection, self.totals)

    def insert(self, scope: ResourceScope, span: Span) -> str:
        """Insert a span, or replace the one that has the same ids.

        Returns:
            Why there is no room for the span, or an empty string.
        """
        kept = self._scopes.look_up(scope)
        growth = self._growths.get(span.trace_id) or self._begin_growth(span.trace_id)
        proto = span.SerializeToString()
        # The span's row repeats the name. The trace's row may have the name and the service twice.
        size = len(proto) + 3 * len(span.name) + 2 * len(kept.service) + _SPAN_OVERHEAD
        failed = span.status.code == Status.STATUS_CODE_ERROR
        old: tuple[int, int, int] | None = self._execute(
            "SELECT scope, status, bytes FROM spans WHERE trace_id = ? AND span_id = ?", (span.trace_id, span.span_id)
        ).fetchone()
        if old is None and growth.spans >= self._max_spans:
            return f"trace {span.trace_id.hex()} has more spans than the viewer's --max-spans"
        is_first = not self._has_share(span.trace_id, growth, kept)
        more = size + (kept.size if is_first else 0) - (old[2] if old else 0)
        if growth.size + growth.scope_size + more > self._max_bytes:
            return f"trace {span.trace_id.hex()} has more bytes than the viewer's --max-bytes"
        if not kept.row:
            self._scopes.insert(kept)
        self._execute(
            "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                span.trace_id,
                span.span_id,
                span.parent_span_id if any(span.parent_span_id) else None,
                kept.row,
                span.name,
                span.kind,
                span.status.code,
                min(span.start_time_unix_nano, _LARGEST_INTEGER),
                min(span.end_time_unix_nano, _LARGEST_INTEGER),
                size,
                proto,
            ),
        )
        if is_first:
            growth.scope_size += kept.size
        self._count(growth, kept.row, 1, int(failed), size)
        if old is not None:
            self._count(growth, old[0], -1, -int(old[1] == Status.STATUS_CODE_ERROR), -old[2])
        return ""

    def finish(self) -> None:
        """Bring the summaries of all traces up to date. Delete the oldest traces while there is too much."""
        for trace_id, growth in self._growths.items():
            if growth.shares:
                self._write_shares(trace_id, growth)
                self._write_trace(trace_id, growth)
        while self.totals.spans > self._max_spans or self.totals.size > self._max_bytes:
            oldest = self._execute("SELECT trace_id, spans, bytes FROM traces ORDER BY arrival LIMIT 1").fetchone()
            if oldest is None:
                break
            self._delete(*oldest)

    def _begin_growth(self, trace_id: bytes) -> _Growth:
        sql = "SELECT spans, errors, bytes, scope_bytes FROM traces WHERE trace_id = ?"
        row = self._execute(sql, (trace_id,)).fetchone()
        spans, errors, size, scope_size = row or (0, 0, 0, 0)
        growth = self._growths[trace_id] = _Growth(spans, errors, size, scope_size, is_new=row is None)
        return growth

    def _has_share(self, trace_id: bytes, growth: _Growth, kept: KeptScope) -> bool:
        row = kept.row
        if not row or row in growth.shares:
            return bool(row)
        sql = "SELECT 1 FROM shares WHERE trace_id = ? AND scope = ?"
        return self._execute(sql, (trace_id, row)).fetchone() is not None

    def _count(self, growth: _Growth, scope: int, spans: int, errors: int, size: int) -> None:
        growth.spans += spans
        growth.errors += errors
        growth.size += size
        share = growth.shares.setdefault(scope, _Share())
        share.spans += spans
        share.errors += errors
        self.totals.spans += spans
        self.totals.size += size

    def _write_shares(self, trace_id: bytes, growth: _Growth) -> None:
        for scope, share in growth.shares.items():
            self._execute(
                "INSERT INTO shares VALUES (?, ?, ?, ?) ON CONFLICT (trace_id, scope) DO UPDATE SET "
                "spans = spans + excluded.spans, errors = errors + excluded.errors",
                (trace_id, scope, share.spans, share.errors),
            )
            if share.spans <= 0:  # the trace's last span of the scope may have been replaced by one of another scope
                gone = self._execute(
                    "DELETE FROM shares WHERE trace_id = ? AND scope = ? AND spans = 0", (trace_id, scope)
                ).rowcount
                if gone:
                    growth.scope_size -= self._scopes.size(scope)
                    self._scopes.delete_unused(scope)

    def _write_trace(self, trace_id: bytes, growth: _Growth) -> None:
        # The root is the earliest span without a parent. Until one arrives, lists show the earliest span instead.
        earliest = (
            "SELECT spans.start, service, substr(name, 1, ?) FROM spans JOIN scopes ON scopes.id = spans.scope "
            "JOIN resources ON resources.id = scopes.resource WHERE trace_id = ? {} ORDER BY start, span_id LIMIT 1"
        )
        start, *first = self._execute(earliest.format(""), (_LONGEST_NAME, trace_id)).fetchone()
        _, *root = self._execute(earliest.format("AND parent_id IS NULL"), (_LONGEST_NAME, trace_id)).fetchone() or (
            None,
            None,
            None,
        )
        (end,) = self._execute('SELECT max("end") FROM spans WHERE trace_id = ?', (trace_id,)).fetchone()
        self.totals.arrival += 1
        self.totals.traces += growth.is_new
        self._execute(
            "INSERT OR REPLACE INTO traces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                trace_id,
                self.totals.arrival,
                start,
                end,
                max(end - start, 0),
                growth.spans,
                growth.errors,
                growth.size,
                growth.scope_size,
                *root,
                *first,
            ),
        )

    def _delete(self, trace_id: bytes, spans: int, size: int) -> None:
        scopes = self._execute("SELECT scope FROM shares WHERE trace_id = ?", (trace_id,)).fetchall()
        for table in ("spans", "shares", "traces"):
            self._execute(f"DELETE FROM {table} WHERE trace_id = ?", (trace_id,))  # noqa: S608
        for (scope,) in scopes:
            self._scopes.delete_unused(scope)
        self.totals.traces -= 1
        self.totals.spans -= spans
        self.totals.size -= size
