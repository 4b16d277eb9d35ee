"""The terms of a spike: how much more is sampled, of which requests, and until when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from tracemw.config.parsers import to_ratio
from tracemw.config.patterns import RequestPattern

LONGEST: Final = 24 * 3600.0
"""Seconds that a spike lasts at most."""


@dataclass(frozen=True, kw_only=True)
class Spike:
    """More sampling, for a while.

    Raises:
        ValueError: for a value that is not accepted. The error names the value, and what is accepted.
        TypeError: for a path that is no string.
    """

    ratio: float
    """The share of new traces to sample, above 0 and at most 1."""

    path: str | None = None
    """The requests that the spike covers, as a `RequestPattern`. None covers every new trace."""

    until: float
    """The end, in seconds since the epoch."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", to_ratio("ratio", self.ratio))
        if self.ratio == 0.0:
            raise ValueError(
                "ratio=0 is not accepted; use a number above 0 and at most 1: a spike only raises sampling"
            )
        if self.path is not None:
            RequestPattern(self.path)
        if not _is_number(self.until):
            raise ValueError(f"until={self.until!r} is not accepted; use a number of seconds since the epoch")


def require_duration(seconds: float, written: str | None = None) -> float:
    """Return the seconds that a spike is to last.

    Args:
        seconds: What the user has asked for.
        written: How the user has written it, for the error.

    Raises:
        ValueError: unless they are above 0 and at most 24 hours.
    """
    if not _is_number(seconds) or not 0 < seconds <= LONGEST:
        given = repr(written) if written is not None else f"seconds={seconds!r}"
        raise ValueError(f"{given} is not accepted; use a time above 0 seconds, and at most 24 hours")
    return float(seconds)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
