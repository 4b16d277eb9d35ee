"""Spans in SQLite: one writer thread that commits in groups, readers that see what was acknowledged.

A span is kept as its OTLP bytes, so nothing of it is lost, beside the columns that lists and searches need. Resources
and scopes repeat on every request and are kept once, by content. A trace's summary is computed anew whenever spans of
it arrive, so a span that is sent twice counts once.
"""

from __future__ import annotations

import hashlib
import json
import queue
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from tracemw.viewer.otlp import Batch, Origin

DEFAULT_MAX_SPANS = 200_000

_APPLICATION_ID = 0x74_6D_77_76  # "tmwv", in the file's header
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE traces (
    trace_id BLOB PRIMARY KEY, arrival INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
    duration INTEGER NOT NULL, spans INTEGER NOT NULL, errors INTEGER NOT NULL,
    root_service TEXT, root_name TEXT, first_service TEXT NOT NULL, first_name TEXT NOT NULL, services TEXT NOT NULL
);
CREATE INDEX traces_by_start ON traces (start);
CREATE INDEX traces_by_arrival ON traces (arrival);
CREATE TABLE origins (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, service TEXT NOT NULL,
    resource BLOB NOT NULL, resource_schema_url TEXT NOT NULL, scope BLOB NOT NULL, scope_schema_url TEXT NOT NULL
);
CREATE TABLE spans (
    trace_id BLOB NOT NULL, span_id BLOB NOT NULL, parent_id BLOB, origin INTEGER NOT NULL,
    name TEXT NOT NULL, kind INTEGER NOT NULL, status INTEGER NOT NULL,
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, proto BLOB NOT NULL
);
CREATE UNIQUE INDEX spans_by_id ON spans (trace_id, span_id);
"""
_LARGEST_INTEGER = 2**63 - 1  # SQLite's integers are signed, OTLP's times are not
_BUSY_SECONDS = 5.0
_GROUP_BATCHES = 64  # how many waiting requests share one commit at most
_CANDIDATES = 50  # how many traces a search looks into at a time


class StoreError(Exception):
    """The store cannot be opened or written; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One trace in a list. Times are nanoseconds since the epoch.

    Attributes:
        root_service: the service of the root span, None while the root has not arrived
        root_name: the name of the root span, likewise
        first_service: the service of the earliest span, whatever its place
        first_name: the name of that span
        services: number of spans and number of failed spans by service
    """

    trace_id: bytes
    start: int
    end: int
    duration: int
    spans: int
    errors: int
    root_service: str | None
    root_name: str | None
    first_service: str
    first_name: str
    services: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """One span as a search sees it. Times are nanoseconds since the epoch, as far as SQLite can hold them."""

    span_id: bytes
    start: int
    end: int
    span: Span
    resource: Resource


@dataclass(frozen=True, slots=True)
class Sieve:
    """An SQL condition that every wanted row fulfils, and perhaps others do too.

    `Store.summaries` gives it the table ``traces``, `Store.candidates` also ``spans`` and ``origins``; columns are
    named with their table.
    """

    sql: str = "1"
    parameters: tuple[str | int | float | bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Totals:
    """How much the store holds, and how much it may hold."""

    traces: int
    spans: int
    max_spans: int


class Store:
    """Spans in a SQLite file, or in memory when ``path`` is None; safe to use from any thread.

    Args:
        path: the database file, created if it is not there
        max_spans: when more spans than this are kept, the traces that were heard of longest ago go, each as a whole

    Raises:
        StoreError: the file cannot be used
    """

    def __init__(self, path: Path | None = None, *, max_spans: int = DEFAULT_MAX_SPANS) -> None:
        self._path = path
        self._max_spans = max_spans
        self._writing = _open(path)
        # SQLite in memory belongs to one connection: readers and the writer take turns. On a file readers have
        # connections of their own, and with a write-ahead log nobody waits.
        self._turn = threading.Lock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._spans = _scalar(self._writing, "SELECT coalesce(sum(spans), 0) FROM traces")
        self._arrival = _scalar(self._writing, "SELECT coalesce(max(arrival), 0) FROM traces")
        self._pruned = 0
        self._waiting: queue.SimpleQueue[tuple[Batch, Future[None]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="tracemw-viewer-writer", daemon=True)
        self._writer.start()

    def add(self, batch: Batch) -> Future[None]:
        """Hand over spans; the future is done when they are committed and every later read finds them.

        Spans that the store has no room for (more than ``max_spans`` of a single trace) are counted in the batch as
        rejected. The future fails with `StoreError` when the database cannot be written.
        """
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # from here on nobody can cancel what the writer will finish
        self._waiting.put((batch, done))
        return done

    def close(self) -> None:
        """Commit what was handed over and close the database."""
        self._waiting.put(None)
        self._writer.join()
        for connection in (*self._readers, self._writing):
            connection.close()

    def totals(self) -> Totals:
        """How much there is."""
        with self._read() as connection:
            traces, spans = connection.execute("SELECT count(*), coalesce(sum(spans), 0) FROM traces").fetchone()
        return Totals(traces=traces, spans=spans, max_spans=self._max_spans)

    def services(self) -> list[str]:
        """The names of all services, in the order in which they were first heard of."""
        sql = "SELECT service FROM origins GROUP BY service ORDER BY min(id)"
        with self._read() as connection:
            return [name for (name,) in connection.execute(sql)]

    def trace(self, trace_id: bytes) -> TracesData:
        """All spans of a trace by start time, grouped by resource and scope; empty for an unknown trace."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT origins.id, resource, resource_schema_url, scope, scope_schema_url, proto FROM spans "
                "JOIN origins ON origins.id = spans.origin WHERE trace_id = ? ORDER BY start, span_id",
                (trace_id,),
            ).fetchall()
        return _grouped(rows)

    def summaries(self, sieve: Sieve, *, limit: int | None = None) -> list[Summary]:
        """The summaries of the traces that pass ``sieve``, newest first."""
        with self._read() as connection:
            rows = connection.execute(
                'SELECT trace_id, start, "end", duration, spans, errors, root_service, root_name, first_service, '  # noqa: S608
                f"first_name, services FROM traces WHERE {sieve.sql} ORDER BY start DESC, trace_id LIMIT ?",
                (*sieve.parameters, -1 if limit is None else limit),
            ).fetchall()
        return [Summary(*(*row[:-1], _services(row[-1]))) for row in rows]

    def candidates(self, traces: Iterable[Summary], sieve: Sieve) -> Iterator[tuple[Summary, list[StoredSpan]]]:
        """Of each trace the spans that pass ``sieve``, by start time; traces without any are left out.

        It reads some traces at a time, so whoever stops early has not paid for the rest.
        """
        resources: dict[int, Resource] = {}
        for part in _parts(list(traces), _CANDIDATES):
            marks = ",".join("?" * len(part))
            with self._read() as connection:
                rows = connection.execute(
                    'SELECT spans.trace_id, span_id, spans.start, spans."end", proto, origin, resource '  # noqa: S608
                    "FROM spans JOIN origins ON origins.id = spans.origin JOIN traces USING (trace_id) "
                    f"WHERE spans.trace_id IN ({marks}) AND ({sieve.sql}) ORDER BY spans.start, span_id",
                    (*(summary.trace_id for summary in part), *sieve.parameters),
                ).fetchall()
            found: dict[bytes, list[StoredSpan]] = {}
            for trace_id, span_id, start, end, proto, origin, resource in rows:
                if origin not in resources:
                    resources[origin] = Resource.FromString(resource)
                span = StoredSpan(span_id, start, end, Span.FromString(proto), resources[origin])
                found.setdefault(trace_id, []).append(span)
            for summary in part:
                if summary.trace_id in found:
                    yield summary, found[summary.trace_id]

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        if self._path is None:
            with self._turn:
                yield self._writing
            return
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _connect(self._path)
            self._readers.append(connection)
        yield connection

    def _write(self) -> None:
        """The writer thread: everything that waits goes into one transaction, and is acknowledged after its commit."""
        open_for_more = True
        while open_for_more:
            group: list[tuple[Batch, Future[None]]] = []
            while open_for_more and len(group) < _GROUP_BATCHES and (not group or not self._waiting.empty()):
                item = self._waiting.get()
                if item is None:
                    open_for_more = False
                else:
                    group.append(item)
            if group:
                self._commit(group)

    def _commit(self, group: list[tuple[Batch, Future[None]]]) -> None:
        try:
            with self._turn, self._writing:
                touched = {span.trace_id for batch, _ in group for _, span in batch.spans}
                spans = self._spans - self._count(touched)
                for batch, _ in group:
                    self._insert(batch)
                for trace_id in touched:
                    self._summarize(trace_id)
                spans += self._count(touched)
                spans -= self._prune(spans - self._max_spans)
        except Exception as error:  # the thread has to live on, and the senders have to be told
            failure = StoreError(f"cannot write {self._path or 'memory'}: {error}")
            for _, done in group:
                done.set_exception(failure)
            return
        self._spans = spans
        for _, done in group:
            done.set_result(None)

    def _count(self, trace_ids: Iterable[bytes]) -> int:
        count = 0
        for trace_id in trace_ids:
            row = self._writing.execute("SELECT spans FROM traces WHERE trace_id = ?", (trace_id,)).fetchone()
            count += row[0] if row else 0
        return count

    def _insert(self, batch: Batch) -> None:
        room: dict[bytes, int] = {}
        origins: dict[int, int] = {}
        for origin, span in batch.spans:
            if span.trace_id not in room:
                sql = "SELECT count(*) FROM spans WHERE trace_id = ?"
                room[span.trace_id] = self._max_spans - _scalar(self._writing, sql, (span.trace_id,))
            if room[span.trace_id] <= 0:
                batch.reject(1, f"trace {span.trace_id.hex()} has more spans than the viewer's --max-spans")
                continue
            room[span.trace_id] -= 1
            if id(origin) not in origins:
                origins[id(origin)] = self._origin(origin)
            self._writing.execute(
                "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    span.trace_id,
                    span.span_id,
                    span.parent_span_id if any(span.parent_span_id) else None,
                    origins[id(origin)],
                    span.name,
                    span.kind,
                    span.status.code,
                    min(span.start_time_unix_nano, _LARGEST_INTEGER),
                    min(span.end_time_unix_nano, _LARGEST_INTEGER),
                    span.SerializeToString(),
                ),
            )

    def _origin(self, origin: Origin) -> int:
        values = (
            origin.resource.SerializeToString(deterministic=True),
            origin.resource_schema_url,
            origin.scope.SerializeToString(deterministic=True),
            origin.scope_schema_url,
        )
        digest = hashlib.sha256(repr(values).encode()).digest()
        self._writing.execute(
            "INSERT OR IGNORE INTO origins VALUES (NULL, ?, ?, ?, ?, ?, ?)",
            (digest, service_name(origin.resource), *values),
        )
        return _scalar(self._writing, "SELECT id FROM origins WHERE digest = ?", (digest,))

    def _summarize(self, trace_id: bytes) -> None:
        rows = self._writing.execute(
            'SELECT service, count(*), sum(status = ?), min(start), max("end") FROM spans '
            "JOIN origins ON origins.id = spans.origin WHERE trace_id = ? GROUP BY service ORDER BY service",
            (Status.STATUS_CODE_ERROR, trace_id),
        ).fetchall()
        # The root is the earliest span without a parent, if there is one yet; the first span stands in for it.
        first = self._writing.execute(
            "SELECT service, name FROM spans JOIN origins ON origins.id = spans.origin WHERE trace_id = ? "
            "ORDER BY start, span_id LIMIT 1",
            (trace_id,),
        ).fetchone()
        root = self._writing.execute(
            "SELECT service, name FROM spans JOIN origins ON origins.id = spans.origin WHERE trace_id = ? "
            "AND parent_id IS NULL ORDER BY start, span_id LIMIT 1",
            (trace_id,),
        ).fetchone()
        start, end = min(row[3] for row in rows), max(row[4] for row in rows)
        self._arrival += 1
        self._writing.execute(
            "INSERT OR REPLACE INTO traces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                trace_id,
                self._arrival,
                start,
                end,
                max(end - start, 0),
                sum(row[1] for row in rows),
                sum(row[2] for row in rows),
                *(root or (None, None)),
                *first,
                json.dumps({service: [spans, errors] for service, spans, errors, *_ in rows}, ensure_ascii=False),
            ),
        )

    def _prune(self, excess: int) -> int:
        """Delete whole traces, those heard of longest ago first, until ``excess`` spans are gone."""
        gone = 0
        while gone < excess:
            oldest = self._writing.execute("SELECT trace_id, spans FROM traces ORDER BY arrival LIMIT 1").fetchone()
            if oldest is None:  # another process works on the same file
                break
            trace_id, spans = oldest
            self._writing.execute("DELETE FROM spans WHERE trace_id = ?", (trace_id,))
            self._writing.execute("DELETE FROM traces WHERE trace_id = ?", (trace_id,))
            gone += spans
        self._pruned += gone
        if self._pruned > self._max_spans // 10:
            # Looking for origins without spans reads every span, so it is done once in a while.
            self._writing.execute("DELETE FROM origins WHERE id NOT IN (SELECT origin FROM spans)")
            self._pruned = 0
        return gone


