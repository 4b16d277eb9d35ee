"""Confidence intervals of shares and quantiles, exact for plain samples and careful for weighted ones.

A weighted sample counts as the number of equal requests that would tell as much. Sources: Clopper and Pearson,
Biometrika 26 (1934), with the effective size of Korn and Graubard, Survey Methodology 24 (1998); order statistics
after David and Nagaraja, Order Statistics, 7.1; the incomplete beta function after Press et al., Numerical Recipes,
6.4.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

_TINY: Final = 1e-300
_PRECISION: Final = 1e-15
_MOST_STEPS: Final = 100_000


class Estimate(NamedTuple):
    """A number, and the interval in which the truth is. A bound that the sample is too small for is None."""

    value: float
    low: float | None
    high: float | None


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), for positive `a` and `b`."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(front) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function, by the method of Lentz."""
    c, d = 1.0, 1.0 / _off_zero(1.0 - (a + b) * x / (a + 1.0))
    result = d
    for step in range(1, _MOST_STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1.0) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1.0))
        for part in (even, odd):
            d = 1.0 / _off_zero(1.0 + part * d)
            c = _off_zero(1.0 + part / c)
            result *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            break
    return result


def _off_zero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY


def binomial_cdf(successes: int, trials: int, probability: float) -> float:
    """Return how likely it is that at most so many of the trials succeed."""
    if successes < 0 or successes >= trials:
        return 0.0 if successes < 0 else 1.0
    return 1.0 - beta_cdf(probability, successes + 1.0, float(trials - successes))


def share_interval(share: float, size: float, confidence: float) -> Estimate:
    """Return a share with its interval.

    Args:
        share: The share in the sample, from 0 to 1.
        size: How many requests the sample has, or is worth.
        confidence: How likely the interval has the truth, such as 0.95.
    """
    if size <= 0:
        return Estimate(share, None, None)
    tail, hits = (1.0 - confidence) / 2, share * size
    low = 0.0 if hits <= 0 else _beta_quantile(tail, hits, size - hits + 1.0)
    high = 1.0 if hits >= size else _beta_quantile(1.0 - tail, hits + 1.0, size - hits)
    return Estimate(share, low, high)


def _beta_quantile(probability: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    while high - low > 1e-9 * high and high > _TINY:
        middle = (low + high) / 2
        if beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def quantile_ranks(quantile: float, size: int, confidence: float) -> tuple[int | None, int | None]:
    """Return which of the sorted observations, counted from 1, are the bounds of a quantile's interval.

    The number of observations below the true quantile is binomial, whatever the distribution. None stands for a bound
    that no observation of so small a sample gives.
    """
    tail = (1.0 - confidence) / 2
    low, high = 0, size + 1
    while high - low > 1:  # the highest rank with P(fewer observations than it lie below) <= tail
        middle = (low + high) // 2
        if binomial_cdf(middle - 1, size, quantile) <= tail:
            low = middle
        else:
            high = middle
    lower = low or None
    low, high = 0, size + 1
    while high - low > 1:  # the lowest rank with P(as many observations lie below) <= tail
        middle = (low + high) // 2
        if 1.0 - binomial_cdf(middle - 1, size, quantile) <= tail:
            high = middle
        else:
            low = middle
    return lower, (high if high <= size else None)
