"""The pool of an engine explains itself: who waits for a connection, who holds one, and who has lost one.

SQLAlchemy's events tell when a connection is given back, opened and detached. None tells when somebody begins to
wait. So `Pool.connect`, which is what engines call, is timed on the one pool object. An engine that is disposed of has
the pool make its successor.
"""

from __future__ import annotations

import sys
from time import monotonic_ns
from types import CodeType
from typing import Any, Final, NamedTuple, cast
from weakref import ref

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from sqlalchemy import exc
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

from tracemw._otel.application import CodeLine
from tracemw._otel.attributes import AttributeValue
from tracemw._otel.callers import calling_frame, calling_line
from tracemw._otel.clock import offset
from tracemw._otel.context import current_context, is_silenced, span_in
from tracemw._otel.guard import fault, guarded
from tracemw._otel.providers import TracerSource
from tracemw.sqlalchemy._calls import put_error
from tracemw.sqlalchemy._facts import EngineFacts
from tracemw.sqlalchemy._pool_metrics import PoolInstruments, PoolMeters

_MOST_SHOWN: Final = 3
"""Holders that a wait tells of: the oldest ones."""
_LEAKED: Final = "connection leaked"
"""The event of a connection that the garbage collector has given back, and the span of one that no other span tells."""
_OPENED: Final = "tracemw.opened"
"""The key in a connection's `info` of when it was opened, by the monotonic clock in nanoseconds."""


class Holder(ref[PoolProxiedConnection]):
    """Somebody who has taken a connection, and has not given it back. The connection itself is not kept alive."""

    __slots__ = ("code", "context", "instruction", "instruments", "record", "since")

    context: Context
    """The context in which the connection was taken."""
    code: CodeType | None
    """The application's code that took the connection."""
    instruction: int
    """Where in that code: a frame's `f_lasti`."""
    since: int
    """When that was, by the monotonic clock in nanoseconds."""
    instruments: PoolInstruments | None
    """The metrics of that time, if there are any."""
    record: ConnectionPoolEntry
    """The connection's place in the pool."""

    # Nearly all holders give their connection back, and nobody asks for these two.

    @property
    def line(self) -> CodeLine | None:
        """The line of the application's code that took the connection."""
        return None if self.code is None else CodeLine.at(self.code, self.instruction)

    @property
    def span(self) -> Span | None:
        """The span in which the connection was taken."""
        return span_in(self.context)

    @property
    def trace_id(self) -> str:
        """The id of the holder's trace as 32 hex digits; empty without one."""
        span = self.span
        context = None if span is None else span.get_span_context()
        return f"{context.trace_id:032x}" if context is not None and context.is_valid else ""


class _Crowd(NamedTuple):
    """A pool whose connections are taken, at the moment when somebody asks for one more."""

    holders: list[Holder]
    line: CodeLine | None
    """The line of the application's code that asks."""


