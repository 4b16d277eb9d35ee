"""The picture of a comparison: durations of a route on both sides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final

from tracemw.analysis.comparison.changes import RouteChange, RouteNumbers
from tracemw.analysis.comparison.conclusion import interval, number

_WIDTH: Final = 960
_LEFT: Final = 44
_RIGHT: Final = 24
_HILLS: Final = 120
"""The height of the distributions."""

_ROW: Final = 26
_QUANTILES: Final = ("p50_ms", "p95_ms", "p99_ms")
_STEPS: Final = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8))
_MANY_TICKS: Final = 12
_FEW_TICKS: Final = 4
_SIDES: Final = ("before", "after")

Scale = Callable[[float], float]


def durations_svg(route: RouteChange) -> str:
    """Return the distributions of a route's durations, above the quantiles with their intervals."""
    edges = route.edges_ms
    low, high = math.log(edges[0]), math.log(edges[-1])

    def x(milliseconds: float) -> float:
        place = (math.log(max(milliseconds, edges[0])) - low) / (high - low)
        return _LEFT + min(max(place, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT)

    bottom = _HILLS + 14 + _ROW * len(_QUANTILES)
    body = [*_ticks(edges[0], edges[-1], x, bottom)]
    highest = max((*route.shares_before, *route.shares_after), default=1.0) or 1.0
    for side, shares in zip(_SIDES, (route.shares_before, route.shares_after), strict=True):
        if shares:
            points = _steps(edges, shares, highest, x)
            body.append(f'<polygon class="fill {side}" points="{points}"/>')
            body.append(f'<polyline class="outline {side}" points="{points}"/>')
    body.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_HILLS}" y2="{_HILLS}"/>')
    for row, measure in enumerate(_QUANTILES):
        y = _HILLS + 20 + row * _ROW
        body.append(f'<text class="soft" x="6" y="{y + 9}">{measure.removesuffix("_ms")}</text>')
        for offset, side, numbers in zip((0, 10), _SIDES, (route.before, route.after), strict=True):
            body.extend(_range(measure, side, numbers, y + offset, x))
    label = f"Durations of {route.route} before and after, with the intervals of p50, p95 and p99"
    return _svg(bottom + 22, label, body)


def _steps(edges: Sequence[float], shares: Sequence[float], highest: float, x: Scale) -> str:
    points = [f"{x(edges[0]):.1f},{_HILLS}"]
    for left, right, share in zip(edges, edges[1:], shares, strict=False):
        y = _HILLS - share / highest * (_HILLS - 8)
        points += [f"{x(left):.1f},{y:.1f}", f"{x(right):.1f},{y:.1f}"]
    return " ".join([*points, f"{x(edges[-1]):.1f},{_HILLS}"])


def _range(measure: str, side: str, numbers: RouteNumbers | None, y: float, x: Scale) -> Iterator[str]:
    """Give the interval of a quantile as a bar, and the quantile as a dot. To an unknown bound the bar is dashed."""
    estimate = numbers.measures.get(measure) if numbers else None
    if estimate is None:
        return
    dot = x(estimate.value)
    for bound, end in ((estimate.low, _LEFT), (estimate.high, _WIDTH - _RIGHT)):
        open_end = "" if bound is not None else " open"
        to = x(bound) if bound is not None else end
        yield f'<line class="range {side}{open_end}" x1="{dot:.1f}" x2="{to:.1f}" y1="{y}" y2="{y}"/>'
    said = f"{measure.removesuffix('_ms')} {side}: {number(estimate.value)} ms ({interval(estimate)})"
    yield f'<circle class="{side}" cx="{dot:.1f}" cy="{y}" r="3.6"><title>{said}</title></circle>'


def _ticks(low: float, high: float, x: Scale, bottom: float) -> Iterator[str]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in _STEPS:
        found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(found) >= _FEW_TICKS:
            break
    for value in found[:: len(found) // _MANY_TICKS + 1]:
        yield f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="6" y2="{bottom}"/>'
        yield f'<text class="soft tick" x="{x(value):.1f}" y="{bottom + 15}" text-anchor="middle">{value:g} ms</text>'


def _svg(height: float, label: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"<title>{escape(label)}</title>{''.join(body)}</svg>"
    )
