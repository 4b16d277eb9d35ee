"""Which routes got slower, faster, or fail more."""

from __future__ import annotations

from typing import Final

from tracemw.analysis.comparison.changes import MEASURES, RouteChange, RouteNumbers
from tracemw.analysis.comparison.served_requests import RouteRequests
from tracemw.analysis.comparison.side import RouteKey, Side
from tracemw.analysis.comparison.significance import (
    CHANCE,
    Chances,
    corrected,
    quantile_by_chance,
    shares_by_chance,
)
from tracemw.analysis.comparison.whole_traffic import QUANTILES, WholeTraffic

NOTABLE: Final = 0.1
"""What grew by less than a tenth is no news."""

_NOTABLE_MS: Final = 0.1
_NOTABLE_RATE: Final = 0.001
_CONFIDENCE: Final = 0.95
_CLASSES: Final = 48


def confidence_of_each(before: Side, after: Side) -> float:
    """Return the confidence of one interval, for all of them together to be right in 95 of 100 comparisons."""
    intervals = len(MEASURES) * (len(before.routes) + len(after.routes))
    return 1.0 - (1.0 - _CONFIDENCE) / max(intervals, 1)


def route_changes(before: Side, after: Side, whole: WholeTraffic) -> list[RouteChange]:
    """Return all routes of both sides: those that got worse first, then those with most requests."""
    confidence = confidence_of_each(before, after)
    keys = list(dict.fromkeys((*before.routes, *after.routes)))
    chances = _chances(before, after, whole)
    worse = _corrected({question: each.more for question, each in chances.items()})
    better = _corrected({question: each.less for question, each in chances.items()})
    found = []
    for key in keys:
        here, there = before.routes.get(key), after.routes.get(key)
        numbers = whole.get(key) or (_numbers(here, confidence), _numbers(there, confidence))
        edges = _edges(here, there)
        found.append(
            RouteChange(
                service=key[0],
                route=key[1],
                is_entry=any(each is not None and each.is_entry for each in (here, there)),
                before=numbers[0],
                after=numbers[1],
                worse=[m for m in MEASURES if _is_sure(worse, key, m, *numbers) and _matters(m, *numbers)],
                better=[
                    m for m in MEASURES if _is_sure(better, key, m, *numbers[::-1]) and _matters(m, *numbers[::-1])
                ],
                chances={measure: worse[key, measure] for measure in MEASURES if (key, measure) in worse},
                edges_ms=edges,
                shares_before=here.shares_between(edges) if here else [],
                shares_after=there.shares_between(edges) if there else [],
            )
        )
    return sorted(found, key=lambda each: (not each.worse, not each.is_entry, -_requests(each)))


def _requests(change: RouteChange) -> float:
    return sum(each.count for each in (change.before, change.after) if each)


def _numbers(requests: RouteRequests | None, confidence: float) -> RouteNumbers | None:
    if requests is None:
        return None
    measures = {name: requests.estimated_quantile(share, confidence) for name, share in QUANTILES.items()}
    measures["error_rate"] = requests.error_rate(confidence)
    return RouteNumbers(count=requests.size.weight, measures=measures, spans=requests.size.effective)


def _is_sure(
    chances: dict[tuple[RouteKey, str], float],
    key: RouteKey,
    measure: str,
    low: RouteNumbers | None,
    high: RouteNumbers | None,
) -> bool:
    """Return whether a growth is more than chance. Of a backend's quantiles, the intervals have to be apart."""
    if low is None or high is None or low.measured_by == "traces" or measure == "error_rate":
        return chances.get((key, measure), 1.0) <= CHANCE
    upper, lower = low.measures[measure].high, high.measures[measure].low
    return upper is not None and lower is not None and upper < lower


def _chances(before: Side, after: Side, whole: WholeTraffic) -> dict[tuple[RouteKey, str], Chances]:
    """Return how likely chance makes each measure so different. What samples are too small to tell is not asked."""
    found = {}
    for key in before.routes.keys() & after.routes.keys():
        if key in whole:
            old, new = whole[key]
            errors = shares_by_chance(
                old.measures["error_rate"].value, old.spans, new.measures["error_rate"].value, new.spans
            )
            if errors is not None:
                found[key, "error_rate"] = errors
            continue
        here, there = before.routes[key], after.routes[key]
        sizes = here.size.effective, there.size.effective
        answers = {name: _quantile_chances(here, there, share) for name, share in QUANTILES.items()}
        answers["error_rate"] = shares_by_chance(here.failed_share, sizes[0], there.failed_share, sizes[1])
        found.update({(key, name): chances for name, chances in answers.items() if chances is not None})
    return found


def _quantile_chances(before: RouteRequests, after: RouteRequests, share: float) -> Chances | None:
    limits = before.quantile(share), after.quantile(share)
    old, new = ((before.share_above(limit), after.share_above(limit)) for limit in limits)
    return quantile_by_chance(old, new, before.size.effective, after.size.effective)


def _corrected(chances: dict[tuple[RouteKey, str], float]) -> dict[tuple[RouteKey, str], float]:
    return dict(zip(chances, corrected(list(chances.values())), strict=True))


def _matters(measure: str, low: RouteNumbers | None, high: RouteNumbers | None) -> bool:
    """Return whether a growth is enough to matter."""
    if low is None or high is None:
        return False
    before, after = low.measures[measure].value, high.measures[measure].value
    least = _NOTABLE_RATE if measure == "error_rate" else _NOTABLE_MS
    return after - before >= max(least, NOTABLE * before)


def _edges(*sides: RouteRequests | None) -> list[float]:
    """Return edges of classes of durations, each wider than the one before by the same factor."""
    present = [each for each in sides if each is not None]
    low = max(min(each.quantile(0.0) for each in present), 0.001)
    high = max(max(each.quantile(1.0) for each in present), low * 1.1)
    return [low * (high / low) ** (number / _CLASSES) for number in range(_CLASSES + 1)]