class PoolTracing:
    """Watches the pool of one engine.

    Args:
        facts: What is known of the engine.
        tracers: The tracer in use.
        meters: The instruments in use.
        longest: Seconds from which a wait for a connection is a span.
    """

    def __init__(self, facts: EngineFacts, tracers: TracerSource, meters: PoolMeters, longest: float) -> None:
        self.name = facts.pool_name
        self.pool: Pool | None = None
        """The pool of now: an engine that is disposed of gets a new one."""
        self.pending = 0
        """How many wait for a connection now."""
        self._facts = facts
        self._tracers = tracers
        self._meters = meters
        self._longest = int(longest * 1e9)
        self._holders: dict[ConnectionPoolEntry, Holder] = {}

    @property
    def held(self) -> int:
        """How many connections are taken, and not given back."""
        return len(self._holders)

    def watch(self, pool: Pool) -> None:
        """Time the waits for connections of a pool."""
        self.pool = pool
        connect = pool.connect
        size = _number(pool, "size") or sys.maxsize  # a pool without a size lets nobody wait

        def timed() -> PoolProxiedConnection:
            began = monotonic_ns()
            # Those who hold connections now are who a wait is for: when it ends, one of them has left.
            crowd = self._look_around() if len(self._holders) >= size else None
            self.pending += 1
            try:
                connection = connect()
            except BaseException as error:
                self.pending -= 1
                self._failed(error, began, crowd)
                raise
            self.pending -= 1
            now = monotonic_ns()
            instruments = self._meters.get(self)
            self._taken(connection, now, instruments)
            if now - began >= self._longest:
                self._waited(connection, began, crowd)
            if instruments is not None:
                instruments.waited(self, now - began)
            return connection

        recreate = pool.recreate

        def recreated() -> Pool:
            new = recreate()
            self._replaced(new)
            return new

        pool.connect, pool.recreate = timed, recreated  # type: ignore[method-assign]

    @guarded
    def _look_around(self) -> _Crowd:
        """Note who holds connections, and who asks for one. Later, the stack of an asynchronous wait lacks frames."""
        return _Crowd(list(self._holders.values()), calling_line())

    @guarded
    def _replaced(self, new: Pool) -> None:
        """Watch the new pool of an engine that has been disposed of, perhaps after a fork."""
        self._holders.clear()  # those who hold connections of the former pool do not keep anybody waiting
        self.watch(new)

    # No listener for `checkout`: with one, SQLAlchemy takes a longer way, and that costs more than the holder.

    def _taken(self, connection: Any, now: int, instruments: PoolInstruments | None) -> None:
        """Note who has taken a connection at `now`, in nanoseconds of the monotonic clock."""
        try:
            record = connection._connection_record  # noqa: SLF001
            held = self._holders.get(record)
            if held is not None and held() is connection:  # a pool for threads lends a connection twice
                return
            holder = Holder(connection, self._lost)
            holder.context = current_context()
            frame = calling_frame()
            holder.code, holder.instruction = (None, 0) if frame is None else (frame.f_code, frame.f_lasti)
            holder.since = now
            holder.instruments = instruments
            holder.record = record
            self._holders[record] = holder
        except Exception as error:
            fault("sqlalchemy.PoolTracing._taken", error)

    # Listeners for the events of the pool.

    def given_back(self, _dbapi: Any, record: ConnectionPoolEntry) -> None:
        """Note that a connection is back (`checkin`), or has left the pool for good (`detach`)."""
        holder = self._holders.pop(record, None)
        if holder is not None and holder.instruments is not None:
            holder.instruments.used(self, monotonic_ns() - holder.since)

    @guarded
    def opening(self, _dialect: Any, record: ConnectionPoolEntry, _arguments: Any, _keywords: Any) -> None:
        """Note when a connection begins to be opened (`do_connect`)."""
        if record.record_info is not None:
            record.record_info[_OPENED] = monotonic_ns()

    @guarded
    def opened(self, _dbapi: Any, record: ConnectionPoolEntry) -> None:
        """Note that a connection is open (`connect`)."""
        now = monotonic_ns()
        record.info[_OPENED] = now
        began = None if record.record_info is None else record.record_info.pop(_OPENED, None)
        instruments = self._meters.get(self)
        if began is not None and instruments is not None:
            instruments.opened(self, now - began)

    @guarded
    def _lost(self, lost: ref[PoolProxiedConnection]) -> None:
        """Tell that the garbage collector gives a connection back, which the code has forgotten."""
        holder = cast("Holder", lost)
        if self._holders.get(holder.record) is not lost:
            return
        self.given_back(None, holder.record)
        told: dict[str, AttributeValue] = {
            "db.client.connection.pool.name": self.name,
            "tracemw.pool.held_for": (monotonic_ns() - holder.since) / 1e9,
        }
        if holder.trace_id:
            told["tracemw.pool.trace_id"] = holder.trace_id
        line = holder.line
        if line is not None:
            told |= line.attributes()
        for span in (holder.span, span_in(current_context())):  # that of whoever took it, or where it shows
            if span is not None and span.is_recording():
                span.add_event(_LEAKED, told)
                return
        self._tell_alone(holder, told)

    def _tell_alone(self, holder: Holder, told: dict[str, AttributeValue]) -> None:
        """Tell of a leak in a trace of its own: an ERROR, so that sampling keeps it."""
        tracer = self._tracers.get()
        if tracer is None:
            return
        holding = holder.span
        links = [] if holding is None else [Link(holding.get_span_context())]
        span = tracer.start_span(_LEAKED, Context(), SpanKind.INTERNAL, told, links)
        span.add_event(_LEAKED, told)
        span.set_status(StatusCode.ERROR)
        span.end()

    # The spans of waits.

    @guarded
    def _waited(self, connection: PoolProxiedConnection, began: int, crowd: _Crowd | None) -> None:
        """Record a long wait that has ended well."""
        is_new = connection.info.get(_OPENED, 0) >= began
        if crowd is None and not is_new:  # a connection was there, and the machine was busy
            return
        span = self._start("pool wait", SpanKind.INTERNAL, began, {})
        if span is not None:
            self._explain(span, "a new connection" if is_new else "a free connection", crowd)
            span.end()

    @guarded
    def _failed(self, error: BaseException, began: int, crowd: _Crowd | None) -> None:
        """Record a wait that has ended without a connection."""
        is_timeout = isinstance(error, exc.TimeoutError)
        instruments = self._meters.get(self)
        if is_timeout and instruments is not None:
            instruments.timed_out(self)
        if isinstance(error, Exception) and not is_timeout:
            span = self._start("connect", SpanKind.CLIENT, began, {**self._facts.attributes})
            original = getattr(error, "orig", None)
            error = original if isinstance(original, Exception) else error
        elif is_timeout or monotonic_ns() - began >= self._longest:  # otherwise, whoever asked was cancelled at once
            span = self._start("pool wait", SpanKind.INTERNAL, began, {})
            if span is not None:
                self._explain(span, "a free connection", crowd)
        else:
            return
        if span is not None:
            put_error(span, error, None if crowd is None else crowd.line)
            span.end()

    def _start(self, name: str, kind: SpanKind, began: int, attributes: dict[str, Any]) -> Span | None:
        here: Context = current_context()
        tracer = self._tracers.get()
        if tracer is None or is_silenced(here):
            return None
        return tracer.start_span(name, here, kind, attributes, None, began + offset())

    def _explain(self, span: Span, what: str, crowd: _Crowd | None) -> None:
        """Put on a span what a wait was for, and who held the connections when the wait began."""
        pool, now = self.pool, monotonic_ns()
        told: dict[str, Any] = {
            "db.client.connection.pool.name": self.name,
            "tracemw.pool.waited_for": what,
            "tracemw.pool.size": _number(pool, "size"),
            "tracemw.pool.overflow": max(_number(pool, "overflow"), 0),
            "tracemw.pool.held": self.held if crowd is None else len(crowd.holders),
        }
        if crowd is not None:
            oldest = sorted(crowd.holders, key=lambda holder: holder.since)[:_MOST_SHOWN]
            told["tracemw.pool.holders.trace_id"] = [holder.trace_id for holder in oldest]
            told["tracemw.pool.holders.age"] = [round((now - holder.since) / 1e9, 3) for holder in oldest]
            told["tracemw.pool.holders.line"] = [_shown(holder.line) for holder in oldest]
        for key, value in told.items():
            span.set_attribute(key, value)


def _shown(line: CodeLine | None) -> str:
    return "" if line is None else f"{line.path}:{line.number} in {line.function}"


def _number(pool: Pool | None, name: str) -> int:
    """Return what a pool says of itself; 0 for a pool without a size, such as `NullPool`."""
    value = getattr(pool, name, 0)
    return value() if callable(value) else int(value)
