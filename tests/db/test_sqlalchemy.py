"""The door for SQLAlchemy, judged by a table: what is done, and which spans come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import Connection, create_engine, event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool, StaticPool

import tracemw
from conftest import Recorded
from db.conftest import ITEMS, PARTS, Database
from tracemw.sqlalchemy import trace_engine


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Case(NamedTuple):
    """Something that is done in a database, and the spans that come of it."""

    done: str
    work: Callable[[Connection], Any]
    names: tuple[str, ...]
    told: dict[str, Any] = {}  # noqa: RUF012  never written to
    """Attributes of the first span; None for one that is not there."""


def orm(work: Callable[[Session], Any]) -> Callable[[Connection], Any]:
    def run(connection: Connection) -> None:
        with Session(connection) as session:
            work(session)
            session.flush()

    return run


def nested(connection: Connection) -> None:
    with connection.begin_nested():
        connection.execute(select(ITEMS)).all()


def stream(connection: Connection) -> None:
    rows = connection.execution_options(stream_results=True, max_row_buffer=1).execute(select(ITEMS))
    assert len(list(rows)) == 2


CASES = [
    Case(
        "a text with literals",
        lambda c: c.execute(text("SELECT name FROM items WHERE name = 'secret' AND id = :id"), {"id": 7}).all(),
        ("SELECT items",),
        {"db.operation.name": "SELECT", "db.collection.name": "items", "db.query.summary": "SELECT items"},
    ),
    Case("Core: a select", lambda c: c.execute(select(ITEMS)).all(), ("SELECT items",)),
    Case(
        "Core: a join",
        lambda c: c.execute(select(ITEMS.c.name).join(PARTS)).all(),
        ("SELECT items parts",),
        {"db.operation.name": "SELECT", "db.collection.name": None},
    ),
    Case("Core: an insert", lambda c: c.execute(ITEMS.insert().values(id=3, name="s3cret")), ("INSERT items",)),
    Case(
        "Core: an update of many",
        lambda c: c.execute(
            text("UPDATE items SET name = :name WHERE id = :id"), [{"id": 1, "name": "s3cret"}, {"id": 2, "name": "b"}]
        ),
        ("BATCH UPDATE items",),
        {"db.operation.batch.size": 2, "db.operation.name": "BATCH UPDATE", "db.query.summary": "BATCH UPDATE items"},
    ),
    Case(
        "Core: an update of many that is of one",
        lambda c: c.execute(text("UPDATE items SET name = :name WHERE id = :id"), [{"id": 1, "name": "s3cret"}]),
        ("UPDATE items",),
        {"db.operation.batch.size": None},
    ),
    Case(
        "an insert of many rows that are returned",
        lambda c: c.execute(ITEMS.insert().returning(ITEMS.c.id), [{"id": n, "name": f"s3cret {n}"} for n in (7, 8)]),
        ("INSERT items",),
        {"db.operation.batch.size": None},
    ),
    Case("the ORM: a select", orm(lambda s: s.scalars(select(Item)).all()), ("SELECT items",)),
    Case("the ORM: an insert", orm(lambda s: s.add(Item(id=4, name="s3cret"))), ("INSERT items",)),
    Case("rows that are streamed", stream, ("SELECT items",)),
    Case("a savepoint", nested, ("SELECT items",)),
    Case("nothing but a ping", lambda c: c.execute(text("SELECT 1")).all(), ()),
    Case("nothing but a rollback", lambda c: c.rollback(), ()),
    Case("a call by the driver's own SQL", lambda c: c.exec_driver_sql("DELETE FROM parts"), ("DELETE parts",)),
    Case("DDL", lambda c: c.execute(text("CREATE TABLE IF NOT EXISTS more (id int)")), ("CREATE TABLE more",)),
]  # fmt: skip


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.done)
def test_what_is_done_makes_the_spans_that_the_table_says(case: Case, database: Database, recorded: Recorded) -> None:
    with tracemw.span("request"):
        database.run(case.work)
    *spans, request = recorded.all
    assert tuple(span.name for span in spans) == case.names
    url = database.sync_engine.url
    for span in spans:
        assert span.kind is SpanKind.CLIENT
        assert span.status.status_code is StatusCode.UNSET
        assert span.parent is not None
        assert request.context is not None
        assert span.parent.span_id == request.context.span_id
        found = told(span)
        assert found["db.system.name"] == database.system
        assert found["db.namespace"] == url.database
        assert (found.get("server.address"), found.get("server.port")) == (url.host, url.port)
        assert found["db.query.summary"] == span.name
        assert "secret" not in str(found).replace("s3cret", "secret")
    for key, value in case.told.items():
        assert told(spans[0]).get(key) == value, key


def missing_table(connection: Connection) -> None:
    connection.execute(text("SELECT * FROM nowhere WHERE name = 'secret'"))


def duplicate(connection: Connection) -> None:
    connection.execute(ITEMS.insert().values(id=9, name="cup"))


def dangling(connection: Connection) -> None:
    connection.execute(PARTS.insert().values(id=1, item_id=99))


def failing_savepoint(connection: Connection) -> None:
    connection.execute(text("ROLLBACK TO SAVEPOINT never_made"))


@pytest.mark.parametrize(
    ("work", "names", "codes"),
    [
        (missing_table, ("SELECT nowhere",), {"sqlite": "SQLITE_ERROR", "postgresql": "42P01"}),
        (duplicate, ("INSERT items",), {"sqlite": "SQLITE_CONSTRAINT_UNIQUE", "postgresql": "23505"}),
        (dangling, ("INSERT parts", "COMMIT"), {"sqlite": "SQLITE_CONSTRAINT_FOREIGNKEY", "postgresql": "23503"}),
        (failing_savepoint, ("ROLLBACK",), {"sqlite": "SQLITE_ERROR", "postgresql": "3B001"}),
    ],
)
def test_what_fails_is_an_error_with_the_databases_code_and_the_line_and_no_value(
    work: Callable[[Connection], Any],
    names: tuple[str, ...],
    codes: dict[str, str],
    database: Database,
    recorded: Recorded,
) -> None:
    with tracemw.span("request"), pytest.raises(DBAPIError):
        database.run(work)
    *spans, _ = recorded.all
    assert tuple(span.name for span in spans) == names
    found = told(spans[-1])
    assert spans[-1].status.status_code is StatusCode.ERROR
    assert found["db.response.status_code"] == found["error.type"] == codes[database.system]
    assert found["code.file.path"] == (__file__ if work is not dangling else found["code.file.path"])
    assert "cup" not in str(found) + str(spans[-1].status.description)
    assert not spans[-1].events


def test_a_two_phase_commit_that_works_is_silent_and_one_that_fails_is_told(
    postgresql: str, recorded: Recorded
) -> None:
    engine = trace_engine(
        create_engine(f"postgresql+psycopg://postgres@{postgresql}/postgres"), pool_wait=5.0, slow=5.0
    )
    with engine.connect() as connection:
        two_phase = connection.begin_twophase("first")
        connection.execute(text("CREATE TABLE IF NOT EXISTS phases (id int)"))
        two_phase.prepare()
        two_phase.commit()
    assert [span.name for span in recorded.all] == ["CREATE TABLE phases"]
    recorded.clear()
    with engine.connect() as connection, engine.connect() as another:
        two_phase = connection.begin_twophase("second")
        connection.execute(text("DELETE FROM phases"))
        two_phase.prepare()
        another.execution_options(isolation_level="AUTOCOMMIT").execute(text("ROLLBACK PREPARED 'second'"))
        with pytest.raises(DBAPIError):
            two_phase.commit()
        connection.invalidate()  # the driver does not know what has become of the transaction
    engine.dispose()
    assert [(span.name, span.status.status_code) for span in recorded.all][:2] == [
        ("DELETE phases", StatusCode.UNSET),
        ("COMMIT", StatusCode.ERROR),
    ]
    assert told(recorded.all[1])["db.response.status_code"] == "42704"


@pytest.mark.parametrize("url", ["postgresql+asyncpg"], indirect=True)
def test_a_statement_that_is_cancelled_ends_without_an_error(database: Database, recorded: Recorded) -> None:
    async def cancel(engine: AsyncEngine) -> None:
        begun = asyncio.Event()
        event.listen(engine.sync_engine, "before_cursor_execute", lambda *_: begun.set())
        async with engine.connect() as connection:
            task = asyncio.create_task(connection.execute(text("SELECT pg_sleep(9) FROM pg_am")))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await engine.dispose()

    assert isinstance(database.engine, AsyncEngine)
    asyncio.run(cancel(database.engine))
    (span,) = recorded.all
    assert span.name == "SELECT pg_am"
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in told(span)


def test_a_fetch_that_fails_is_told_as_well(postgresql: str, recorded: Recorded) -> None:
    engine = trace_engine(
        create_engine(f"postgresql+psycopg://postgres@{postgresql}/postgres"), pool_wait=5.0, slow=5.0
    )
    with engine.connect() as connection:
        streaming = connection.execution_options(stream_results=True, max_row_buffer=10)
        rows = streaming.execute(text("SELECT 1 / (900 - g) FROM generate_series(1, 1000) AS g"))
        with pytest.raises(DBAPIError):
            rows.all()
    engine.dispose()
    assert [(span.name, span.status.status_code) for span in recorded.all] == [
        ("SELECT generate_series", StatusCode.UNSET),
        ("SELECT generate_series", StatusCode.ERROR),
    ]
    assert told(recorded.all[1])["db.response.status_code"] == "22012"


def test_a_statement_that_comes_the_fifth_time_under_one_parent_tells_its_line(
    database: Database, recorded: Recorded
) -> None:
    def loop(connection: Connection) -> None:
        for _ in range(6):
            connection.execute(select(ITEMS.c.id)).all()  # here
        connection.execute(select(ITEMS.c.name)).all()

    with tracemw.span("request"):
        database.run(loop)
    *spans, _ = recorded.all
    lines = Path(__file__).read_text().splitlines()
    line = next(number for number, each in enumerate(lines, 1) if each.endswith("# here"))
    assert [told(span).get("code.line.number") for span in spans] == [None] * 4 + [line] * 2 + [None]
    assert told(spans[4])["code.file.path"] == __file__
    assert told(spans[4])["code.function.name"].endswith("loop")
    recorded.clear()
    with tracemw.span("another request"):
        database.run(lambda connection: connection.execute(select(ITEMS.c.id)).all())
    assert "code.line.number" not in told(recorded.all[0])


def test_a_slow_statement_tells_its_line(recorded: Recorded) -> None:
    engine = trace_engine(create_engine("sqlite://"), slow=0.0)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1, 2"))
    (span,) = [span for span in recorded.all if span.name == "SELECT"]
    assert told(span)["code.function.name"] == "test_a_slow_statement_tells_its_line"


def test_a_slow_commit_has_a_span_with_its_line(postgresql: str, recorded: Recorded) -> None:
    engine = trace_engine(
        create_engine(f"postgresql+psycopg://postgres@{postgresql}/postgres"), pool_wait=5.0, slow=0.05
    )
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE naps (id int)",
            "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER nap AFTER INSERT ON naps DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION nap()",
        ):
            connection.execute(text(statement))
    recorded.clear()
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO naps VALUES (1)"))
        connection.commit()
    engine.dispose()
    insert, commit = recorded.all
    assert (insert.name, commit.name) == ("INSERT naps", "COMMIT")
    assert commit.status.status_code is StatusCode.UNSET
    assert (commit.end_time or 0) - (commit.start_time or 0) >= 0.1e9
    assert told(commit)["code.function.name"] == "test_a_slow_commit_has_a_span_with_its_line"


def test_what_sqlalchemy_asks_a_new_database_for_itself_has_no_span(postgresql: str, recorded: Recorded) -> None:
    engine = trace_engine(
        create_engine(f"postgresql+psycopg://postgres@{postgresql}/postgres"), pool_wait=5.0, slow=5.0
    )
    with engine.connect():
        pass
    engine.dispose()
    assert recorded.all == []


def test_a_skipped_request_has_no_spans_of_statements(recorded: Recorded) -> None:
    from opentelemetry import context

    from tracemw._otel.context import skipped_context

    engine = trace_engine(create_engine("sqlite://"), pool_wait=0.0, slow=5.0)
    token = context.attach(skipped_context(context.get_current()))
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1, 2"))
            with pytest.raises(DBAPIError):
                connection.execute(text("SELECT nothing"))
    finally:
        context.detach(token)
    assert recorded.all == []


@pytest.mark.parametrize("official_first", [True, False])
def test_no_statement_has_two_spans_beside_the_official_instrumentation(
    official_first: bool, recorded: Recorded
) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    instrumentor = SQLAlchemyInstrumentor()
    steps = [lambda: instrumentor.instrument(engine=engine), lambda: trace_engine(engine, pool_wait=5.0, slow=5.0)]
    for step in steps if official_first else reversed(steps):
        step()
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1, 2"))
            with pytest.raises(DBAPIError):
                connection.execute(text("SELECT nothing"))
            with connection.begin_nested():
                connection.execute(text("SELECT 3, 4"))
    finally:
        instrumentor.uninstrument()
    spans = [span for span in recorded.all if span.name != "connect"]  # the official one tells of these, too
    takes_this_version = sqlalchemy.__version__ < "2.1"  # the official instrumentation does nothing with newer ones
    of_whom = {scope.name for span in spans if (scope := span.instrumentation_scope) is not None}
    assert of_whom == {"opentelemetry.instrumentation.sqlalchemy" if takes_this_version else "tracemw"}
    assert [span.name for span in spans if span.name.startswith("SELECT")] == ["SELECT"] * 3


def test_an_engine_is_traced_once(recorded: Recorded) -> None:
    engine = create_engine("sqlite://")
    assert trace_engine(trace_engine(engine)) is engine
    with engine.connect() as connection:
        connection.execute(text("SELECT 1, 2"))
    assert [span.name for span in recorded.all if span.name != "pool wait"] == ["SELECT"]


def test_an_engine_with_options_of_its_own_is_traced_once_with_the_engine_it_comes_from(recorded: Recorded) -> None:
    engine = trace_engine(create_engine("sqlite://"), pool_wait=5.0, slow=5.0)
    trace_engine(engine.execution_options(isolation_level="SERIALIZABLE"), pool_wait=5.0, slow=5.0)
    with engine.execution_options(isolation_level="SERIALIZABLE").connect() as connection:
        connection.execute(text("SELECT 1, 2"))
    assert [span.name for span in recorded.all] == ["SELECT"]


@pytest.mark.parametrize("pool", [NullPool, StaticPool])
def test_a_pool_without_a_size_is_traced_as_well(pool: Any, recorded: Recorded) -> None:
    engine = trace_engine(create_engine("sqlite://", poolclass=pool), pool_wait=0.0, slow=5.0)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1, 2"))
    wait, statement = recorded.all
    assert (wait.name, statement.name) == ("pool wait", "SELECT")
    assert told(wait)["tracemw.pool.size"] == 0


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"pool_wait": -1}, ValueError, "pool_wait=-1 is not accepted; use a number of seconds from 0 up"),
        ({"pool_wait": "1"}, TypeError, "pool_wait takes seconds, not '1'"),
        ({"slow": float("nan")}, ValueError, "slow=nan is not accepted"),
        ({"repeats": 0}, ValueError, "repeats=0 is not accepted; use 1"),
        ({"repeats": True}, TypeError, "repeats takes a whole number"),
        ({"unknown": 1}, TypeError, "unknown"),
    ],
)
def test_an_option_that_is_not_accepted_is_an_error_that_says_what_is(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        trace_engine(create_engine("sqlite://"), **options)


def test_what_is_no_engine_is_refused() -> None:
    no_engine: Any = sqlalchemy
    with pytest.raises(TypeError, match="trace_engine takes an Engine or an AsyncEngine of SQLAlchemy, not <module"):
        trace_engine(no_engine)


def test_the_statement_and_its_parameters_stay_the_applications_own(database: Database) -> None:
    def work(connection: Connection) -> None:
        assert connection.execute(select(ITEMS.c.name).where(ITEMS.c.id == 1)).scalar_one() == "cup"
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(ITEMS.insert().values(id=8, name="cup"))

    database.run(work)
    assert isinstance(database.engine, AsyncEngine) == database.is_async
