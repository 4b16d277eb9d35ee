"""What a backend's TraceQL metrics say of routes whose traces are too many to fetch.

A backend counts spans, not their weights, and its quantiles are approximate: Tempo reads them off classes of durations
that double. Source: grafana.com/docs/tempo/latest/metrics-from-traces/metrics-queries/functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tracemw.analysis.comparison.changes import RouteNumbers
from tracemw.analysis.comparison.intervals import Estimate, quantile_ranks, share_interval
from tracemw.analysis.comparison.side import RouteKey
from tracemw.analysis.findings.finding import quoted

WholeTraffic = Mapping[RouteKey, tuple[RouteNumbers, RouteNumbers]]
"""By service and route: the numbers of either side."""

Series = list[tuple[dict[str, Any], float]]
Ask = Callable[[str], Series]
"""Answers a TraceQL metrics query."""

QUANTILES: Final = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
_TRAFFIC: Final = "kind = server && span.tracemw.kept = nil && span.tracemw.spike = nil"
"""Kept spans, and the roots of a spike, are no sample of the traffic."""

_BY_ROUTE: Final = "by (resource.service.name, name)"


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many requests of each route a backend has, and how many of them failed."""

    requests: Mapping[RouteKey, float]
    failed: Mapping[RouteKey, float]


def ask_counts(ask: Ask, condition: str) -> Counts:
    """Return the counts of requests that match a TraceQL condition; empty stands for all."""
    own = _and(_TRAFFIC, condition)
    return Counts(
        requests=_by_route(ask(f"{{ {own} }} | count_over_time() {_BY_ROUTE}")),
        failed=_by_route(ask(f"{{ {own} && status = error }} | count_over_time() {_BY_ROUTE}")),
    )


def ask_numbers(
    ask: Ask, condition: str, key: RouteKey, counts: Counts, *, weight: float, confidence: float
) -> RouteNumbers | None:
    """Return the numbers of one route; None if the backend does not give all quantiles.

    Args:
        ask: Answers a TraceQL metrics query.
        condition: What else the requests match; empty stands for all.
        key: The service and the route.
        counts: What the backend has counted.
        weight: How many requests each span stands for.
        confidence: Of each interval.
    """
    spans = counts.requests[key]
    levels = {name: (share, *_bounds(share, round(spans), confidence)) for name, share in QUANTILES.items()}
    wanted = sorted({level for each in levels.values() for level in each if level is not None})
    own = _and(_TRAFFIC, condition, f"resource.service.name = {quoted(key[0])}", f"name = {quoted(key[1])}")
    listed = ", ".join(f"{level:.6f}" for level in wanted)
    series = ask(f"{{ {own} }} | quantile_over_time(duration, {listed})")
    answers = [(float(labels["p"]), seconds * 1000) for labels, seconds in series if "p" in labels]
    found = {level: value for level in wanted for p, value in answers if abs(p - level) < 1e-6}
    if any(levels[name][0] not in found for name in levels):
        return None
    measures = {
        name: Estimate(*(found.get(level) if level is not None else None for level in each))  # type: ignore[arg-type]
        for name, each in levels.items()
    }
    measures["error_rate"] = share_interval(min(counts.failed.get(key, 0.0) / spans, 1.0), spans, confidence)
    return RouteNumbers(count=spans * weight, spans=spans, measures=measures, measured_by="metrics")


def _bounds(share: float, size: int, confidence: float) -> tuple[float | None, float | None]:
    """Return the shares of requests below the bounds of a quantile's interval."""
    low, high = quantile_ranks(share, size, confidence)
    return (None if low is None else round(low / size, 6), None if high is None else round(min(high / size, 1.0), 6))


def _by_route(series: Series) -> dict[RouteKey, float]:
    return {
        (str(labels.get("resource.service.name") or ""), str(labels.get("name") or "")): value
        for labels, value in series
    }


def _and(*conditions: str) -> str:
    return " && ".join(f"({each})" if " || " in each else each for each in conditions if each)
