"""One transaction of the store: spans go in, summaries of their traces follow, and the oldest traces make room.

Or traces are erased, because somebody asks for that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tracemw.viewer.receiving.batch import ResourceScope
from tracemw.viewer.storing.database import Totals
from tracemw.viewer.storing.scopes import KeptScope, Scopes
from tracemw.viewer.storing.vocabulary import Vocabulary, Words

_LARGEST_INTEGER = 2**63 - 1  # SQLite's integers are signed, OTLP's times are not
_LONGEST_NAME = 1000  # characters of a trace's name in lists; the span keeps all of them
_LARGEST_ROWS = 1024 * 1024  # bytes of spans that wait to go into their table
_SPAN_OVERHEAD = 250  # bytes that a span costs beside its encoding: its columns, and its place in the indexes


@dataclass(slots=True)
class _Share:
    """How many more spans one trace has of one scope."""

    spans: int = 0
    errors: int = 0


_Place = tuple[int, bytes]  # where a span stands in its trace: by start, then by id
_Head = tuple[_Place, str, str]  # the place, the service and the name of a span that lists show


@dataclass(slots=True)
class _Growth:
    """One trace, with the spans of this transaction. ``shares`` are by the row of their scope.

    Attributes:
        end: The latest end.
        first: The earliest span of this transaction.
        root: The earliest one without a parent. None if there is none.
        seen: The scope, status, size and end of each span of this transaction.
        replaced: Whether a span has taken the place of another one.
        longest_replaced: Whether the latest end may be one of a span that is no more.
    """

    spans: int
    errors: int
    size: int
    scope_size: int
    end: int
    is_new: bool
    shares: dict[int, _Share] = field(default_factory=dict)
    first: _Head | None = None
    root: _Head | None = None
    seen: dict[bytes, tuple[int, int, int, int]] = field(default_factory=dict)
    replaced: bool = False
    longest_replaced: bool = False


@dataclass(frozen=True, slots=True)
class Erased:
    """How much has been erased."""

    traces: int
    spans: int


class Transaction:
    """Spans on their way into the tables. The caller begins and commits the transaction of SQLite.

    Attributes:
        totals: How much the store holds once the transaction is committed.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        totals: Totals,
        vocabulary: Vocabulary,
        *,
        max_spans: int,
        max_bytes: int,
    ) -> None:
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self._execute_many: Callable[..., sqlite3.Cursor] = connection.executemany
        self._max_spans = max_spans
        self._max_bytes = max_bytes
        self._growths: dict[bytes, _Growth] = {}
        self.totals = replace(totals)
        self._words = Words()
        self._rows: list[tuple[Any, ...]] = []  # of spans, which go into their table together
        self._row_bytes = 0
        self._vocabulary = vocabulary
        self._scopes = Scopes(connection, self.totals, self._words)

    def insert(self, scope: ResourceScope, span: Span) -> str:
        """Insert a span, or replace the one that has the same ids.

        Returns:
            Why there is no room for the span, or an empty string.
        """
        trace_id, span_id = span.trace_id, span.span_id
        kept = self._scopes.look_up(scope)
        growth = self._growths.get(trace_id) or self._begin_growth(trace_id)
        proto = span.SerializeToString()
        name = span.name
        # The span's row repeats the name. The trace's row may have the name and the service twice.
        size = len(proto) + 3 * len(name) + 2 * len(kept.service) + _SPAN_OVERHEAD
        status = span.status.code
        start, end = span.start_time_unix_nano, span.end_time_unix_nano
        if start > _LARGEST_INTEGER or end > _LARGEST_INTEGER:
            start, end = min(start, _LARGEST_INTEGER), min(end, _LARGEST_INTEGER)
        old = self._find(trace_id, span_id, growth)
        if old is None and growth.spans >= self._max_spans:
            return f"trace {trace_id.hex()} has more spans than the viewer's --max-spans"
        is_first = not self._has_share(trace_id, growth, kept)
        more = size + (kept.size if is_first else 0) - (old[2] if old else 0)
        if growth.size + growth.scope_size + more > self._max_bytes:
            return f"trace {trace_id.hex()} has more bytes than the viewer's --max-bytes"
        if not kept.row:
            self._scopes.insert(kept)
        row = kept.row
        parent_id = span.parent_span_id
        is_root = not (parent_id and any(parent_id))
        self._rows.append(
            (trace_id, span_id, None if is_root else parent_id, row, name, span.kind, status, start, end, size, proto)
        )
        self._row_bytes += len(proto)
        self._words.add(span)
        growth.seen[span_id] = (row, status, size, end)
        head = ((start, span_id), kept.service, name)
        if growth.first is None or head[0] < growth.first[0]:
            growth.first = head
        if is_root and (growth.root is None or head[0] < growth.root[0]):
            growth.root = head
        if is_first:
            growth.scope_size += kept.size
        self._count(growth, row, 1, int(status == Status.STATUS_CODE_ERROR), size)
        if old is not None:
            growth.replaced = True
            growth.longest_replaced = growth.longest_replaced or (old[3] >= growth.end > end)
            self._count(growth, old[0], -1, -int(old[1] == Status.STATUS_CODE_ERROR), -old[2])
        growth.end = max(growth.end, end)
        if self._row_bytes > _LARGEST_ROWS:
            self._write_rows()
        return ""

    def finish(self) -> None:
        """Bring the summaries of all traces up to date. Delete the oldest traces while there is too much."""
        inserted = sum(len(growth.seen) for growth in self._growths.values())
        self._write_rows()
        for trace_id, growth in self._growths.items():
            if growth.shares:
                self._write_shares(trace_id, growth)
                self._write_trace(trace_id, growth)
        self.totals.size += self._vocabulary.take(self._words, inserted)
        while self.totals.spans > self._max_spans or self.totals.size > self._max_bytes:
            oldest = self._execute("SELECT trace_id, spans, bytes FROM traces ORDER BY arrival LIMIT 1").fetchone()
            if oldest is None:
                break
            self._delete(*oldest)

    def erase(self, trace_ids: Iterable[bytes]) -> Erased:
        """Delete traces, whatever else the store holds, and the words that only they had. Unknown traces are left out.

        SQLite overwrites what it deletes. Copies that it has made before stay in the file; see `Database.compact`.
        """
        self._execute("PRAGMA secure_delete = ON")
        before, stretches = replace(self.totals), set[int]()
        for trace_id in trace_ids:
            found = self._execute("SELECT spans, bytes FROM traces WHERE trace_id = ?", (trace_id,)).fetchone()
            if found is not None:
                stretches |= self._vocabulary.stretches_of(trace_id)
                self._delete(trace_id, *found)
        self.totals.size += self._vocabulary.rebuild(stretches)
        self.totals.arrival += 1  # what has been said of all traces does not hold any more
        return Erased(before.traces - self.totals.traces, before.spans - self.totals.spans)

    def _begin_growth(self, trace_id: bytes) -> _Growth:
        sql = 'SELECT spans, errors, bytes, scope_bytes, "end" FROM traces WHERE trace_id = ?'
        row = self._execute(sql, (trace_id,)).fetchone()
        spans, errors, size, scope_size, end = row or (0, 0, 0, 0, 0)
        growth = self._growths[trace_id] = _Growth(spans, errors, size, scope_size, end, is_new=row is None)
        return growth

    def _find(self, trace_id: bytes, span_id: bytes, growth: _Growth) -> tuple[int, int, int, int] | None:
        """Return the scope, status, size and end of a span that has the same ids."""
        found = growth.seen.get(span_id)
        if found is None and not growth.is_new:
            found = self._execute(
                'SELECT scope, status, bytes, "end" FROM spans WHERE trace_id = ? AND span_id = ?', (trace_id, span_id)
            ).fetchone()
        return found

    def _write_rows(self) -> None:
        self._execute_many("INSERT OR REPLACE INTO spans VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._rows)
        self._rows = []
        self._row_bytes = 0

    def _has_share(self, trace_id: bytes, growth: _Growth, kept: KeptScope) -> bool:
        row = kept.row
        if not row or growth.is_new or row in growth.shares:
            return row in growth.shares
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
        first, root = growth.first, growth.root
        if first is None or not growth.is_new or growth.replaced:
            first = self._read_head(trace_id, "")
            root = self._read_head(trace_id, "AND parent_id IS NULL")
        if first is None:
            return
        end = growth.end
        if growth.longest_replaced:
            (end,) = self._execute('SELECT max("end") FROM spans WHERE trace_id = ?', (trace_id,)).fetchone()
        start = first[0][0]
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
                *(_shown(root) if root else (None, None)),
                *_shown(first),
            ),
        )

    def _read_head(self, trace_id: bytes, condition: str) -> _Head | None:
        """Return the earliest span of a trace, of those that hold a condition."""
        found = self._execute(
            "SELECT spans.start, span_id, service, name FROM spans JOIN scopes ON scopes.id = spans.scope "  # noqa: S608
            f"JOIN resources ON resources.id = scopes.resource WHERE trace_id = ? {condition} "
            "ORDER BY start, span_id LIMIT 1",
            (trace_id,),
        ).fetchone()
        return ((found[0], found[1]), found[2], found[3]) if found else None

    def _delete(self, trace_id: bytes, spans: int, size: int) -> None:
        scopes = self._execute("SELECT scope FROM shares WHERE trace_id = ?", (trace_id,)).fetchall()
        for table in ("spans", "shares", "traces"):
            self._execute(f"DELETE FROM {table} WHERE trace_id = ?", (trace_id,))  # noqa: S608
        for (scope,) in scopes:
            self._scopes.delete_unused(scope)
        self.totals.traces -= 1
        self.totals.spans -= spans
        self.totals.size -= size


def _shown(head: _Head) -> tuple[str, str]:
    """Return the service and the name of a span, as long as lists show them."""
    return head[1], head[2][:_LONGEST_NAME]
