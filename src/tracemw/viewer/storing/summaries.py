"""Summaries of traces, as lists show them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tracemw.viewer.budget import Budget
from tracemw.viewer.storing.pool import Pool
from tracemw.viewer.storing.sql import SqlCondition, marks

_TRACES_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One trace in a list. Times are nanoseconds since the epoch.

    Attributes:
        root_service: The service of the root span. None while the root has not arrived.
        root_name: The name of the root span. None while the root has not arrived.
        first_service: The service of the earliest span, whatever its place in the trace.
        first_name: The name of that span.
        services: The numbers of spans, and of failed spans, by service.
    """

    trace_id: bytes
    start: int
    end: int
    duration: int
    spans: int
    errors: int
    root_service: str | None
    root_name: str | None
    first_service: str
    first_name: str
    services: Mapping[str, tuple[int, int]]


def read_summaries(pool: Pool, condition: SqlCondition, budget: Budget) -> Iterator[TraceSummary]:
    """Yield the summaries of the traces that match a condition; see `Store.summaries`."""
    below: tuple[int, bytes] | None = None
    while True:
        rows = pool.read(
            f"SELECT start, trace_id, ({condition.sql}) FROM traces "  # noqa: S608
            f"{'' if below is None else 'WHERE (start, trace_id) < (?, ?) '}"
            "ORDER BY start DESC, trace_id DESC LIMIT ?",
            (*condition.parameters, *(below or ()), _TRACES_AT_ONCE),
            budget,
        )
        yield from _summarize(pool, [trace_id for _, trace_id, holds in rows if holds], budget)
        if len(rows) < _TRACES_AT_ONCE:
            return
        below = rows[-1][:2]


def read_summaries_of(
    pool: Pool, trace_ids: Collection[bytes], condition: SqlCondition, budget: Budget
) -> Iterator[TraceSummary]:
    """Yield the summaries of those of some traces that match a condition; see `Store.summaries`."""
    found: list[tuple[int, bytes]] = []
    for some in _parts(list(trace_ids)):
        found += pool.read(
            f"SELECT start, trace_id FROM traces WHERE trace_id IN ({marks(some)}) AND ({condition.sql})",  # noqa: S608
            (*some, *condition.parameters),
            budget,
        )
    found.sort(reverse=True)
    for part in _parts([trace_id for _, trace_id in found]):
        yield from _summarize(pool, part, budget)


def _parts(trace_ids: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(trace_ids), _TRACES_AT_ONCE):
        yield trace_ids[start : start + _TRACES_AT_ONCE]


def _summarize(pool: Pool, trace_ids: list[bytes], budget: Budget) -> list[TraceSummary]:
    parameters = tuple(trace_ids)
    services: dict[bytes, dict[str, tuple[int, int]]] = {trace_id: {} for trace_id in trace_ids}
    for trace_id, service, spans, errors in pool.read(
        "SELECT trace_id, service, sum(shares.spans), sum(shares.errors) FROM shares "  # noqa: S608
        "JOIN scopes ON scopes.id = shares.scope JOIN resources ON resources.id = scopes.resource "
        f"WHERE trace_id IN ({marks(trace_ids)}) GROUP BY trace_id, service ORDER BY trace_id, service",
        parameters,
        budget,
    ):
        services[trace_id][service] = (spans, errors)
    rows = pool.read(
        'SELECT trace_id, start, "end", duration, spans, errors, root_service, root_name, first_service, '  # noqa: S608
        f"first_name FROM traces WHERE trace_id IN ({marks(trace_ids)}) ORDER BY start DESC, trace_id DESC",
        parameters,
        budget,
    )
    return [TraceSummary(*(*row, services[row[0]])) for row in rows]
