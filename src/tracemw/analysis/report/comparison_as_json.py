"""What `tracemw compare --json` prints. Names are there to stay; more may come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracemw.analysis.comparison.changes import (
    Comparison,
    FindingChange,
    GroupChange,
    GroupNumbers,
    RouteChange,
    RouteNumbers,
    SideSummary,
)
from tracemw.analysis.comparison.conclusion import conclude
from tracemw.analysis.comparison.intervals import Estimate
from tracemw.analysis.report.as_json import of_finding


def of_comparison(made: Comparison) -> Mapping[str, Any]:
    """Return the document on a comparison."""
    return {
        "verdict": conclude(made),
        "regression": made.is_regression,
        "confidence": round(made.confidence, 6),
        "before": _side(made.before),
        "after": _side(made.after),
        "routes": [_route(route) for route in made.routes],
        "groups": [_group(group) for group in made.groups],
        "findings": [_of_finding_change(change) for change in made.findings],
        "attributes": [
            {
                "attribute": change.attribute,
                "value": change.value,
                "before": round(change.share_before, 6),
                "after": round(change.share_after, 6),
                "chance": _chance(change.chance),
            }
            for change in made.attributes
        ],
        "notes": list(made.notes),
    }


def _side(side: SideSummary) -> Mapping[str, Any]:
    return {
        "name": side.name,
        "traces": side.traces,
        "kept": side.kept,
        "requests": round(side.requests, 3),
        "versions": list(side.versions),
    }


def _route(route: RouteChange) -> Mapping[str, Any]:
    return {
        "service": route.service,
        "route": route.route,
        "entry": route.is_entry,
        "worse": list(route.worse),
        "better": list(route.better),
        "chances": {measure: _chance(chance) for measure, chance in route.chances.items()},
        "before": _route_numbers(route.before),
        "after": _route_numbers(route.after),
        "distribution": {
            "edges_ms": [round(edge, 3) for edge in route.edges_ms],
            "before": [round(share, 6) for share in route.shares_before],
            "after": [round(share, 6) for share in route.shares_after],
        },
    }


def _route_numbers(numbers: RouteNumbers | None) -> Mapping[str, Any] | None:
    if numbers is None:
        return None
    return {
        "count": round(numbers.count, 3),
        "measured_by": numbers.measured_by,
        **{name: _estimate(estimate) for name, estimate in numbers.measures.items()},
    }


def _estimate(estimate: Estimate) -> Mapping[str, float | None]:
    value, low, high = (None if each is None else round(each, 6) for each in estimate)
    return {"value": value, "low": low, "high": high}


def _group(group: GroupChange) -> Mapping[str, Any]:
    return {
        "entry": {"service": group.entry[0], "route": group.entry[1]},
        "service": group.service,
        "name": group.name,
        "position": list(group.position),
        "line": group.line,
        "grew": group.grew,
        "shrank": group.shrank,
        "growth_ms": round(group.growth_ms, 6),
        "share_of_growth": None if group.share_of_growth is None else round(group.share_of_growth, 6),
        "chance": _chance(group.chance),
        "before": _group_numbers(group.before),
        "after": _group_numbers(group.after),
    }


def _group_numbers(numbers: GroupNumbers) -> Mapping[str, float]:
    return {name: round(getattr(numbers, name), 6) for name in ("count", "own_ms", "on_path_ms")}


def _of_finding_change(change: FindingChange) -> Mapping[str, Any]:
    return {
        **of_finding(change.finding),
        "new": change.is_new,
        "more": change.is_more,
        "chance": None if change.chance is None else _chance(change.chance),
        "before": {"traces": change.traces_before, "share": round(change.share_before, 6)},
        "after": {"traces": change.traces_after, "share": round(change.share_after, 6)},
    }


def _chance(chance: float) -> float:
    return float(f"{chance:.3g}")
