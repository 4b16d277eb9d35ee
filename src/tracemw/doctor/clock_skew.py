"""Our clock against the backend's: a span of another time is found late, in the wrong place, or not at all."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Final

from tracemw.doctor.diagnosis import Check, ok, unknown, warning

_MOST: Final = 3.0
"""Seconds that clocks may be apart."""


def check_clock(date: str | None, began: float) -> Check:
    """Compare the header `Date` of an answer with our clock.

    Args:
        date: The header; None without one.
        began: When it was asked for, in seconds since the epoch.
    """
    try:
        # The header has whole seconds: the answer is from some time within this one.
        theirs = parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return unknown("clock", "the backend does not say what time it is")
    now = time.time()
    apart = max(began - 1.0 - theirs, theirs - now, 0.0)
    if apart > _MOST:
        which = "ahead of" if theirs < began else "behind"
        return warning(
            "clock",
            f"this machine's clock is {apart:.0f} s {which} the backend's: spans stand at the wrong time there",
            "have both machines keep time by NTP (timedatectl, chronyc tracking)",
        )
    return ok("clock", "this machine's clock and the backend's agree")
