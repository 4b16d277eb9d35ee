"""The connections to the database: one writes, and for a file, each thread that reads has another.

SQLite in memory belongs to one connection, so readers and the writer take turns. On a file, which has a write-ahead
log, nobody waits for anybody.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracemw.viewer.budget import Budget
from tracemw.viewer.storing.database import Database, StoreError, remedy

_STEPS = 2_000  # of SQLite's virtual machine between two looks at the budget


class Pool:
    """The connections to one database, in memory when ``path`` is None.

    Attributes:
        path: The database's file.
        database: The database, which `reopen` replaces.

    Raises:
        StoreError: when the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.database = Database(path)
        self._turn = threading.Lock()  # held by whoever uses the connection that writes
        self._idle: queue.LifoQueue[tuple[Database, sqlite3.Connection]] = queue.LifoQueue()

    def read(self, sql: str, parameters: tuple[Any, ...], budget: Budget | None = None) -> list[Any]:
        """Return all rows of a query. Others may wait meanwhile, so the caller bounds the rows, or gives a budget.

        Raises:
            BudgetError: when the budget is spent.
            StoreError: when the database cannot be read.
        """
        try:
            with self._reading() as connection:
                if budget is not None:
                    connection.set_progress_handler(budget.is_spent, _STEPS)
                try:
                    return connection.execute(sql, parameters).fetchall()
                finally:
                    connection.set_progress_handler(None, 0)
        except sqlite3.Error as error:
            if budget is not None:
                budget.check()
            raise StoreError(f"cannot read {self.path or 'memory'}: {error}; {remedy(error, self.path)}") from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block in one transaction. Commit at its end. Roll back if it raises."""
        with self._turn, self.database.writing as connection:
            yield connection

    def compact(self) -> None:
        """Leave nothing in the file of what has been deleted; see `Database.compact`."""
        with self._turn:
            self.database.compact()

    def reopen(self) -> None:
        """Open the file anew, and create it if it does not exist. On an error, the old connections stay."""
        before = self.database
        self.database = Database(self.path)
        before.close()

    def close(self) -> None:
        """Close every connection."""
        while not self._idle.empty():
            self._idle.get_nowait()[1].close()
        self.database.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self.path is None:
            with self._turn:
                yield self.database.writing
            return
        database, connection = self._borrow()
        try:
            yield connection
        finally:
            self._idle.put((database, connection))

    def _borrow(self) -> tuple[Database, sqlite3.Connection]:
        """Return a connection for one reader, to the file as it is now."""
        while True:
            try:
                database, connection = self._idle.get_nowait()
            except queue.Empty:
                database = self.database
                return database, database.connect()
            if database is self.database:
                return database, connection
            connection.close()  # its file has been deleted
