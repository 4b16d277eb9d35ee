"""The requests of one route on one side: their durations, and how many failed, each with the weight of its trace."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from itertools import accumulate, pairwise

from tracemw.analysis.comparison.intervals import Estimate, quantile_ranks, share_interval
from tracemw.analysis.model import MILLISECOND, Span

_ROUNDING = 1e-9


class Size:
    """How many requests a sample stands for, and how many equal ones would tell as much.

    Requests of one trace are not independent of one another, so they tell no more than one that weighs as much.
    Source: Kish, Survey Sampling (1965), for the effective size.
    """

    __slots__ = ("_squares", "weight")

    def __init__(self) -> None:
        self.weight = 0.0
        """Requests that the sample stands for."""
        self._squares = 0.0

    def add(self, weight: float) -> None:
        """Add what one trace has, all at once."""
        self.weight += weight
        self._squares += weight * weight

    @property
    def effective(self) -> float:
        """How many equal requests would tell as much."""
        return self.weight * self.weight / self._squares if self._squares else 0.0


class RouteRequests:
    """The requests of one route."""

    def __init__(self) -> None:
        self.size = Size()
        self.is_entry = False
        """Whether traces begin with such requests."""
        self._failed = 0.0
        self._durations = array("d")
        self._weights = array("d")
        self._sorted: tuple[list[float], list[float]] | None = None

    def add(self, spans: list[Span], weight: float) -> None:
        """Add the requests of one trace.

        Args:
            spans: The requests.
            weight: How many requests each stands for.
        """
        self.size.add(weight * len(spans))
        self._failed += weight * sum(span.failed for span in spans)
        self._durations.extend(span.duration / MILLISECOND for span in spans)
        self._weights.extend([weight] * len(spans))
        self._sorted = None

    @property
    def failed_share(self) -> float:
        """The share of requests that failed, from 0 to 1."""
        return self._failed / self.size.weight

    def error_rate(self, confidence: float) -> Estimate:
        """Return the share of requests that failed, with its interval."""
        return share_interval(self.failed_share, self.size.effective, confidence)

    def quantile(self, share: float) -> float:
        """Return the milliseconds that so large a share of the requests did not exceed."""
        durations, sums = self._in_order()
        return durations[min(bisect_left(sums, share * sums[-1] * (1 - _ROUNDING)), len(durations) - 1)]

    def estimated_quantile(self, share: float, confidence: float) -> Estimate:
        """Return a quantile in milliseconds, with its interval."""
        size = math.floor(self.size.effective + _ROUNDING)
        low, high = quantile_ranks(share, size, confidence)
        return Estimate(
            self.quantile(share),
            None if low is None else self.quantile(low / size),
            None if high is None else self.quantile(high / size),
        )

    def share_above(self, milliseconds: float) -> float:
        """Return the share of requests that took longer."""
        durations, sums = self._in_order()
        at = bisect_left(durations, math.nextafter(milliseconds, math.inf))
        return 1.0 - (sums[at - 1] / sums[-1] if at else 0.0)

    def shares_between(self, edges: list[float]) -> list[float]:
        """Return the share of requests between each two edges, in milliseconds; the first class has what lies below."""
        above = [1.0, *(self.share_above(edge) for edge in edges[1:-1]), 0.0]
        return [high - low for high, low in pairwise(above)]

    def _in_order(self) -> tuple[list[float], list[float]]:
        """Return the durations in order, and the sums of their weights."""
        if self._sorted is None:
            order = sorted(zip(self._durations, self._weights, strict=True))
            self._sorted = [duration for duration, _ in order], list(accumulate(weight for _, weight in order))
        return self._sorted
