"""Numbers of all traffic of a comparison, where a server has metrics and more requests than were fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tracemw.analysis.comparison.changes import RouteNumbers
from tracemw.analysis.comparison.route_changes import confidence_of_each
from tracemw.analysis.comparison.side import RouteKey, Side
from tracemw.analysis.comparison.whole_traffic import Ask, Counts, WholeTraffic, ask_counts, ask_numbers
from tracemw.analysis.gathering.searching import filter_of
from tracemw.analysis.gathering.sources import ServerSearch
from tracemw.analysis.load.query_api import QueryApi
from tracemw.analysis.load.unreadable import ServerError

_MOST_ROUTES: Final = 20


class Fetched:
    """One side: the search, and what the traces that were fetched say."""

    def __init__(self, api: QueryApi, search: ServerSearch, side: Side, *, is_cut: bool) -> None:
        self.search = search
        self.side = side
        self.is_cut = is_cut
        """Whether the search has found more than `--limit` lets it give."""
        self.condition = filter_of(search.query)
        self.ask: Ask = lambda query: api.metrics(query, start=search.start, end=search.end)

    @property
    def weight(self) -> float | None:
        """How many requests each trace stands for; None if they differ."""
        least, most = self.side.weights or (1.0, 1.0)
        return least if most - least <= 1e-6 * most else None


def measure(sides: Sequence[Fetched]) -> tuple[WholeTraffic, list[str]]:
    """Return the numbers of routes of which the server has more than was fetched, and notes on what was possible."""
    cut = [
        f"{each.side.name}: the server gave no more than {each.side.traces + each.side.kept} traces; see --limit"
        for each in sides
        if each.is_cut
    ]
    try:
        whole = _measured(sides)
        reason = ""
    except ServerError as error:
        whole, reason = {}, f" ({error})"
    if whole:
        return whole, [
            *cut,
            f"{len(whole)} routes are measured by the server's metrics over all traffic; their quantiles are "
            "approximate. Spans, findings and attributes are those of the traces that were fetched",
        ]
    return {}, [*cut, *([f"all numbers are of the traces that were fetched{reason}"] if cut else [])]


def _measured(sides: Sequence[Fetched]) -> dict[RouteKey, tuple[RouteNumbers, RouteNumbers]]:
    before, after = sides
    if None in (before.condition, after.condition, before.weight, after.weight):
        return {}  # a query over several spans of a trace, or sampling by several ratios: spans cannot just be counted
    counts = [ask_counts(each.ask, each.condition or "") for each in sides]
    confidence = confidence_of_each(before.side, after.side)
    found = {}
    for key in _more_than_fetched(sides, counts)[:_MOST_ROUTES]:
        numbers = [
            ask_numbers(each.ask, each.condition or "", key, counted, weight=each.weight or 1.0, confidence=confidence)
            for each, counted in zip(sides, counts, strict=True)
        ]
        if numbers[0] is not None and numbers[1] is not None:
            found[key] = (numbers[0], numbers[1])
    return found


def _more_than_fetched(sides: Sequence[Fetched], counts: Sequence[Counts]) -> list[RouteKey]:
    """Return the routes of which the server has more on one side, and no less on the other; the largest first."""
    keys = counts[0].requests.keys() & counts[1].requests.keys()
    chosen = {}
    for key in keys & sides[0].side.routes.keys() & sides[1].side.routes.keys():
        seen = [each.side.routes[key].size.weight / (each.weight or 1.0) for each in sides]
        there = [counted.requests[key] for counted in counts]
        if all(a >= b for a, b in zip(there, seen, strict=True)) and sum(there) > sum(seen):
            chosen[key] = sum(there)
    return sorted(chosen, key=lambda key: (-chosen[key], key))
