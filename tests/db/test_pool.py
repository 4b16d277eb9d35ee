"""The pool explains itself: who waits, who holds, who has lost a connection; and its metrics."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import OperationalError, TimeoutError  # noqa: A004  SQLAlchemy's own
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

import tracemw
from conftest import Meters, Recorded
from servers import wait_until
from tracemw.sqlalchemy import trace_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine with a pool of two, which are open already."""
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db", pool_size=2, max_overflow=0, pool_timeout=0.15)
    trace_engine(engine, pool_wait=0.05, slow=5.0)
    for connection in [engine.connect(), engine.connect()]:
        connection.close()
    yield engine
    engine.dispose()


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def line_of(function: Callable[..., Any], ending: str) -> str:
    """The line of a function that ends so, as a wait tells it."""
    lines, first = inspect.getsourcelines(function)
    number = next(first + index for index, line in enumerate(lines) if line.rstrip().endswith(ending))
    return f"{__file__}:{number} in {function.__qualname__}"


forgotten: list[Any] = []


def forget(engine: Engine) -> None:
    with tracemw.span("the leaking request"):
        forgotten.append(engine.connect())  # taken here


def test_a_wait_that_times_out_names_the_line_of_each_holder(engine: Engine, recorded: Recorded) -> None:
    forget(engine)
    forget(engine)
    leaking = recorded.all
    with tracemw.span("the waiting request"), pytest.raises(TimeoutError):
        engine.connect()
    forgotten.clear()
    wait = recorded.named("pool wait")
    found = told(wait)
    assert wait.kind is SpanKind.INTERNAL
    assert wait.status.status_code is StatusCode.ERROR
    assert found["error.type"] == "sqlalchemy.exc.TimeoutError"
    assert found["tracemw.pool.waited_for"] == "a free connection"
    assert (found["tracemw.pool.size"], found["tracemw.pool.overflow"], found["tracemw.pool.held"]) == (2, 0, 2)
    assert found["tracemw.pool.holders.line"] == (line_of(forget, "# taken here"),) * 2
    traces = tuple(f"{span.context.trace_id:032x}" for span in leaking if span.context is not None)
    assert found["tracemw.pool.holders.trace_id"] == traces
    assert all(age >= 0.15 for age in found["tracemw.pool.holders.age"])
    waiting = recorded.named("the waiting request")
    assert wait.parent is not None
    assert waiting.context is not None
    assert wait.parent.span_id == waiting.context.span_id
    assert wait.end_time is not None
    assert wait.start_time is not None
    assert wait.end_time - wait.start_time >= 150_000_000


def test_a_long_wait_that_ends_well_tells_the_three_oldest_holders(tmp_path: Path, recorded: Recorded) -> None:
    engine = trace_engine(
        create_engine(f"sqlite:///{tmp_path}/a.db", pool_size=3, max_overflow=1), pool_wait=0.05, slow=5.0
    )
    held = [engine.connect() for _ in range(4)]
    recorded.clear()
    begun, has_waited = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        engine.connect().close()
        has_waited.set()

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    assert not has_waited.wait(0.1)
    held.pop(0).close()
    thread.join()
    for each in held:
        each.close()
    engine.dispose()
    (wait_span,) = recorded.all
    found = told(wait_span)
    assert wait_span.status.status_code is StatusCode.UNSET
    assert (found["tracemw.pool.size"], found["tracemw.pool.overflow"], found["tracemw.pool.held"]) == (3, 1, 4)
    assert len(found["tracemw.pool.holders.line"]) == 3
    assert list(found["tracemw.pool.holders.age"]) == sorted(found["tracemw.pool.holders.age"], reverse=True)
    assert found["tracemw.pool.holders.trace_id"] == ("", "", "")


def test_a_short_wait_makes_no_span(engine: Engine, recorded: Recorded) -> None:
    for _ in range(10):
        engine.connect().close()
    assert recorded.all == []


def test_a_wait_for_a_new_connection_says_so(tmp_path: Path, recorded: Recorded) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    trace_engine(engine, pool_wait=0.0, slow=5.0)
    engine.connect().close()
    engine.connect().close()  # there is one that is free
    engine.dispose()
    engine.connect().close()  # of the new pool
    engine.dispose()
    assert [told(span)["tracemw.pool.waited_for"] for span in recorded.all] == ["a new connection"] * 2


def test_a_connection_that_cannot_be_opened_is_an_error_with_the_server(recorded: Recorded) -> None:
    engine = trace_engine(create_engine("postgresql+psycopg://ada:secret@127.0.0.1:1/shop"))
    with pytest.raises(OperationalError):
        engine.connect()
    (span,) = recorded.all
    assert (span.name, span.kind, span.status.status_code) == ("connect", SpanKind.CLIENT, StatusCode.ERROR)
    found = told(span)
    assert (found["server.address"], found["server.port"], found["db.namespace"]) == ("127.0.0.1", 1, "shop")
    assert found["error.type"] == "psycopg.OperationalError"
    assert "secret" not in str(found)


