"""The keep rate: how many local traces may be kept in one second, and how routes share them.

The rate is a token bucket, counted in time. A local trace costs the time in which the rate allows one more. The bucket
holds one second. What is left in it is the time from `_spent_until` to now.
"""

from __future__ import annotations

import math
import sys
from typing import Final

_ROUTES: Final = 100
"""How many routes have shares of their own. All others have one share together."""


class KeepRate:
    """Says whether one more local trace may be kept.

    A whole second's worth may be kept at once. Slow ones get half of that, and at least one: the other half is for
    errors and for `tracemw.keep`. A route that keeps too many must leave room for others; see `_Shares`.

    Args:
        rate: Local traces a second; 0 for none.
    """

    def __init__(self, rate: float) -> None:
        self._interval = int(min(1e9 / rate, sys.maxsize)) if rate else 0
        """Nanoseconds that one local trace costs."""
        self._burst = max(self._interval, 10**9)
        # Slow ones must leave this much.
        self._reserve = min(self._burst // 2, self._burst - self._interval)
        # Routes share this part of it: whole local traces only.
        self._shared = self._reserve // self._interval * self._interval if self._interval else 0
        self._spent_until = -math.inf if rate else math.inf
        self._shares = _Shares(self._interval, self._burst // 2)

    def spend(self, route: str, now: int, *, is_slow: bool) -> bool:
        """Spend the cost of one local trace, if enough is left. Return whether it was.

        Args:
            route: The route of the local trace.
            now: The monotonic clock's time in nanoseconds.
            is_slow: Whether the only reason to keep the local trace is that it was slow.
        """
        at = self._spent_until
        if at < now - self._burst:
            at = now - self._burst
        at += self._interval
        if at > now or (is_slow and at > now - self._reserve):
            return False
        # Whoever comes first gets the first half. Routes share the second half.
        if at > now - self._shared and not self._shares.take(route, now, now - at):
            return False
        self._spent_until = at
        return True


class _Shares:
    """Shares half of the bucket among routes, so that no route takes all of it.

    A route owes what it has taken, and pays back with time. The rate is divided into equal parts: one for each route
    that owes, and one for whoever comes next. A route may owe half a second's worth. Where others owe, too, a route may
    owe at most twice what is left. So a new route finds at least half of what each noisy route has had. A route
    without competitors gets the whole rate, by way of the first half. Routes that owe nothing are forgotten.
    """

    def __init__(self, interval: int, burst: int) -> None:
        self._interval = interval
        self._most = burst + interval
        self._owing_until: dict[str, int] = {}

    def take(self, route: str, now: int, left: float) -> bool:
        """Let `route` keep one more, if it may. Return whether it may.

        Args:
            route: The route of the local trace.
            now: The monotonic clock's time in nanoseconds.
            left: Nanoseconds that would be left in the bucket.
        """
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
