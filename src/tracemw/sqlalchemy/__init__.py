"""The door for SQLAlchemy: `engine = trace_engine(create_engine(...))`, and the same with an asynchronous engine.

Each statement gets a CLIENT span, named by its summary: `SELECT orders customers`. Its text has no literals, and its
parameters are not recorded. Statements that only steer a transaction have no span unless they fail or are slow. The
pool explains itself: a long wait for a connection is a span, which tells who holds the connections.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

try:
    from sqlalchemy import event
    from sqlalchemy.engine import Dialect, Engine
except ImportError as error:
    raise ImportError("tracemw.sqlalchemy needs SQLAlchemy: pip install 'tracemw[sqlalchemy]'") from error

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tracemw._otel.guard import represented
from tracemw._otel.providers import TracerSource
from tracemw.sqlalchemy._calls import CallTracing
from tracemw.sqlalchemy._facts import EngineFacts
from tracemw.sqlalchemy._pool import PoolTracing
from tracemw.sqlalchemy._pool_metrics import PoolMeters

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

E = TypeVar("E", bound="Engine | AsyncEngine")

_traced: Final[WeakSet[Dialect]] = WeakSet()
"""The dialects of the engines that are traced. An engine with options of its own shares the dialect."""


def trace_engine(
    engine: E,
    *,
    pool_wait: float = 0.01,
    slow: float = 0.1,
    repeats: int = 5,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> E:
    """Trace the statements of an engine and the waits for its pool, and return the engine.

    An engine that is traced already stays as it is. Official instrumentations beside this one add no second span to a
    statement: that of a driver makes none, and if that of SQLAlchemy traces the engine, too, the spans are its own.

    Args:
        engine: An `Engine` or an `AsyncEngine`.
        pool_wait: Seconds from which a wait for a connection is a span, `pool wait`.
        slow: Seconds from which a statement's span tells the line of the application's code that has executed it, and
            from which a COMMIT or its like has a span.
        repeats: The execution of one statement under one parent span from which on its spans tell that line, too.
        tracer_provider: Use this provider in place of the global one.
        meter_provider: Use this provider in place of the global one, for the metrics of the pool.

    Raises:
        TypeError: for what is no engine, and for an option of the wrong type.
        ValueError: for an option out of its range.
    """
    of_sync: Any = getattr(engine, "sync_engine", engine)
    if not isinstance(of_sync, Engine):
        raise TypeError(f"trace_engine takes an Engine or an AsyncEngine of SQLAlchemy, not {represented(engine)}")
    _require_seconds("pool_wait", pool_wait)
    _require_seconds("slow", slow)
    if isinstance(repeats, bool) or not isinstance(repeats, int):
        raise TypeError(f"repeats takes a whole number, not {represented(repeats)}")
    if repeats < 1:
        raise ValueError(f"repeats={repeats} is not accepted; use 1, which has every statement tell its line, or more")
    if of_sync.dialect in _traced:
        return engine
    facts = EngineFacts(of_sync)
    tracers = TracerSource(tracer_provider)
    calls = CallTracing(facts, tracers, slow, repeats)
    calls.watch(of_sync.dialect)
    event.listen(of_sync, "handle_error", calls.failed_later)
    pool = PoolTracing(facts, tracers, PoolMeters(meter_provider), pool_wait)
    event.listen(of_sync, "do_connect", pool.opening)
    event.listen(of_sync, "connect", pool.opened)
    event.listen(of_sync, "checkin", pool.given_back)
    event.listen(of_sync, "detach", pool.given_back)
    pool.watch(of_sync.pool)
    _traced.add(of_sync.dialect)
    return engine


def _require_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} takes seconds, not {represented(value)}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}={value!r} is not accepted; use a number of seconds from 0 up")
