"""Whether a difference between two samples can be chance.

Sources: Fisher's exact test; the test of Mann and Whitney with its correction for ties (Lehmann, Nonparametrics, 1.4);
Holm, Scandinavian Journal of Statistics 6 (1979), for many questions at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

CHANCE: Final = 0.01
"""How often one kind of question may be answered wrongly, over all routes, groups or findings together."""


class Chances(NamedTuple):
    """How likely chance alone makes a difference at least as large, in each direction."""

    more: float
    """That there is so much more after than before."""

    less: float
    """That there is so much less."""


def hits_by_chance(before: int, before_size: int, after: int, after_size: int) -> Chances:
    """Return the chances of so many hits after, when both sides have the same share of them (Fisher's exact test)."""
    hits, size = before + after, before_size + after_size
    lowest, highest = max(0, hits - before_size), min(hits, after_size)
    here = math.exp(_log_choose(after_size, after) + _log_choose(before_size, before) - _log_choose(size, hits))
    more = less = here
    term, count = here, after
    while count < highest and term > 0.0:
        term *= (after_size - count) * (hits - count) / ((count + 1) * (before_size - hits + count + 1))
        count += 1
        more += term
        if term < more * 1e-17:
            break
    term, count = here, after
    while count > lowest and term > 0.0:
        term *= count * (before_size - hits + count) / ((after_size - count + 1) * (hits - count + 1))
        count -= 1
        less += term
        if term < less * 1e-17:
            break
    return Chances(min(more, 1.0), min(less, 1.0))


def shares_by_chance(before: float, before_size: float, after: float, after_size: float) -> Chances | None:
    """Return the chances of two shares, of samples that are worth so many requests.

    None is for so few hits that no way to spread them over the sides would tell anything.
    """
    sizes = _whole(before_size), _whole(after_size)
    hits = round(before * sizes[0]), round(after * sizes[1])
    both = sum(hits)
    most = hits_by_chance(max(0, both - sizes[1]), sizes[0], min(both, sizes[1]), sizes[1]).more
    least = hits_by_chance(min(both, sizes[0]), sizes[0], max(0, both - sizes[0]), sizes[1]).less
    return hits_by_chance(hits[0], sizes[0], hits[1], sizes[1]) if min(most, least) <= CHANCE else None


def quantile_by_chance(
    above_old: tuple[float, float], above_new: tuple[float, float], before_size: float, after_size: float
) -> Chances | None:
    """Return the chances of so different a quantile (the precedence test).

    A limit that is an observation of one side makes Fisher's chances exact, whatever the distribution. None is for
    samples too small to tell anything. Source: Nelson, Technometrics 5 (1963).

    Args:
        above_old: The shares of either side that exceed the quantile of before.
        above_new: The shares of either side that exceed the quantile of after.
        before_size: How many requests the sample of before is worth.
        after_size: The same of after.
    """
    sizes = _whole(before_size), _whole(after_size)
    old, new = round(above_old[0] * sizes[0]), round(above_new[1] * sizes[1])
    most = hits_by_chance(old, sizes[0], sizes[1], sizes[1]).more
    least = hits_by_chance(sizes[0], sizes[0], new, sizes[1]).less
    if min(most, least) > CHANCE:
        return None
    return Chances(
        hits_by_chance(old, sizes[0], round(above_old[1] * sizes[1]), sizes[1]).more,
        hits_by_chance(round(above_new[0] * sizes[0]), sizes[0], new, sizes[1]).less,
    )


def _whole(size: float) -> int:
    return math.floor(size + 1e-9)


def shift_by_chance(
    before: Mapping[int, float], before_size: float, after: Mapping[int, float], after_size: float
) -> Chances:
    """Return the chances that one sample lies so far above the other (Mann and Whitney).

    No chance is lower than that of the one arrangement of so many requests in which all of one side come first.

    Args:
        before: Shares of the sample, which sum to 1, by value or by class of values.
        before_size: How many requests the sample has, or is worth.
        after: The other sample's shares.
        after_size: The other sample's size.
    """
    size = before_size + after_size
    below, wins, ties = 0.0, 0.0, 0.0
    for value in sorted(before.keys() | after.keys()):
        here, there = before.get(value, 0.0), after.get(value, 0.0)
        wins += there * (below + here / 2)
        below += here
        ties += ((here * before_size + there * after_size) / size) ** 3
    spread = math.sqrt(max((size + 1.0) * (1.0 - ties), 0.0) / (12.0 * before_size * after_size))
    least = math.exp(-_log_choose(size, after_size))
    if spread < 1e-9:
        return Chances(1.0, 1.0)
    step = 0.5 / (before_size * after_size)
    return Chances(
        max(_normal_tail((wins - 0.5 - step) / spread), least),
        max(_normal_tail((0.5 - wins - step) / spread), least),
    )


def corrected(chances: Sequence[float]) -> list[float]:
    """Return the chances, each made larger for having asked so many questions at a time (Holm)."""
    result, largest = [1.0] * len(chances), 0.0
    for rank, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        largest = max(largest, min(1.0, chances[index] * (len(chances) - rank)))
        result[index] = largest
    return result


def _normal_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _log_choose(of: float, chosen: float) -> float:
    return math.lgamma(of + 1.0) - math.lgamma(chosen + 1.0) - math.lgamma(of - chosen + 1.0)
