"""How many local traces may be kept in one second, and how routes share them.

The rate is a bucket that fills with time: what a local trace costs is the time in which the rate makes one. The bucket
holds a second's worth, and is as full as the time that lies between `_spent_until` and now.
"""

from __future__ import annotations

import math
import sys
from typing import Final

_ROUTES: Final = 100
"""How many routes have parts of their own; all others share one."""


class KeepRate:
    """What is left of the local traces that may be kept.

    Those of a whole second may be kept at once. Slow ones get half of them, and one in any case: the other half is for
    errors and for what is asked for. A route that keeps too many leaves room for the others, see `_Shares`.

    Args:
        rate: Local traces a second; 0 for none.
    """

    def __init__(self, rate: float) -> None:
        self._interval = int(min(1e9 / rate, sys.maxsize)) if rate else 0
        """Nanoseconds that one local trace costs."""
        self._burst = max(self._interval, 10**9)
        # What is left for others when a slow one is kept.
        self._reserve = min(self._burst // 2, self._burst - self._interval)
        # What of that routes share: whole local traces only.
        self._shared = self._reserve // self._interval * self._interval if self._interval else 0
        self._spent_until = -math.inf if rate else math.inf
        self._shares = _Shares(self._interval, self._burst // 2)

    def spend(self, route: str, now: int, *, is_slow: bool) -> bool:
        """Spend what one local trace costs, if there is enough left; tell whether there was.

        Args:
            route: What the local trace is of.
            now: The monotonic clock's time in nanoseconds.
            is_slow: Whether there is no other reason to keep it than that it was slow.
        """
        at = self._spent_until
        if at < now - self._burst:
            at = now - self._burst
        at += self._interval
        if at > now or (is_slow and at > now - self._reserve):
            return False
        # The first half is for whoever comes first. Routes share the second.
        if at > now - self._shared and not self._shares.take(route, now, now - at):
            return False
        self._spent_until = at
        return True


class _Shares:
    """What each route may take of the half that routes share, so that none takes all of it.

    A route pays back with time what it has taken. Each route that owes gets one part of the rate, and one part is left
    for whoever comes next. A route may owe half a second's worth. Where others owe too, a route may owe no more than
    twice of what is left: so somebody who comes now finds half of what each of the noisy ones has had. A route that
    nobody competes with gets the whole rate, by way of the first half. Routes that owe nothing are forgotten.
    """

    def __init__(self, interval: int, burst: int) -> None:
        self._interval = interval
        self._most = burst + interval
        self._owing_until: dict[str, int] = {}

    def take(self, route: str, now: int, left: float) -> bool:
        """Let `route` keep one more, if it may; `left` is what would be left, as the time that made it."""
        owing = self._owing_until
        for known, until in list(owing.items()) if owing else ():
            if until <= now:
                owing.pop(known, None)
        if route not in owing and len(owing) >= _ROUTES:
            route = ""
        others = len(owing) - (route in owing)
        parts = others + 2
        owes = max(owing.get(route, now) - now, 0)
        if owes + self._interval * parts > self._most * parts or (others and owes > 2 * left * parts):
            return False
        owing[route] = now + owes + self._interval * parts
        return True
