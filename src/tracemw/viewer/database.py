"""The SQLite database behind the store: its file, its tables, and who may have it open.

Traces tell of people: the file is for its owner alone (0600, and SQLite gives its ``-wal`` and ``-shm`` the same mode).
One viewer has it at a time: a lock is held on it as long as it is open. Nothing here touches a file of another program.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from pathlib import Path

_APPLICATION_ID = 0x74_6D_77_76  # "tmwv", in the file's header
_SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE traces (
    trace_id BLOB PRIMARY KEY, arrival INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
    duration INTEGER NOT NULL, spans INTEGER NOT NULL, errors INTEGER NOT NULL,
    bytes INTEGER NOT NULL, origin_bytes INTEGER NOT NULL,
    root_service TEXT, root_name TEXT, first_service TEXT NOT NULL, first_name TEXT NOT NULL
);
CREATE INDEX traces_by_start ON traces (start, trace_id);
CREATE INDEX traces_by_arrival ON traces (arrival);
CREATE TABLE resources (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, service TEXT NOT NULL, bytes INTEGER NOT NULL,
    schema_url TEXT NOT NULL, proto BLOB NOT NULL
);
CREATE TABLE origins (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, resource INTEGER NOT NULL, bytes INTEGER NOT NULL,
    schema_url TEXT NOT NULL, proto BLOB NOT NULL
);
CREATE INDEX origins_by_resource ON origins (resource);
CREATE TABLE spans (
    trace_id BLOB NOT NULL, span_id BLOB NOT NULL, parent_id BLOB, origin INTEGER NOT NULL,
    name TEXT NOT NULL, kind INTEGER NOT NULL, status INTEGER NOT NULL,
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, bytes INTEGER NOT NULL, proto BLOB NOT NULL
);
CREATE UNIQUE INDEX spans_by_id ON spans (trace_id, span_id);
CREATE INDEX spans_by_start ON spans (trace_id, start, span_id);
CREATE INDEX spans_by_end ON spans (trace_id, "end");
CREATE INDEX spans_without_parent ON spans (trace_id, start, span_id) WHERE parent_id IS NULL;
CREATE TABLE shares (
    trace_id BLOB NOT NULL, origin INTEGER NOT NULL, spans INTEGER NOT NULL, errors INTEGER NOT NULL,
    PRIMARY KEY (trace_id, origin)
) WITHOUT ROWID;
CREATE INDEX shares_by_origin ON shares (origin);
"""
_BUSY_SECONDS = 5.0
_LARGEST_LOG = 16 * 1024 * 1024  # bytes that the write-ahead log keeps on the disk when it is empty


class StoreError(Exception):
    """The store cannot be opened, read or written; the message names the file and the remedy."""


class Database:
    """An open SQLite database, in memory when ``path`` is None, with one connection to write.

    Raises:
        StoreError: the file cannot be used
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = None if path is None else _LockedFile(path)
        try:
            self.writing = _open(path)
        except BaseException:
            if self._file is not None:
                self._file.close()
            raise

    def connect(self) -> sqlite3.Connection:
        """One more connection to the file, for reading."""
        return _connect(self._path)

    def missing(self) -> str:
        """What has become of the file: empty while it is in its place, else ``deleted`` or ``replaced``."""
        return "" if self._file is None else self._file.missing()

    def close(self) -> None:
        """Close it, after every other connection to it."""
        self.writing.close()
        if self._file is not None:
            self._file.close()  # last: it would take SQLite's own locks with it


class _LockedFile:
    """The database's file, created if need be, locked against other viewers, and known again."""

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
        if not path.exists():  # what a deleted file has left behind belongs to no new one
            for name in _companions(path):
                name.unlink(missing_ok=True)
        try:
            # Not following who swaps the file for a pipe in between: that would wait for its other end.
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
    """What an operator can do about an error of SQLite."""
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
    # No connection is used by two threads at once; see Store.
    # The file is there, or was: a connection that made another one would hide that.
    name = ":memory:" if path is None else f"{path.resolve().as_uri()}?mode=rw"
    return sqlite3.connect(name, timeout=_BUSY_SECONDS, check_same_thread=False, uri=True)


def _open(path: Path | None) -> sqlite3.Connection:
    """Open the database for writing, creating the tables in a new one; a file of another program stays untouched."""
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
    if not empty and (application, version) != (_APPLICATION_ID, _SCHEMA_VERSION):
        whose = "another version of tracemw" if application == _APPLICATION_ID else "another program"
        raise StoreError(f"cannot use {path}: it is a database of {whose}; choose another file with --db")
    if path is not None:
        _keep_to_the_owner(path)
    if not empty:
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(f"malformed: {damage}".replace("\n", " "))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
    connection.execute("PRAGMA synchronous = NORMAL")  # with a write-ahead log: a power cut loses the last, no more
    # Take the write lock now, so that a file that cannot be written is found at the start and not at the first span.
    connection.execute("BEGIN IMMEDIATE")
    if empty:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    connection.commit()


def _companions(path: Path) -> tuple[Path, Path]:
    """SQLite's own files beside the database."""
    real = path.resolve()
    return Path(f"{real}-wal"), Path(f"{real}-shm")


def _keep_to_the_owner(path: Path) -> None:
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
