"""How long a request has waited between the proxy and the application, as the proxy's header says.

Heroku, nginx, Apache, HAProxy and others write the time at which they have received a request, as `X-Request-Start` or
`X-Queue-Start`: seconds, milliseconds, microseconds or nanoseconds since the epoch, with `t=` before it or not.
"""

from __future__ import annotations

import re
from typing import Final

QUEUED: Final = "tracemw.queued.seconds"
"""The attribute that says how long the request has waited."""

_TIME: Final = re.compile(r"(?:t=)? *([0-9]{10,19})(?:\.([0-9]{1,9}))?")
_SHORTEST: Final = 20_000_000
"""Nanoseconds from which the wait is told."""
_LONGEST: Final = 5 * 60 * 10**9
"""Nanoseconds from which nobody believes it: proxies give up sooner."""


def seconds_queued(header: str, started: int) -> float | None:
    """Return for how many seconds a request has waited; None for a short time, or one that cannot be.

    Args:
        header: The header's value.
        started: When the application has got the request, in nanoseconds since the epoch.
    """
    found = _TIME.match(header[:64].strip().lower())
    if found is None:
        return None
    digits, fraction = found.groups("")
    # The number of digits tells the unit: a time of these centuries has ten digits of seconds.
    received = int((digits + fraction).ljust(19, "0")[:19]) if len(digits) in (10, 13, 16, 19) else 0
    waited = started - received
    return round(waited / 1e9, 3) if _SHORTEST <= waited < _LONGEST else None
