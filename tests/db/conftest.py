"""The databases of the tests: SQLite and PostgreSQL, each by synchronous and asynchronous drivers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Column, Connection, Engine, ForeignKey, Integer, MetaData, String, Table, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from db.engines import _engines_end_with_their_test as _engines_end_with_their_test
from db.postgresql import postgresql_serving, programs
from tracemw.sqlalchemy import trace_engine

_IS_REQUIRED = os.environ.get("TESTS_REQUIRE_POSTGRESQL") == "1"

TABLES = MetaData()
ITEMS = Table(
    "items", TABLES, Column("id", Integer, primary_key=True), Column("name", String(40), unique=True, nullable=False)
)
PARTS = Table(
    "parts",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("item_id", ForeignKey(ITEMS.c.id, deferrable=True, initially="DEFERRED")),
)


class Database(NamedTuple):
    """An engine, sync or not, that is traced; what is done in it is written for a `Connection`."""

    engine: Engine | AsyncEngine

    @property
    def sync_engine(self) -> Engine:
        return self.engine.sync_engine if isinstance(self.engine, AsyncEngine) else self.engine

    @property
    def system(self) -> str:
        return self.sync_engine.dialect.name

    @property
    def is_async(self) -> bool:
        return isinstance(self.engine, AsyncEngine)

    def run(self, work: Callable[[Connection], Any], *, commit: bool = True) -> Any:
        """Do something in a connection, and commit it."""
        if isinstance(self.engine, AsyncEngine):
            return asyncio.run(self._run_async(self.engine, work, commit))
        with self.engine.connect() as connection:
            result = work(connection)
            if commit:
                connection.commit()
            return result

    async def _run_async(self, engine: AsyncEngine, work: Callable[[Connection], Any], commit: bool) -> Any:
        try:
            async with engine.connect() as connection:
                result = await connection.run_sync(work)
                if commit:
                    await connection.commit()
                return result
        finally:
            await engine.dispose()  # a connection belongs to its event loop


DRIVERS = ["sqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+psycopg_async", "postgresql+asyncpg"]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    found = programs()
    if found is None and _IS_REQUIRED:
        pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgresql_serving(found) as address:
        yield address


@pytest.fixture(params=DRIVERS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database by each driver."""
    driver = str(request.param)
    if driver.startswith("sqlite"):
        return f"{driver}:///{tmp_path}/shop.db"
    return f"{driver}://postgres@{request.getfixturevalue('postgresql')}/postgres"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A traced database with two tables, and two items."""
    made: Any = (create_async_engine if "async" in url or "aio" in url else create_engine)(url)
    database = Database(made)
    if database.system == "sqlite":

        @event.listens_for(database.sync_engine, "connect")
        def enforce_foreign_keys(connection: Any, record: object) -> None:
            connection.execute("PRAGMA foreign_keys = ON")

    def prepare(connection: Connection) -> None:
        TABLES.drop_all(connection)
        TABLES.create_all(connection)
        connection.execute(ITEMS.insert(), [{"id": 1, "name": "cup"}, {"id": 2, "name": "bowl"}])

    database.run(prepare)
    trace_engine(made, pool_wait=5.0, slow=5.0)  # what a busy machine makes slow is not what these tests are about
    yield database
    database.sync_engine.dispose(close=not database.is_async)
