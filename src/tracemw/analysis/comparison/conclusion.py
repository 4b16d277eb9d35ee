"""The one sentence on a comparison: what got worse, by how much, and which group of spans is the cause."""

from __future__ import annotations

from typing import Final, Literal

from tracemw.analysis.comparison.changes import MEASURES, Comparison, GroupChange, RouteChange
from tracemw.analysis.comparison.intervals import Estimate
from tracemw.analysis.findings.finding import at

_ALL: Final = 0.995


def conclude(made: Comparison) -> str:
    """Return the sentence on a comparison."""
    worse = sorted(made.worse_routes, key=lambda route: (not route.is_entry, -_times(route)))
    grown = made.grown_groups
    if worse:
        first = worse[0]
        entries = {(first.service, first.route)} if first.is_entry else {group.entry for group in grown}
        causes = [group for group in grown if group.entry in entries]
        parts = [route_worse(first), *([group_grew(causes[0])] if causes else [])]
        if worse[1:]:
            parts.append(f"{len(worse) - 1} more route{'s' if worse[2:] else ''} got worse")
    elif grown:
        parts = [f"{grown[0].entry[1]} does more: {group_grew(grown[0])}"]
    else:
        parts = []
    new = made.new_findings
    if new and not (worse or grown):
        share = f"in {new[0].share_before:.1%} -> {new[0].share_after:.1%} of the requests"
        parts.append(f"{'new' if new[0].is_new else 'more often'}, {share}: {new[0].finding.title}")
    elif new:
        for told, chosen in (("new", True), ("more often", False)):
            codes = list(dict.fromkeys(change.finding.code for change in new if change.is_new is chosen))
            parts += [f"{told}: {', '.join(codes)}"] if codes else []
    return "; ".join(parts) if parts else _nothing_worse(made)


def route_worse(route: RouteChange) -> str:
    """Return what got worse with a route, such as `GET /orders got slower: p95 21 -> 204 ms (20..22 -> 199..210)`."""
    return _said(route, [measure for measure in MEASURES if measure in route.worse], "got slower", "fails more")


def group_grew(group: GroupChange) -> str:
    """Return how a group grew, such as `SELECT addresses in profile grew from 1 to 41 calls a request (app.py:57)`."""
    before, after = group.before, group.after
    often = after.count - before.count >= 0.5 and after.count >= 1.5 * before.count
    noun = f"{'call' if group.is_call else 'span'}{'' if number(after.count) == '1' else 's'}"
    if before.count == 0:
        grew = f"is new, with {number(after.count)} {noun} and {number(after.own_ms)} ms a request"
    elif often:
        grew = f"grew from {number(before.count)} to {number(after.count)} {noun} a request"
    else:
        grew = f"grew from {number(before.own_ms)} to {number(after.own_ms)} ms a request"
    share = group.share_of_growth
    part = f", {'all' if share >= _ALL else f'{share:.0%}'} of the growth" if share else ""
    return f"`{group.name}` in {group.service} {grew}{at(group.line)}{part}"


def _said(route: RouteChange, measures: list[str], slower: str, failing: str) -> str:
    parts = []
    quantiles = [measure for measure in measures if measure != "error_rate"]
    if quantiles:
        told = max(quantiles, key=lambda measure: (_ratio(route, measure), measure == "p95_ms"))
        told = "p95_ms" if "p95_ms" in quantiles else told
        parts.append(f"{slower}: {told.removesuffix('_ms')} {_from_to(route, told)}")
    if "error_rate" in measures:
        parts.append(f"{failing}: {_from_to(route, 'error_rate')}")
    return f"{route.route} {' and '.join(parts)}"


def _from_to(route: RouteChange, measure: str) -> str:
    if route.before is None or route.after is None:
        return ""
    before, after = route.before.measures[measure], route.after.measures[measure]
    if measure == "error_rate":
        bounds = f"{interval(before, 100)} -> {interval(after, 100)}"
        return f"{number(before.value * 100)} -> {number(after.value * 100)} % of the requests ({bounds})"
    return f"{number(before.value)} -> {number(after.value)} ms ({interval(before)} -> {interval(after)})"


def interval(estimate: Estimate, factor: float = 1.0) -> str:
    """Return an interval, such as `20.1..22`; a bound that is not known is left out."""
    low, high = ("" if each is None else number(each * factor) for each in estimate[1:])
    return f"{low}..{high}"


def number(value: float) -> str:
    """Return a number as people read it: with three digits, or all digits before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(route: RouteChange, measure: str) -> float:
    if route.before is None or route.after is None:
        return 0.0
    before, after = route.before.measures[measure].value, route.after.measures[measure].value
    return after / before if before else after * 1000


def _times(route: RouteChange) -> float:
    return max(_ratio(route, measure) for measure in route.worse)


def _most_frequent(made: Comparison, when: Literal["before", "after"]) -> str:
    """Return the route that one side has most requests of."""
    there = [(side.count, route.route) for route in made.routes if (side := getattr(route, when))]
    return max(there)[1] if there else "no requests"


def _nothing_worse(made: Comparison) -> str:
    traces = "trace" if made.before.traces == 1 else "traces"
    sides = f"{made.before.traces} {traces} before and {made.after.traces} after"
    if not any(route.before and route.after for route in made.routes):
        gone, new = (_most_frequent(made, when) for when in ("before", "after"))
        return f"no route is on both sides, of which one has {gone}, and the other {new}; name sides of one service"
    if not any(route.chances for route in made.routes):
        return f"{sides} are too few to tell a difference from chance; compare more"
    better = [route for route in made.routes if route.better]
    if better:
        first = min(better, key=lambda route: not route.is_entry)
        return f"nothing got worse; {_said(first, list(first.better), 'got faster', 'fails less')}"
    return f"nothing got worse: what differs between {sides} can be chance, or is too little to matter"
