"""The writer: one thread commits waiting batches in groups, and acknowledges each batch after its commit."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Collection
from concurrent.futures import Future
from typing import NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracemw.viewer.receiving.batch import Batch, ResourceScope
from tracemw.viewer.storing.database import Database, StoreError, remedy
from tracemw.viewer.storing.pool import Pool
from tracemw.viewer.storing.slices import in_slices
from tracemw.viewer.storing.transaction import Erased, Transaction
from tracemw.viewer.storing.vocabulary import Vocabulary

_GROUP_BATCHES = 64  # in one group at most
_GROUP_SPANS = 2_000  # a group of so many takes no more batches
_COMMIT_SPANS = 2_000  # in one transaction: in memory, readers wait for its end

_log = logging.getLogger("tracemw.viewer")


class _Erasure(NamedTuple):
    """Traces that somebody wants erased."""

    trace_ids: Collection[bytes]
    done: Future[Erased]


class Writer:
    """Writes batches to the database.

    Args:
        pool: The connections to the database.
        max_spans: How many spans are kept.
        max_bytes: How many bytes of spans are kept.
    """

    def __init__(self, pool: Pool, *, max_spans: int, max_bytes: int) -> None:
        self._pool = pool
        self._max_spans = max_spans
        self._max_bytes = max_bytes
        self._vocabulary: tuple[Database, Vocabulary] | None = None  # of the database as it was at the last commit
        self._trouble = ""  # why the last group could not be written
        self._waiting: queue.SimpleQueue[tuple[Batch, Future[None]] | _Erasure | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tracemw-viewer-writer", daemon=True)
        self._thread.start()

    def add(self, batch: Batch) -> Future[None]:
        """Hand over a batch; see `Store.add`."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # from here on nobody can cancel what the thread will finish
        self._waiting.put((batch, done))
        return done

    def erase(self, trace_ids: Collection[bytes]) -> Future[Erased]:
        """Erase traces; see `Store.erase`."""
        done: Future[Erased] = Future()
        done.set_running_or_notify_cancel()
        self._waiting.put(_Erasure(trace_ids, done))
        return done

    def close(self) -> None:
        """Write the waiting batches, and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            group: list[tuple[Batch, Future[None]]] = []
            erasure: _Erasure | None = None
            spans = 0
            while (
                open_for_more
                and erasure is None
                and len(group) < _GROUP_BATCHES
                and spans < _GROUP_SPANS
                and (not group or not self._waiting.empty())
            ):
                item = self._waiting.get()
                if item is None:
                    open_for_more = False
                elif isinstance(item, _Erasure):
                    erasure = item
                else:
                    group.append(item)
                    spans += len(item[0].spans)
            if group:
                self._acknowledge(group)
            if erasure is not None:
                self._erase(erasure)

    def _acknowledge(self, group: list[tuple[Batch, Future[None]]]) -> None:
        """Write a group, and tell its senders what has become of it."""
        try:
            self._write([batch for batch, _ in group])
        except Exception as error:  # whatever it is, the thread lives on and the senders are told
            failure = self._failure(error)
            self._report(str(failure))
            for _, done in group:
                done.set_exception(failure)
            return
        self._report("")
        for _, done in group:
            done.set_result(None)

    def _erase(self, erasure: _Erasure) -> None:
        try:
            self._restore_file()
            database = self._pool.database
            with self._pool.transaction() as connection:
                transaction = self._begin(connection)
                erased = transaction.erase(erasure.trace_ids)
            database.totals = transaction.totals
            self._pool.compact()
        except Exception as error:
            self._vocabulary = None  # it may know what was rolled back
            erasure.done.set_exception(self._failure(error))
        else:
            erasure.done.set_result(erased)

    def _failure(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return error
        text = f"cannot write {self._pool.path or 'memory'}: {error}"
        return StoreError(f"{text}; {remedy(error, self._pool.path)}" if isinstance(error, sqlite3.Error) else text)

    def _report(self, trouble: str) -> None:
        """Log the first failure after a success and the first success after a failure, and no other."""
        if bool(trouble) != bool(self._trouble):
            _log.warning(trouble or "spans are taken again")
        self._trouble = trouble

    def _write(self, batches: list[Batch]) -> None:
        self._restore_file()
        spans = [(batch, scope, span) for batch in batches for scope, span in batch.spans]
        while True:
            rejected: list[tuple[Batch, str]] = []
            for part in in_slices(spans, size=lambda _: 0, count=_COMMIT_SPANS):
                rejected += self._commit(part)
            if not self._restore_file():
                break  # the file is still in its place, so what was written can be found
        for batch, reason in rejected:
            batch.reject(1, reason)

    def _restore_file(self) -> bool:
        """Create the file anew if it has been deleted.

        Returns:
            Whether the file had been deleted. Then all spans in it are lost.
        """
        path = self._pool.path
        missing = self._pool.database.missing()
        if not missing:
            return False
        if missing == "replaced":
            raise StoreError(
                f"cannot write {path}: another file stands in its place; "
                "start tracemw view again to use that one, or delete it to begin anew"
            )
        self._pool.reopen()
        _log.warning("%s was deleted, with all traces in it; the viewer goes on with a new one", path)
        return True

    def _commit(self, spans: list[tuple[Batch, ResourceScope, Span]]) -> list[tuple[Batch, str]]:
        """Commit some spans.

        Returns:
            The batch of each span that has no room, and the reason.
        """
        database = self._pool.database
        with self._pool.transaction() as connection:
            transaction = self._begin(connection)
            reasons = [(batch, transaction.insert(scope, span)) for batch, scope, span in spans]
            transaction.finish()
        database.totals = transaction.totals
        return [(batch, reason) for batch, reason in reasons if reason]

    def _begin(self, connection: sqlite3.Connection) -> Transaction:
        database = self._pool.database
        if self._vocabulary is None or self._vocabulary[0] is not database:
            self._vocabulary = (database, Vocabulary(connection))
        return Transaction(
            connection,
            database.totals,
            self._vocabulary[1],
            max_spans=self._max_spans,
            max_bytes=self._max_bytes,
        )
