"""The SQLite database behind the store: its file, who may open it, and how much is in it.

Traces tell of people. So the file is for its owner alone (0600; SQLite gives its ``-wal`` and ``-shm`` the same mode).
By a lock on the open file, one viewer has it at a time. A file of another program stays untouched.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path

from tracemw.viewer.storing.schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION

_BUSY_SECONDS = 5.0
_PATIENCE = 6  # times as long for readers, before the log stays as it is
_CACHE_KIBIBYTES = 64 * 1024  # of pages; spans of a trace stand together in an index, and traces come in no order
_LARGEST_LOG = 16 * 1024 * 1024  # bytes on the disk of a write-ahead log that has been emptied


class StoreError(Exception):
    """The store cannot be opened, read or written. The message names the file and the remedy."""


@dataclass(slots=True)
class Totals:
    """How much the store holds.

    Attributes:
        size: Bytes of spans, resources, scopes and words.
        arrival: The number of the latest change of a trace.
    """

    traces: int
    spans: int
    size: int
    arrival: int


class Database:
    """An open SQLite database, in memory when ``path`` is None.

    Attributes:
        writing: The one connection that writes.
        totals: How much is committed. Whoever commits more replaces the totals.

    Raises:
        StoreError: when the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = None if path is None else _LockedFile(path)
        try:
            self.writing = _open(path)
            self.totals = self._count()
        except BaseException:
            if self._file is not None:
                self._file.close()
            raise

    def connect(self) -> sqlite3.Connection:
        """Return one more connection to the file, for reading."""
        return _connect(self._path)

    def compact(self) -> None:
        """Write the file anew without what has been deleted from it, and empty the write-ahead log.

        Overwriting what is deleted is not enough: SQLite moves rows between pages, and leaves copies of them behind.

        Raises:
            StoreError: while somebody reads the file for so long that the log cannot be emptied.
        """
        if self._path is None:
            return
        self.writing.execute("VACUUM")
        for _ in range(_PATIENCE):  # each time, SQLite itself waits for readers
            if not _scalar(self.writing, "PRAGMA wal_checkpoint(TRUNCATE)"):
                return
        raise StoreError(
            f"cannot empty {self._path}-wal: somebody reads the file; what was deleted is in it until the next time"
        )

    def missing(self) -> str:
        """Return what has become of the file: ``deleted`` or ``replaced``; empty while it is in its place."""
        return "" if self._file is None else self._file.missing()

    def close(self) -> None:
        """Close the database, after every other connection to it."""
        self.writing.close()
        if self._file is not None:
            self._file.close()  # last: closing the file drops SQLite's own locks on it

    def _count(self) -> Totals:
        try:
            traces, spans, size, arrival = self.writing.execute(
                "SELECT count(*), coalesce(sum(spans), 0), coalesce(sum(bytes), 0), coalesce(max(arrival), 0) "
                "FROM traces"
            ).fetchone()
            for table, column in (("resources", "bytes"), ("scopes", "bytes"), ("stretches", "length(words)")):
                size += _scalar(self.writing, f"SELECT coalesce(sum({column}), 0) FROM {table}")  # noqa: S608
        except sqlite3.Error as error:
            self.writing.close()
            raise StoreError(f"cannot use {self._path}: {error}; {remedy(error, self._path)}") from None
        return Totals(traces, spans, size, arrival)


class _LockedFile:
    """The database's file. It is created if need be, locked against other viewers, and recognised later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.parent.is_dir():
            raise StoreError(
                f"cannot open {path}: there is no directory {path.parent}; create it or choose another --db"
            )
        if path.is_dir():
            raise StoreError(f"cannot open {path}: it is a directory; name a file with --db")
        if path.exists() and not path.is_file():
            raise StoreError(f"cannot open {path}: it is no regular file; choose another file with --db")
        if not path.exists():  # files that a deleted database has left behind do not belong to the new one
            for name in _companions(path):
                name.unlink(missing_ok=True)
        try:
            # O_NONBLOCK: somebody may have put a pipe in the file's place, and opening one waits for its other end.
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise StoreError(
                f"cannot open {path}: {error.strerror}; "
                "choose another file with --db, or give this one write permission"
            ) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise StoreError(
                f"cannot open {path}: another tracemw view has it open; end that one, or choose another file with --db"
            ) from None
        found = os.fstat(self._descriptor)
        self._identity = (found.st_dev, found.st_ino)

    def missing(self) -> str:
        try:
            found = self._path.stat()
        except OSError:
            return "deleted"
        return "" if (found.st_dev, found.st_ino) == self._identity else "replaced"

    def close(self) -> None:
        os.close(self._descriptor)


def remedy(error: sqlite3.Error, path: Path | None) -> str:
    """Return what an operator can do about an error of SQLite."""
    text = str(error)
    if "not a database" in text:
        return "choose another file with --db; this one is left as it is"
    if "malformed" in text or "no such" in text or "corrupt" in text:
        return (
            f"the file is damaged: end the viewer, move {path} away together with {path}-wal and {path}-shm, "
            "and start it again, or choose another file with --db"
        )
    if "unable to open" in text and path is not None and not path.exists():
        return "it has been deleted; the next span that comes begins a new one"
    if "locked" in text:
        return "another program holds it; end that one, or choose another file with --db"
    if "full" in text or "I/O" in text:
        return "make room on the disk, or choose another file with --db"
    return "choose another file with --db, or give this one write permission"


def _connect(path: Path | None) -> sqlite3.Connection:
    # check_same_thread: threads take turns with a connection (see `Pool`).
    # mode=rw: SQLite must not create the file. If it is gone, an empty one in its place would hide that.
    name = ":memory:" if path is None else f"{path.resolve().as_uri()}?mode=rw"
    return sqlite3.connect(name, timeout=_BUSY_SECONDS, check_same_thread=False, uri=True)


def _open(path: Path | None) -> sqlite3.Connection:
    """Open the database for writing, and create the tables in a new one."""
    try:
        connection = _connect(path)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise StoreError(f"cannot open {path}: {error}; {remedy(error, path)}") from None
    return connection


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    application = _scalar(connection, "PRAGMA application_id")
    version = _scalar(connection, "PRAGMA user_version")
    empty = not _scalar(connection, "SELECT count(*) FROM sqlite_master")
    if not empty and (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
        whose = "another version of tracemw" if application == APPLICATION_ID else "another program"
        raise StoreError(f"cannot use {path}: it is a database of {whose}; choose another file with --db")
    if path is not None:
        _restrict_to_owner(path)
    if not empty:
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(f"malformed: {damage}".replace("\n", " "))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
    connection.execute("PRAGMA synchronous = NORMAL")  # with a write-ahead log, a power cut loses the last commits only
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
    # This takes the write lock now. So a file that cannot be written is an error at the start, not at the first span.
    connection.execute("BEGIN IMMEDIATE")
    if empty:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.commit()


def _companions(path: Path) -> tuple[Path, Path]:
    """Return the paths of SQLite's own files beside the database."""
    real = path.resolve()
    return Path(f"{real}-wal"), Path(f"{real}-shm")


def _restrict_to_owner(path: Path) -> None:
    for name in (path, *_companions(path)):
        try:
            mode = stat.S_IMODE(name.stat().st_mode)
            if mode & 0o077:
                name.chmod(mode & 0o700 | 0o600)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(
                f"cannot use {path}: others may read {name}, and its mode cannot be changed: {error.strerror}; "
                "choose another file with --db"
            ) from None


def _scalar(connection: sqlite3.Connection, sql: str) -> int:
    value: int = connection.execute(sql).fetchone()[0]
    return value
