"""Spans in SQLite: one writer thread that commits in groups, readers that see what was acknowledged.

A span is kept as its OTLP bytes, so nothing of it is lost, beside the columns that lists and searches need. Resources
and scopes repeat on every request and are kept once, by content. Which spans of a trace came from where is counted in
``shares``. A trace's summary costs the same however large the trace is: counts change by what has arrived, and each
other fact is one look into an index; a span that is sent again takes the place of the first and counts once.

Nothing reads or writes much at a time: in memory readers and the writer share one connection, and whoever has it keeps
all others waiting. So every statement is bounded, in rows or by an `Effort`, and answers are made slice by slice.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData

from tracemw.viewer.database import Database, StoreError, remedy
from tracemw.viewer.effort import Effort
from tracemw.viewer.otlp import Batch, Origin
from tracemw.viewer.transaction import Totals, Transaction

DEFAULT_MAX_SPANS = 200_000
DEFAULT_MAX_BYTES = 256 * 1024 * 1024

_GROUP_BATCHES = 64  # how many waiting requests share one commit at most
_SPANS_AT_ONCE = 2_000  # of one commit, and of one look into spans
_TRACES_AT_ONCE = 200
_SLICE_BYTES = 256 * 1024  # of encoded spans that are held at a time
_SLICE_SPANS = 500
_SERVICES_TOLD = 1_000
_RESOURCE_BYTES = 8 * 1024 * 1024  # of decoded resources that a search remembers
_STEPS = 2_000  # of SQLite's machine between two looks at the effort

_Row = TypeVar("_Row")

_log = logging.getLogger("tracemw.viewer")


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

    trace_id: bytes
    span_id: bytes
    start: int
    end: int
    span: Span
    resource: Resource


@dataclass(frozen=True, slots=True)
class Sieve:
    """An SQL condition that every wanted row fulfils, and perhaps others do too.

    `Store.summaries` gives it the table ``traces``, `Store.candidates` also ``spans``, ``origins`` and ``resources``;
    columns are named with their table.
    """

    sql: str = "1"
    parameters: tuple[str | int | float | bytes, ...] = ()


class Store:
    """Spans in a SQLite file, or in memory when ``path`` is None; safe to use from any thread.

    A file that is deleted under it is created anew, with a line in the log; while another stands in its place, nothing
    is taken.

    Args:
        path: the database file, created if it is not there
        max_spans: when more spans than this are kept, the traces that were heard of longest ago go, each as a whole
        max_bytes: the same for their size, which is that of their encoding and what SQLite needs beside it

    Raises:
        StoreError: the file cannot be used
    """

    def __init__(
        self, path: Path | None = None, *, max_spans: int = DEFAULT_MAX_SPANS, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> None:
        self._path = path
        self.max_spans = max_spans
        self.max_bytes = max_bytes
        # SQLite in memory belongs to one connection: readers and the writer take turns. On a file readers have
        # connections of their own, and with a write-ahead log nobody waits.
        self._turn = threading.Lock()
        self._database, self._totals, self._arrival = self._opened()
        self._idle: queue.LifoQueue[tuple[Database, sqlite3.Connection]] = queue.LifoQueue()
        self._trouble = ""
        self._waiting: queue.SimpleQueue[tuple[Batch, Future[None]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="tracemw-viewer-writer", daemon=True)
        self._writer.start()

    def add(self, batch: Batch) -> Future[None]:
        """Hand over spans; the future is done when they are committed and every later read finds them.

        Spans that the store has no room for (more than ``max_spans`` or ``max_bytes`` of a single trace) are counted in
        the batch as rejected. The future fails with `StoreError` when the database cannot be written.
        """
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # from here on nobody can cancel what the writer will finish
        self._waiting.put((batch, done))
        return done

    def close(self) -> None:
        """Commit what was handed over and close the database."""
        self._waiting.put(None)
        self._writer.join()
        while not self._idle.empty():
            self._idle.get_nowait()[1].close()
        self._database.close()

    def totals(self) -> Totals:
        """How much there is."""
        return self._totals

    def services(self) -> list[str]:
        """The names of the first 1,000 services, in the order in which they were heard of."""
        sql = "SELECT service FROM resources GROUP BY service ORDER BY min(id) LIMIT ?"
        return [name for (name,) in self._rows(sql, (_SERVICES_TOLD,))]

    def trace(self, trace_id: bytes) -> Iterator[TracesData]:
        """A trace in slices of bounded size, grouped by resource and scope, each by start time; none if it is unknown.

        The encodings of all slices, one after the other, are the encoding of the whole.
        """
        # By `map`, as in `tempo`: a generator's variables would hold a slice for as long as its reader takes.
        return map(self._slice, _sliced(self._ordered(trace_id), size=lambda row: row[2]))

    def _slice(self, rows: list[tuple[int, int, int]]) -> TracesData:
        slice_ = _Slice(self)
        protos = self._protos([rowid for rowid, _, _ in rows])
        for rowid, origin, _ in rows:
            if rowid in protos:  # else it went while somebody was reading
                slice_.add(origin, protos[rowid])
        return slice_.traces

    def summaries(self, sieve: Sieve, effort: Effort | None = None) -> Iterator[Summary]:
        """The summaries of the traces that pass ``sieve``, newest first, read as they are asked for."""
        below: tuple[int, bytes] | None = None
        while True:
            rows = self._rows(
                f"SELECT start, trace_id, ({sieve.sql}) FROM traces "  # noqa: S608
                f"{'' if below is None else 'WHERE (start, trace_id) < (?, ?) '}"
                "ORDER BY start DESC, trace_id DESC LIMIT ?",
                (*sieve.parameters, *(below or ()), _TRACES_AT_ONCE),
                effort,
            )
            yield from self._summarized([trace_id for _, trace_id, passes in rows if passes], effort)
            if len(rows) < _TRACES_AT_ONCE:
                return
            below = rows[-1][:2]

    def candidates(
        self, traces: Iterable[Summary], sieve: Sieve, effort: Effort
    ) -> Iterator[tuple[list[Summary], Iterator[StoredSpan]]]:
        """Some traces at a time, in their order, and of these the spans that pass ``sieve``, in no order.

        Whoever stops early has not paid for the rest.
        """
        resources = _Resources(self)
        for some in _parts(traces):
            yield some, self._passing(some, sieve, effort, resources)

    def _passing(
        self, traces: list[Summary], sieve: Sieve, effort: Effort, resources: _Resources
    ) -> Iterator[StoredSpan]:
        limit = -1 if len(traces) > 1 else _SPANS_AT_ONCE  # several traces are small ones: see _parts
        after = b""
        while True:
            rows = self._rows(
                'SELECT spans.trace_id, span_id, spans.rowid, spans.start, spans."end", origin, spans.bytes, '  # noqa: S608
                f"({sieve.sql}) FROM spans JOIN origins ON origins.id = spans.origin "
                "JOIN resources ON resources.id = origins.resource JOIN traces ON traces.trace_id = spans.trace_id "
                f"WHERE spans.trace_id IN ({_marks(traces)}) AND span_id > ? ORDER BY spans.trace_id, span_id LIMIT ?",
                (*sieve.parameters, *(trace.trace_id for trace in traces), after, limit),
                effort,
            )
            for part in _sliced((row for row in rows if row[-1]), size=lambda row: row[-2]):
                protos = self._protos([row[2] for row in part], effort)
                for trace_id, span_id, rowid, start, end, origin, _, _ in part:
                    if rowid in protos:
                        span = Span.FromString(protos[rowid])
                        yield StoredSpan(trace_id, span_id, start, end, span, resources.of(origin))
                effort.check()
            if len(rows) != limit:
                return
            after = rows[-1][1]

    def _summarized(self, trace_ids: list[bytes], effort: Effort | None) -> list[Summary]:
        marks, parameters = _marks(trace_ids), tuple(trace_ids)
        services: dict[bytes, dict[str, tuple[int, int]]] = {trace_id: {} for trace_id in trace_ids}
        for trace_id, service, spans, errors in self._rows(
            "SELECT trace_id, service, sum(shares.spans), sum(shares.errors) FROM shares "  # noqa: S608
            "JOIN origins ON origins.id = shares.origin JOIN resources ON resources.id = origins.resource "
            f"WHERE trace_id IN ({marks}) GROUP BY trace_id, service ORDER BY trace_id, service",
            parameters,
            effort,
        ):
            services[trace_id][service] = (spans, errors)
        rows = self._rows(
            'SELECT trace_id, start, "end", duration, spans, errors, root_service, root_name, first_service, '  # noqa: S608
            f"first_name FROM traces WHERE trace_id IN ({marks}) ORDER BY start DESC, trace_id DESC",
            parameters,
            effort,
        )
        return [Summary(*(*row, services[row[0]])) for row in rows]

    def _ordered(self, trace_id: bytes) -> Iterator[tuple[int, int, int]]:
        """The row, origin and size of each span of a trace: by resource, by origin, and by start time."""
        spans_of: dict[int, tuple[array[int], array[int]]] = {}
        after = (-1, b"")
        while True:
            rows = self._rows(
                "SELECT rowid, origin, bytes, start, span_id FROM spans "
                "WHERE trace_id = ? AND (start, span_id) > (?, ?) ORDER BY start, span_id LIMIT ?",
                (trace_id, *after, _SPANS_AT_ONCE),
            )
            for rowid, origin, size, _, _ in rows:
                rowids, sizes = spans_of.setdefault(origin, (array("q"), array("q")))
                rowids.append(rowid)
                sizes.append(size)
            if len(rows) < _SPANS_AT_ONCE:
                break
            after = rows[-1][3:]
        origins_of: dict[int, list[int]] = {}
        for origin in spans_of:
            for (resource,) in self._rows("SELECT resource FROM origins WHERE id = ?", (origin,)):
                origins_of.setdefault(resource, []).append(origin)
        for origins in origins_of.values():
            for origin in origins:
                for rowid, size in zip(*spans_of[origin], strict=True):
                    yield rowid, origin, size

    def _protos(self, rowids: list[int], effort: Effort | None = None) -> dict[int, bytes]:
        sql = f"SELECT rowid, proto FROM spans WHERE rowid IN ({_marks(rowids)})"  # noqa: S608
        return dict(self._rows(sql, tuple(rowids), effort))

    def read_origin(self, origin: int) -> tuple[int, str, bytes] | None:
        """The number of an origin's resource, and its scope's schema URL and encoding; None when it has gone."""
        return next(iter(self._rows("SELECT resource, schema_url, proto FROM origins WHERE id = ?", (origin,))), None)

    def read_resource(self, resource: int) -> tuple[str, bytes]:
        """A resource's schema URL and encoding, empty when it has gone."""
        found = self._rows("SELECT schema_url, proto FROM resources WHERE id = ?", (resource,))
        return found[0] if found else ("", b"")

    def _rows(self, sql: str, parameters: tuple[Any, ...], effort: Effort | None = None) -> list[Any]:
        """Everything that a query finds. Whoever asks bounds it, since others may be waiting."""
        try:
            with self._reading() as connection:
                if effort is not None:
                    connection.set_progress_handler(effort.is_spent, _STEPS)
                try:
                    return connection.execute(sql, parameters).fetchall()
                finally:
                    connection.set_progress_handler(None, 0)
        except sqlite3.Error as error:
            if effort is not None:
                effort.check()
            raise StoreError(f"cannot read {self._path or 'memory'}: {error}; {remedy(error, self._path)}") from None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._path is None:
            with self._turn:
                yield self._database.writing
            return
        database, connection = self._connection()
        try:
            yield connection
        finally:
            self._idle.put((database, connection))

    def _connection(self) -> tuple[Database, sqlite3.Connection]:
        """A connection for one reader, to the file as it is now."""
        while True:
            try:
                database, connection = self._idle.get_nowait()
            except queue.Empty:
                database = self._database
                return database, database.connect()
            if database is self._database:
                return database, connection
            connection.close()  # to a file that has been deleted

    def _opened(self) -> tuple[Database, Totals, int]:
        database = Database(self._path)
        try:
            traces, spans, size, arrival = database.writing.execute(
                "SELECT count(*), coalesce(sum(spans), 0), coalesce(sum(bytes), 0), coalesce(max(arrival), 0) "
                "FROM traces"
            ).fetchone()
            for table in ("resources", "origins"):
                size += database.writing.execute(f"SELECT coalesce(sum(bytes), 0) FROM {table}").fetchone()[0]  # noqa: S608
        except sqlite3.Error as error:
            database.close()
            raise StoreError(f"cannot use {self._path}: {error}; {remedy(error, self._path)}") from None
        return database, Totals(traces, spans, size), arrival

    def _write(self) -> None:
        """The writer thread: what waits goes into one transaction, and is acknowledged after its commit."""
        open_for_more = True
        while open_for_more:
            group: list[tuple[Batch, Future[None]]] = []
            spans = 0
            while (
                open_for_more
                and len(group) < _GROUP_BATCHES
                and spans < _SPANS_AT_ONCE
                and (not group or not self._waiting.empty())
            ):
                item = self._waiting.get()
                if item is None:
                    open_for_more = False
                else:
                    group.append(item)
                    spans += len(item[0].spans)
            if group:
                self._commit(group)

    def _commit(self, group: list[tuple[Batch, Future[None]]]) -> None:
        try:
            self._keep(group)
        except Exception as error:  # the thread has to live on, and the senders have to be told
            failure = error
            if not isinstance(error, StoreError):
                text = f"cannot write {self._path or 'memory'}: {error}"
                failure = StoreError(
                    f"{text}; {remedy(error, self._path)}" if isinstance(error, sqlite3.Error) else text
                )
            self._tell(str(failure))
            for _, done in group:
                done.set_exception(failure)
            return
        self._tell("")
        for _, done in group:
            done.set_result(None)

    def _tell(self, trouble: str) -> None:
        """Log when spans cannot be taken any more, and when they can again: once each, not for each request."""
        if bool(trouble) != bool(self._trouble):
            _log.warning(trouble or "spans are taken again")
        self._trouble = trouble

    def _keep(self, group: list[tuple[Batch, Future[None]]]) -> None:
        self._find_file()
        spans = [(batch, origin, span) for batch, _ in group for origin, span in batch.spans]
        while True:
            rejected: list[tuple[Batch, str]] = []
            for part in _sliced(spans, size=lambda _: 0, count=_SPANS_AT_ONCE):
                rejected += self._transact(part)
            if not self._find_file():
                break
        for batch, reason in rejected:
            batch.reject(1, reason)

    def _find_file(self) -> bool:
        """Make sure that what is written can be found again; whether the file had to be created anew for that."""
        missing = self._database.missing()
        if not missing:
            return False
        if missing == "replaced":
            raise StoreError(
                f"cannot write {self._path}: another file stands in its place; "
                "start tracemw view again to use that one, or delete it to begin anew"
            )
        before = self._database
        self._database, self._totals, self._arrival = self._opened()
        before.close()
        _log.warning("%s was deleted, with all traces in it; the viewer goes on with a new one", self._path)
        return True

    def _transact(self, spans: list[tuple[Batch, Origin, Span]]) -> list[tuple[Batch, str]]:
        """Commit some spans; those for which there is no room, each with its batch and the reason."""
        with self._turn, self._database.writing as connection:
            transaction = Transaction(
                connection, self._totals, self._arrival, max_spans=self.max_spans, max_bytes=self.max_bytes
            )
            refused = [(batch, transaction.insert(origin, span)) for batch, origin, span in spans]
            transaction.finish()
        self._totals, self._arrival = transaction.totals, transaction.arrival
        return [(batch, reason) for batch, reason in refused if reason]


