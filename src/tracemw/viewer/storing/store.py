"""The store: spans in SQLite, written by one thread and read by any.

A span is kept as its OTLP bytes, so nothing of it is lost, beside the columns that lists and searches need. A trace's
summary costs the same however large the trace is: its counts change by what arrives, and every other fact is one look
into an index.

In memory, whoever reads or writes keeps all others waiting. So every statement is bounded, in rows or by a `Budget`,
and answers are made slice by slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tracemw.viewer.budget import Budget
from tracemw.viewer.receiving.batch import Batch
from tracemw.viewer.storing.candidates import StoredSpan, read_candidates
from tracemw.viewer.storing.database import Totals
from tracemw.viewer.storing.pool import Pool
from tracemw.viewer.storing.slices import read_trace
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.summaries import Summary, read_summaries
from tracemw.viewer.storing.writer import Writer

DEFAULT_MAX_SPANS = 200_000
DEFAULT_MAX_BYTES = 256 * 1024 * 1024

_SERVICES_TOLD = 1_000


class Store:
    """Spans in a SQLite file, or in memory when ``path`` is None; safe to use from any thread.

    If the file is deleted meanwhile, the store creates it anew and logs that. While another file stands in its place,
    the store takes no spans.

    Args:
        path: the database file, created if it is not there
        max_spans: beyond so many spans, the traces that were heard of longest ago go, each as a whole
        max_bytes: beyond so many bytes likewise; they are those of the encoding, and what SQLite needs beside it

    Raises:
        StoreError: the file cannot be used
    """

    def __init__(
        self, path: Path | None = None, *, max_spans: int = DEFAULT_MAX_SPANS, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> None:
        self.max_spans = max_spans
        self.max_bytes = max_bytes
        self._pool = Pool(path)
        self._writer = Writer(self._pool, max_spans=max_spans, max_bytes=max_bytes)

    def add(self, batch: Batch) -> Future[None]:
        """Hand over spans. The future is done when they are committed and every later read finds them.

        A span has no room when its trace alone would have more than ``max_spans`` or ``max_bytes``. The batch counts
        such spans as rejected. The future fails with `StoreError` when the database cannot be written.
        """
        return self._writer.add(batch)

    def close(self) -> None:
        """Commit what was handed over and close the database."""
        self._writer.close()
        self._pool.close()

    def totals(self) -> Totals:
        """How much there is."""
        return self._pool.database.totals

    def services(self) -> list[str]:
        """The names of the first 1,000 services, in the order in which they were heard of."""
        sql = "SELECT service FROM resources GROUP BY service ORDER BY min(id) LIMIT ?"
        return [name for (name,) in self._pool.read(sql, (_SERVICES_TOLD,))]

    def trace(self, trace_id: bytes) -> Iterator[TracesData]:
        """A trace in slices of bounded size, by resource, scope and start time; no slice if the trace is unknown.

        The encodings of all slices, one after the other, are the encoding of the whole.
        """
        return read_trace(self._pool, trace_id)

    def summaries(self, condition: SqlCondition, budget: Budget) -> Iterator[Summary]:
        """The summaries of the traces that fulfil a condition on the table ``traces``, newest first.

        Whoever stops early has not paid for the rest.
        """
        return read_summaries(self._pool, condition, budget)

    def candidates(
        self, traces: Iterable[Summary], prefilter: SqlCondition, budget: Budget
    ) -> Iterator[tuple[list[Summary], Iterator[StoredSpan]]]:
        """Some traces at a time, in their order, and their spans that pass a prefilter, in no order.

        The prefilter is a condition on the tables ``traces``, ``spans``, ``scopes`` and ``resources``. Whoever stops
        early has not paid for the rest.
        """
        return read_candidates(self._pool, traces, prefilter, budget)
