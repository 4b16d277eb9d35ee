"""What `tracemw compare` prints for people: verdict, routes, what grew, what is new, what sets them apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tracemw.analysis.comparison.changes import (
    AttributeChange,
    Comparison,
    FindingChange,
    RouteChange,
    RouteNumbers,
    SideSummary,
)
from tracemw.analysis.comparison.conclusion import conclude, group_grew, interval, number
from tracemw.analysis.findings.finding import at
from tracemw.analysis.report.line import Line

_MOST_ROUTES: Final = 30
_FEWEST_REQUESTS: Final = 5
"""Of a route with fewer on both sides, nothing can be said."""

_MOST_GROUPS: Final = 10
_MOST_FINDINGS: Final = 10
_MOST_ATTRIBUTES: Final = 10
LABELS: Final = {"p50_ms": "p50 ms", "p95_ms": "p95 ms", "p99_ms": "p99 ms", "error_rate": "errors %"}
"""What a table calls each measure."""


def lines_of_comparison(made: Comparison) -> Iterator[Line]:
    """Give the lines on a comparison."""
    sentence = conclude(made)
    style = "bold red" if is_bad(made) else "bold green"
    yield Line(sentence[:1].upper() + sentence[1:], style)
    yield Line("")
    yield from (_side("before", made.before), _side("after", made.after))
    yield Line(f"intervals have the truth with {made.confidence:.2%} each, 95% all together", "dim")
    yield from (Line(f"note: {note}", "dim") for note in made.notes)
    routes = [route for route in made.routes if _tells(route)]
    for route in routes[:_MOST_ROUTES]:
        yield Line("")
        yield from _route(route)
    yield from _left_out(len(routes), _MOST_ROUTES)
    if len(routes) < len(made.routes):
        rare = len(made.routes) - len(routes)
        yield Line(f"... and {rare} with fewer than {_FEWEST_REQUESTS} requests on either side; --json has all", "dim")
    yield from _groups(made)
    yield from _findings(made)
    yield from _attributes(made)


def is_bad(made: Comparison) -> bool:
    """Return whether something got worse, or a finding that is more than a hint is new."""
    return made.is_regression or any(change.finding.severity != "hint" for change in made.new_findings)


def words_of(route: RouteChange) -> list[str]:
    """Return what is to be said of a route, such as `slower`; nothing for one that is as before."""
    if route.before is None or route.after is None:
        return ["new" if route.before is None else "gone"]
    said = {
        "slower": set(route.worse) - {"error_rate"},
        "fails more": "error_rate" in route.worse,
        "faster": set(route.better) - {"error_rate"},
        "fails less": "error_rate" in route.better,
    }
    return [word for word, holds in said.items() if holds]


def _tells(route: RouteChange) -> bool:
    return any(each is not None and each.count >= _FEWEST_REQUESTS for each in (route.before, route.after))


def _side(when: str, side: SideSummary) -> Line:
    versions = f", version {', '.join(side.versions[:3])}" if side.versions else ""
    weighed = f", which stand for {side.requests:.0f}" if round(side.requests) != side.traces else ""
    return Line(f"{when:<7}{side.name}: {side.traces} traces{weighed}{versions}")


def _route(route: RouteChange) -> Iterator[Line]:
    words = words_of(route)
    style = "bold red" if route.worse else "green" if route.better else ""
    yield Line(f"{route.route} of {route.service}{'  ' if words else ''}{', '.join(words)}", style or "bold")
    yield Line(f"    {'':9}{'count':>9}" + "".join(f"  {label:<24}" for label in LABELS.values()).rstrip(), "dim")
    for when, numbers in (("before", route.before), ("after", route.after)):
        if numbers is not None:
            yield Line(f"    {when:<9}{number(numbers.count):>9}{_cells(numbers)}")


def _cells(numbers: RouteNumbers) -> str:
    cells = []
    for name in LABELS:
        estimate = numbers.measures.get(name)
        factor = 100 if name == "error_rate" else 1
        cells.append("" if estimate is None else f"{number(estimate.value * factor)} ({interval(estimate, factor)})")
    return "".join(f"  {cell:<24}" for cell in cells).rstrip()


def _groups(made: Comparison) -> Iterator[Line]:
    if made.grown_groups:
        yield Line("")
        yield Line("what grew, in an average request", "bold")
    for group in made.grown_groups[:_MOST_GROUPS]:
        yield Line(f"  +{number(group.growth_ms)} ms  {group_grew(group)}", "red")
        yield Line(f"      {' > '.join(group.position)}", "dim")
    yield from _left_out(len(made.grown_groups), _MOST_GROUPS)
    for group in [group for group in made.groups if group.shrank][:_MOST_GROUPS]:
        yield Line(f"  {number(group.growth_ms)} ms  `{group.name}` in {group.service}{at(group.line)}", "green")


def _findings(made: Comparison) -> Iterator[Line]:
    new = made.new_findings
    unsure = [change for change in made.findings if change not in new and not change.traces_before]
    if new or unsure:
        yield Line("")
        yield Line("findings", "bold")
    for change in new[:_MOST_FINDINGS]:
        finding = change.finding
        yield Line(f"  {'new' if change.is_new else 'more'} {finding.code}, {_often(change)}: {finding.title}", "red")
        yield Line(f"      {finding.remedy}; one of them is {finding.trace_id}")
    yield from _left_out(len(new), _MOST_FINDINGS)
    for change in unsure[:_MOST_FINDINGS]:
        finding = change.finding
        yield Line(f"  only after, may be chance: {finding.code}, {_often(change)}: {finding.title}", "dim")


def _often(change: FindingChange) -> str:
    return f"in {change.share_before:.1%} -> {change.share_after:.1%} of the requests"


def _attributes(made: Comparison) -> Iterator[Line]:
    if made.attributes:
        yield Line("")
        yield Line("attributes that set the sides apart, by the share of requests", "bold")
    alike: dict[tuple[float, float], list[AttributeChange]] = {}  # most likely of the same requests
    for change in made.attributes:
        alike.setdefault((change.share_before, change.share_after), []).append(change)
    for (before, after), changes in list(alike.items())[:_MOST_ATTRIBUTES]:
        more = f", and {len(changes) - 1} more attributes alike" if len(changes) > 1 else ""
        yield Line(f"  {before:6.1%} -> {after:6.1%}  {changes[0].attribute} = {changes[0].value}{more}")
    yield from _left_out(len(alike), _MOST_ATTRIBUTES)


def _left_out(count: int, shown: int) -> Iterator[Line]:
    if count > shown:
        yield Line(f"... and {count - shown} more; --json has all", "dim")