def test_a_connection_that_the_garbage_collector_gives_back_is_an_event_with_the_line(
    engine: Engine, recorded: Recorded
) -> None:
    def leak() -> None:
        connection = engine.connect()  # leaked
        connection.execute(text("SELECT 1"))

    with tracemw.span("request"):
        leak()
        gc.collect()
    (span,) = recorded.all
    (leaked,) = span.events
    assert leaked.name == "connection leaked"
    assert leaked.attributes is not None
    path, number, function = (
        leaked.attributes[f"code.{name}"] for name in ("file.path", "line.number", "function.name")
    )
    assert f"{path!s}:{number!s} in {function!s}" == line_of(leak, "# leaked")
    for connection in [engine.connect(), engine.connect()]:  # none is lost
        connection.close()


@pytest.mark.parametrize("has_taker", [True, False])
def test_a_leak_that_shows_outside_of_all_spans_is_an_error_of_its_own(
    engine: Engine, recorded: Recorded, has_taker: bool
) -> None:
    def leak() -> Any:
        return engine.connect()  # leaked

    if has_taker:
        with tracemw.span("request"):
            connection = leak()
    else:
        connection = leak()
    taker = recorded.all
    recorded.clear()
    del connection
    gc.collect()
    (span,) = recorded.all
    assert (span.name, span.parent, span.status.status_code) == ("connection leaked", None, StatusCode.ERROR)
    assert [event.name for event in span.events] == ["connection leaked"]
    assert told(span)["code.function.name"] == leak.__qualname__
    assert told(span).get("tracemw.pool.trace_id") == (f"{taker[0].context.trace_id:032x}" if has_taker else None)
    assert [link.context.span_id for link in span.links] == [each.context.span_id for each in taker]


def test_a_connection_that_is_given_back_leaks_nothing(engine: Engine, recorded: Recorded) -> None:
    with tracemw.span("request"):
        with engine.connect():
            pass
        connection = engine.connect()
        connection.invalidate()
        connection.close()
        connection = engine.connect()
        connection.detach()
        connection.close()
        del connection
        gc.collect()
    assert [span.name for span in recorded.all] == ["request"]
    assert not recorded.all[0].events


def test_an_asynchronous_wait_names_the_line_of_the_holder(tmp_path: Path, recorded: Recorded) -> None:
    async def hold(engine: AsyncEngine) -> AsyncConnection:
        return await engine.connect()  # taken here

    async def main() -> None:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{tmp_path}/shop.db",
            poolclass=AsyncAdaptedQueuePool,
            pool_size=1,
            max_overflow=0,
            pool_timeout=0.1,
        )
        trace_engine(engine, pool_wait=0.05, slow=5.0)
        with tracemw.span("the holding request"):
            held = await hold(engine)
        recorded.clear()
        with pytest.raises(TimeoutError):
            await hold(engine)
        await held.close()
        await engine.dispose()

    asyncio.run(main())
    (wait,) = recorded.all
    assert told(wait)["tracemw.pool.holders.line"] == (line_of(hold, "# taken here"),)
    assert told(wait)["code.function.name"] == hold.__qualname__


@pytest.mark.filterwarnings("ignore:.*was deleted before being closed:ResourceWarning")  # so older SQLAlchemys leave it
def test_a_leak_of_an_asynchronous_engine_is_an_event_too(tmp_path: Path, recorded: Recorded) -> None:
    async def leak(engine: AsyncEngine) -> None:
        connection = await engine.connect()  # leaked
        await connection.execute(text("SELECT 1"))

    async def main() -> None:
        engine = trace_engine(create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db"), pool_wait=5.0, slow=5.0)
        with tracemw.span("request"):
            await leak(engine)
            with pytest.warns(Warning, match="non-checked-in connection"):
                gc.collect()
        await engine.dispose()
        # The driver's thread tells the loop of its end, and so the loop must not end before.
        await asyncio.to_thread(
            wait_until, lambda: not any("_connection_worker" in each.name for each in threading.enumerate())
        )

    asyncio.run(main())
    (leaked,) = recorded.named("request").events
    assert leaked.attributes is not None
    assert leaked.attributes["code.function.name"] == leak.__qualname__


def test_the_pool_has_the_metrics_of_the_conventions(tmp_path: Path, meters: Meters) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db", pool_size=1, max_overflow=1, pool_timeout=0.05)
    trace_engine(engine, meter_provider=meters.provider)
    first, second = engine.connect(), engine.connect()
    with pytest.raises(TimeoutError):
        engine.connect()
    second.close()
    name = {"db.client.connection.pool.name": f"{tmp_path}/shop.db"}

    def points(metric: str) -> dict[Any, Any]:
        """What a metric tells of this pool, by the state of the connections."""
        found = {}
        for point in meters.points(f"db.client.connection.{metric}"):
            labels = dict(point.attributes)
            state = labels.pop("db.client.connection.state", None)
            assert labels == name
            found[state] = point.value if hasattr(point, "value") else point.count
        return found

    assert points("timeouts") == {None: 1}
    assert points("wait_time") == {None: 2}
    assert points("use_time") == {None: 1}
    assert points("create_time") == {None: 2}
    assert points("max") == {None: 2}
    assert points("count") == {"used": 1, "idle": 1}
    assert points("pending_requests") == {None: 0}
    first.close()
    engine.dispose()


def test_what_a_connection_costs_the_application_is_no_reference_to_it(engine: Engine) -> None:
    connection: Connection | None = engine.connect()
    assert connection is not None
    connection.close()
    reference = weakref.ref(connection)
    connection = None
    assert reference() is None