class _Resources:
    """Resources as a search needs them, decoded once as long as they are not too many."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_origin: dict[int, Resource] = {}
        self._bytes = 0

    def of(self, origin: int) -> Resource:
        """The resource of an origin, empty when it has gone."""
        resource = self._by_origin.get(origin)
        if resource is None:
            found = self._store.read_origin(origin)
            proto = self._store.read_resource(found[0])[1] if found else b""
            self._bytes += len(proto)
            if self._bytes > _RESOURCE_BYTES:
                self._by_origin.clear()
                self._bytes = len(proto)
            resource = self._by_origin[origin] = Resource.FromString(proto)
        return resource


class _Slice:
    """Some spans of a trace, put under their resources and scopes as they come."""

    def __init__(self, store: Store) -> None:
        self.traces = TracesData()
        self._store = store
        self._resource: tuple[int, ResourceSpans] | None = None
        self._origin: tuple[int, ScopeSpans] | None = None

    def add(self, origin: int, proto: bytes) -> None:
        """Add a span of an origin."""
        if self._origin is None or self._origin[0] != origin:
            resource, schema_url, scope = self._store.read_origin(origin) or (0, "", b"")
            if self._resource is None or self._resource[0] != resource:
                resource_schema_url, resource_proto = self._store.read_resource(resource)
                resource_spans = self.traces.resource_spans.add(
                    resource=Resource.FromString(resource_proto), schema_url=resource_schema_url
                )
                self._resource = (resource, resource_spans)
            scope_spans = self._resource[1].scope_spans.add(
                scope=InstrumentationScope.FromString(scope), schema_url=schema_url
            )
            self._origin = (origin, scope_spans)
        self._origin[1].spans.append(Span.FromString(proto))


def _parts(traces: Iterable[Summary]) -> Iterator[list[Summary]]:
    """Traces that are looked into at a time: many small ones, or a single larger one."""
    yield from _sliced(traces, size=lambda trace: trace.spans, most=_SPANS_AT_ONCE, count=_TRACES_AT_ONCE)


def _sliced(
    rows: Iterable[_Row], *, size: Callable[[_Row], int], most: int = _SLICE_BYTES, count: int = _SLICE_SPANS
) -> Iterator[list[_Row]]:
    """Rows in lists of ``count`` at most, each with ``most`` of their sizes together or a single row."""
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


def _marks(values: Sized) -> str:
    return ",".join("?" * len(values))
