"""The store: spans in SQLite, written by one thread and read by any.

A span is kept as its OTLP bytes, so nothing of it is lost. Beside the bytes stand the columns that lists and searches
need. The summary of a trace costs the same however large the trace is: new spans change its counts, and every other
fact is one look into an index.

In memory, whoever reads or writes keeps all others waiting. So every statement is bounded, in rows or by a `Budget`,
and answers are made slice by slice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tracemw.viewer.budget import Budget
from tracemw.viewer.receiving.batch import Batch
from tracemw.viewer.storing.candidates import StoredSpan, read_candidates, read_holders, read_links, read_span
from tracemw.viewer.storing.database import Totals
from tracemw.viewer.storing.pool import Pool
from tracemw.viewer.storing.slices import read_trace
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.summaries import TraceSummary, read_summaries, read_summaries_of
from tracemw.viewer.storing.transaction import Erased
from tracemw.viewer.storing.writer import Writer

DEFAULT_MAX_SPANS = 200_000
DEFAULT_MAX_BYTES = 256 * 1024 * 1024

_SERVICES_TOLD = 1_000


class Store:
    """Spans in a SQLite file, or in memory when ``path`` is None. Any thread may use the store.

    If the file is deleted meanwhile, the store creates a new one, and logs that. While another file stands in its
    place, the store takes no spans.

    Args:
        path: The database file. If it does not exist, it is created.
        max_spans: How many spans are kept. Beyond that, traces go, each as a whole, first those that got no span for
            the longest time.
        max_bytes: How many bytes are kept, likewise: those of the encoding, and those that SQLite needs beside it.

    Raises:
        StoreError: when the file cannot be used.
    """

    def __init__(
        self, path: Path | None = None, *, max_spans: int = DEFAULT_MAX_SPANS, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> None:
        self.max_spans = max_spans
        self.max_bytes = max_bytes
        self._pool = Pool(path)
        self._writer = Writer(self._pool, max_spans=max_spans, max_bytes=max_bytes)

    def add(self, batch: Batch) -> Future[None]:
        """Hand over spans. The future is done when the spans are committed, and every later read finds them.

        If a trace alone would have more than ``max_spans`` or ``max_bytes``, its further spans have no room. The batch
        counts those as rejected. The future fails with `StoreError` when the database cannot be written.
        """
        return self._writer.add(batch)

    def erase(self, trace_ids: Collection[bytes]) -> Future[Erased]:
        """Erase traces, with all spans that were handed over before. The future is done when none is in the file.

        What the file system, a backup or a snapshot has kept of the file's former content is not the store's to erase.
        The future fails with `StoreError` when the database cannot be written.
        """
        return self._writer.erase(trace_ids)

    def close(self) -> None:
        """Commit the spans that were handed over, and close the database."""
        self._writer.close()
        self._pool.close()

    def totals(self) -> Totals:
        """Return how much the store holds."""
        return self._pool.database.totals

    def services(self) -> list[str]:
        """Return the names of the first 1,000 services, in the order in which they appeared."""
        sql = "SELECT service FROM resources GROUP BY service ORDER BY min(id) LIMIT ?"
        return [name for (name,) in self._pool.read(sql, (_SERVICES_TOLD,))]

    def trace(self, trace_id: bytes) -> Iterator[TracesData]:
        """Return a trace in slices of bounded size, by resource, scope and start time. An unknown trace has no slice.

        The encodings of all slices, one after the other, are the encoding of the whole.
        """
        return read_trace(self._pool, trace_id)

    def version(self, trace_id: bytes) -> int | None:
        """Return a number that grows with each change of a trace; None for an unknown trace."""
        rows = self._pool.read("SELECT arrival FROM traces WHERE trace_id = ?", (trace_id,))
        return rows[0][0] if rows else None

    def summaries(
        self, condition: SqlCondition, budget: Budget, only: Collection[bytes] | None = None
    ) -> Iterator[TraceSummary]:
        """Yield the summaries of the traces that match a condition on the table ``traces``, newest first.

        The work is done as the summaries are asked for.

        Args:
            condition: The condition.
            budget: What the work may cost.
            only: The ids of the traces to look at. None stands for all.
        """
        if only is None:
            return read_summaries(self._pool, condition, budget)
        return read_summaries_of(self._pool, only, condition, budget)

    def holders(self, condition: SqlCondition, budget: Budget, *, few: bool) -> set[bytes] | None:
        """Return the ids of the traces that have a span for which a condition holds.

        All rows are passed through, but for the stretches that lack a word that the condition needs; see `Vocabulary`.

        Args:
            condition: The condition.
            budget: What the work may cost.
            few: Whether to return None unless few of the stretches have the words.
        """
        return read_holders(self._pool, condition, budget, few=few)

    def candidates(
        self, traces: Iterable[TraceSummary], prefilter: SqlCondition, budget: Budget
    ) -> Iterator[tuple[list[TraceSummary], Iterator[StoredSpan]]]:
        """Yield some traces at a time, in their order, with their spans that pass a prefilter, in no order.

        The prefilter is a condition on the tables ``traces``, ``spans``, ``scopes`` and ``resources``. The work is done
        as the spans are asked for.
        """
        return read_candidates(self._pool, traces, prefilter, budget)

    def span(self, trace_id: bytes, span_id: bytes, budget: Budget) -> StoredSpan | None:
        """Return one span; None if there is none."""
        return read_span(self._pool, trace_id, span_id, budget)

    def links(self, trace_id: bytes, budget: Budget) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield the span id of each span of a trace, by start time, with the id of its parent; None for a root."""
        return read_links(self._pool, trace_id, budget)