def service_name(resource: Resource) -> str:
    """The resource's ``service.name``, or what the specification says to put in its place."""
    for attribute in resource.attributes:
        if attribute.key == "service.name" and attribute.value.string_value:
            return str(attribute.value.string_value)
    return "unknown_service"


def _grouped(rows: Iterable[tuple[int, bytes, str, bytes, str, bytes]]) -> TracesData:
    traces = TracesData()
    by_resource: dict[tuple[bytes, str], ResourceSpans] = {}
    by_origin: dict[int, ScopeSpans] = {}
    for origin, resource, resource_schema_url, scope, scope_schema_url, proto in rows:
        if origin not in by_origin:
            key = (resource, resource_schema_url)
            if key not in by_resource:
                by_resource[key] = traces.resource_spans.add(
                    resource=Resource.FromString(resource), schema_url=resource_schema_url
                )
            by_origin[origin] = by_resource[key].scope_spans.add(
                scope=InstrumentationScope.FromString(scope), schema_url=scope_schema_url
            )
        by_origin[origin].spans.append(Span.FromString(proto))
    return traces


def _services(text: str) -> dict[str, tuple[int, int]]:
    return {service: (spans, errors) for service, (spans, errors) in json.loads(text).items()}


def _parts(items: list[Summary], size: int) -> Iterator[list[Summary]]:
    for index in range(0, len(items), size):
        yield items[index : index + size]


