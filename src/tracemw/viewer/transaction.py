"""What one transaction makes of the store: spans go in, their traces' summaries follow, the oldest traces make room."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass, field, replace

from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tracemw.viewer.otlp import Origin

_LARGEST_INTEGER = 2**63 - 1  # SQLite's integers are signed, OTLP's times are not
_LONGEST_SERVICE = 200  # characters in lists; the resource keeps them all
_LONGEST_NAME = 1000  # likewise of a trace's name in lists
_SPAN_OVERHEAD = 250  # bytes that a span costs beside its encoding: its columns, and its place in the indexes
_SOURCE_OVERHEAD = 200


@dataclass(slots=True)
class Totals:
    """How much the store holds; ``size`` is the bytes of spans, resources and scopes."""

    traces: int
    spans: int
    size: int


@dataclass(slots=True)
class _Source:
    """A resource or a scope as its table has it; ``row`` is 0 while it is not there."""

    table: str
    digest: bytes
    schema_url: str
    proto: bytes
    row: int

    @property
    def size(self) -> int:
        return len(self.proto) + len(self.schema_url) + _SOURCE_OVERHEAD


@dataclass(frozen=True, slots=True)
class _Origin:
    """An origin that spans of this transaction have; ``message`` keeps alive what it is known by."""

    message: Origin
    service: str
    resource: _Source
    scope: _Source

    @property
    def size(self) -> int:
        return self.resource.size + self.scope.size


@dataclass(slots=True)
class _Share:
    """By how much the spans of one trace from one origin become more."""

    spans: int = 0
    errors: int = 0


@dataclass(slots=True)
class _Growth:
    """One trace's counts as they become; ``shares`` are known by their origin's row."""

    spans: int
    errors: int
    size: int
    origin_size: int
    is_new: bool
    shares: dict[int, _Share] = field(default_factory=dict)


class Transaction:
    """Spans on their way into the tables, within one transaction of SQLite that the caller begins and commits.

    Attributes:
        totals: how much the store holds when this is committed
        arrival: the number of the latest change of a trace, likewise
    """

    def __init__(
        self, connection: sqlite3.Connection, totals: Totals, arrival: int, *, max_spans: int, max_bytes: int
    ) -> None:
        self._execute = connection.execute
        self._max_spans = max_spans
        self._max_bytes = max_bytes
        self._growths: dict[bytes, _Growth] = {}
        self._origins: dict[int, _Origin] = {}  # by identity
        self._resources: dict[int, _Source] = {}  # likewise
        self._sources: dict[bytes, _Source] = {}  # by digest: a request may hold the same one many times
        self.totals = replace(totals)
        self.arrival = arrival

    def insert(self, origin: Origin, span: Span) -> str:
        """Insert a span, or put it in the place of the one with its ids; empty, or why there is no room for it."""
        source = self._origins.get(id(origin)) or self._origin(origin)
        growth = self._growths.get(span.trace_id) or self._growth(span.trace_id)
        proto = span.SerializeToString()
        # Its name and its service may stand in the trace's row as well.
        size = len(proto) + 3 * len(span.name) + 2 * len(source.service) + _SPAN_OVERHEAD
        failed = span.status.code == Status.STATUS_CODE_ERROR
        old: tuple[int, int, int] | None = self._execute(
            "SELECT origin, status, bytes FROM spans WHERE trace_id = ? AND span_id = ?", (span.trace_id, span.span_id)
        ).fetchone()
        if old is None and growth.spans >= self._max_spans:
            return f"trace {span.trace_id.hex()} has more spans than the viewer's --max-spans"
        is_first = not self._has_share(span.trace_id, growth, source)
        more = size + (source.size if is_first else 0) - (old[2] if old else 0)
        if growth.size + growth.origin_size + more > self._max_bytes:
            return f"trace {span.trace_id.hex()} has more bytes than the viewer's --max-bytes"
        if not source.scope.row:
            self._insert_origin(source)
        self._execute(
            "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                span.trace_id,
                span.span_id,
                span.parent_span_id if any(span.parent_span_id) else None,
                source.scope.row,
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
            growth.origin_size += source.size
        self._count(growth, source.scope.row, 1, int(failed), size)
        if old is not None:
            self._count(growth, old[0], -1, -int(old[1] == Status.STATUS_CODE_ERROR), -old[2])
        return ""

    def finish(self) -> None:
        """Bring the summaries of all traces up to date, and delete the oldest ones when there is too much."""
        for trace_id, growth in self._growths.items():
            if growth.shares:
                self._write_shares(trace_id, growth)
                self._write_trace(trace_id, growth)
        while self.totals.spans > self._max_spans or self.totals.size > self._max_bytes:
            oldest = self._execute("SELECT trace_id, spans, bytes FROM traces ORDER BY arrival LIMIT 1").fetchone()
            if oldest is None:
                break
            self._delete(*oldest)

    def _origin(self, origin: Origin) -> _Origin:
        resource = self._resources.get(id(origin.resource))
        if resource is None:
            proto = origin.resource.SerializeToString(deterministic=True)
            resource = self._source("resources", proto, origin.resource_schema_url)
            self._resources[id(origin.resource)] = resource
        proto = origin.scope.SerializeToString(deterministic=True)
        scope = self._source("origins", proto, origin.scope_schema_url, within=resource.digest)
        found = self._origins[id(origin)] = _Origin(origin, service_name(origin.resource), resource, scope)
        return found

    def _source(self, table: str, proto: bytes, schema_url: str, within: bytes = b"") -> _Source:
        url = schema_url.encode()
        digest = hashlib.sha256(b"%b%d:%b%b" % (within, len(url), url, proto)).digest()
        source = self._sources.get(digest)
        if source is None:
            row = self._execute(f"SELECT id FROM {table} WHERE digest = ?", (digest,)).fetchone()  # noqa: S608
            source = self._sources[digest] = _Source(table, digest, schema_url, proto, row[0] if row else 0)
        return source

    def _insert_origin(self, origin: _Origin) -> None:
        """Insert an origin's scope and, unless another scope has done so, its resource."""
        if not origin.resource.row:
            self._insert_source(origin.resource, origin.service)
        self._insert_source(origin.scope, origin.resource.row)

    def _insert_source(self, source: _Source, belongs_to: str | int) -> None:
        """Insert a resource, which belongs to a service, or a scope, which belongs to a resource."""
        self._execute(
            f"INSERT INTO {source.table} VALUES (NULL, ?, ?, ?, ?, ?)",  # noqa: S608
            (source.digest, belongs_to, source.size, source.schema_url, source.proto),
        )
        (source.row,) = self._execute("SELECT last_insert_rowid()").fetchone()
        self.totals.size += source.size

    def _growth(self, trace_id: bytes) -> _Growth:
        sql = "SELECT spans, errors, bytes, origin_bytes FROM traces WHERE trace_id = ?"
        row = self._execute(sql, (trace_id,)).fetchone()
        spans, errors, size, origin_size = row or (0, 0, 0, 0)
        growth = self._growths[trace_id] = _Growth(spans, errors, size, origin_size, is_new=row is None)
        return growth

    def _has_share(self, trace_id: bytes, growth: _Growth, source: _Origin) -> bool:
        row = source.scope.row
        if not row or row in growth.shares:
            return bool(row)
        sql = "SELECT 1 FROM shares WHERE trace_id = ? AND origin = ?"
        return self._execute(sql, (trace_id, row)).fetchone() is not None

    def _count(self, growth: _Growth, origin: int, spans: int, errors: int, size: int) -> None:
        growth.spans += spans
        growth.errors += errors
        growth.size += size
        share = growth.shares.setdefault(origin, _Share())
        share.spans += spans
        share.errors += errors
        self.totals.spans += spans
        self.totals.size += size

    def _write_shares(self, trace_id: bytes, growth: _Growth) -> None:
        for origin, share in growth.shares.items():
            self._execute(
                "INSERT INTO shares VALUES (?, ?, ?, ?) ON CONFLICT (trace_id, origin) DO UPDATE SET "
                "spans = spans + excluded.spans, errors = errors + excluded.errors",
                (trace_id, origin, share.spans, share.errors),
            )
            if share.spans <= 0:  # spans may have moved to another origin
                gone = self._execute(
                    "DELETE FROM shares WHERE trace_id = ? AND origin = ? AND spans = 0", (trace_id, origin)
                ).rowcount
                if gone:
                    growth.origin_size -= self._origin_size(origin)
                    self._delete_unused(origin)

    def _write_trace(self, trace_id: bytes, growth: _Growth) -> None:
        # The root is the earliest span without a parent, if there is one yet; the first span stands in for it.
        earliest = (
            "SELECT spans.start, service, substr(name, 1, ?) FROM spans JOIN origins ON origins.id = spans.origin "
            "JOIN resources ON resources.id = origins.resource WHERE trace_id = ? {} ORDER BY start, span_id LIMIT 1"
        )
        start, *first = self._execute(earliest.format(""), (_LONGEST_NAME, trace_id)).fetchone()
        _, *root = self._execute(earliest.format("AND parent_id IS NULL"), (_LONGEST_NAME, trace_id)).fetchone() or (
            None,
            None,
            None,
        )
        (end,) = self._execute('SELECT max("end") FROM spans WHERE trace_id = ?', (trace_id,)).fetchone()
        self.arrival += 1
        self.totals.traces += growth.is_new
        self._execute(
            "INSERT OR REPLACE INTO traces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                trace_id,
                self.arrival,
                start,
                end,
                max(end - start, 0),
                growth.spans,
                growth.errors,
                growth.size,
                growth.origin_size,
                *root,
                *first,
            ),
        )

    def _delete(self, trace_id: bytes, spans: int, size: int) -> None:
        origins = self._execute("SELECT origin FROM shares WHERE trace_id = ?", (trace_id,)).fetchall()
        for table in ("spans", "shares", "traces"):
            self._execute(f"DELETE FROM {table} WHERE trace_id = ?", (trace_id,))  # noqa: S608
        for (origin,) in origins:
            self._delete_unused(origin)
        self.totals.traces -= 1
        self.totals.spans -= spans
        self.totals.size -= size

    def _delete_unused(self, origin: int) -> None:
        """Delete an origin that no trace has a share of, and its resource when that was the last one of it."""
        if self._execute("SELECT 1 FROM shares WHERE origin = ? LIMIT 1", (origin,)).fetchone():
            return
        resource, size = self._execute("SELECT resource, bytes FROM origins WHERE id = ?", (origin,)).fetchone()
        self._execute("DELETE FROM origins WHERE id = ?", (origin,))
        self.totals.size -= size
        if self._execute("SELECT 1 FROM origins WHERE resource = ? LIMIT 1", (resource,)).fetchone():
            return
        (size,) = self._execute("SELECT bytes FROM resources WHERE id = ?", (resource,)).fetchone()
        self._execute("DELETE FROM resources WHERE id = ?", (resource,))
        self.totals.size -= size

    def _origin_size(self, origin: int) -> int:
        size: int = self._execute(
            "SELECT origins.bytes + resources.bytes FROM origins JOIN resources ON resources.id = origins.resource "
            "WHERE origins.id = ?",
            (origin,),
        ).fetchone()[0]
        return size


def service_name(resource: Resource) -> str:
    """The resource's ``service.name`` for lists, or what the specification says to put in its place."""
    for attribute in resource.attributes:
        if attribute.key == "service.name" and attribute.value.string_value:
            return str(attribute.value.string_value)[:_LONGEST_SERVICE]
    return "unknown_service"