def _scalar(connection: sqlite3.Connection, sql: str, parameters: tuple[bytes, ...] = ()) -> int:
    value: int = connection.execute(sql, parameters).fetchone()[0]
    return value


def _connect(path: Path | None) -> sqlite3.Connection:
    # Only the writer thread writes, and readers in memory take turns with it, so no connection is used by two at once.
    return sqlite3.connect(path or ":memory:", timeout=_BUSY_SECONDS, check_same_thread=False)


def _open(path: Path | None) -> sqlite3.Connection:
    """Open the database for writing, creating the schema in a new one; a file of another program stays untouched."""
    if path is not None and not path.parent.is_dir():
        raise StoreError(f"cannot open {path}: there is no directory {path.parent}; create it or choose another --db")
    if path is not None and path.is_dir():
        raise StoreError(f"cannot open {path}: it is a directory; name a file with --db")
    try:
        connection = _connect(path)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        remedy = "choose another file with --db, or give this one write permission"
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            remedy = "choose another file with --db; this one is left as it is"
        raise StoreError(f"cannot open {path}: {error}; {remedy}") from None
    return connection


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    application = _scalar(connection, "PRAGMA application_id")
    version = _scalar(connection, "PRAGMA user_version")
    empty = not _scalar(connection, "SELECT count(*) FROM sqlite_master")
    if not empty and (application, version) != (_APPLICATION_ID, _SCHEMA_VERSION):
        whose = "another version of tracemw" if application == _APPLICATION_ID else "another program"
        raise StoreError(f"cannot use {path}: it is a database of {whose}; choose another file with --db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # with a write-ahead log: a power cut loses the last, no more
    # Take the write lock now, so that a file that cannot be written is found at the start and not at the first span.
    connection.execute("BEGIN IMMEDIATE")
    if empty:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    connection.commit()
