"""Lengths of time as users type them: `30s`, `10m`, `1h30m`, `1d`. And points in time: `2h` ago, or ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

_UNITS: Final = {"d": 24 * 3600, "h": 3600, "m": 60, "s": 1}
_LENGTH: Final = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in _UNITS), re.ASCII)


def length_of_time(text: str) -> float:
    """Return the seconds of a length of time.

    Raises:
        ValueError: for anything else.
    """
    match = _LENGTH.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is not accepted; use a time such as 30s, 10m, 1h30m or 1d")
    return sum(float(number or 0) * unit for number, unit in zip(match.groups(), _UNITS.values(), strict=True))


def instant(text: str, now: float) -> float:
    """Return the seconds since the epoch of a point in time: `now`, how long ago, or ISO 8601.

    Raises:
        ValueError: for anything else.
    """
    if text == "now":
        return now
    try:
        return now - length_of_time(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not accepted; use a time such as 2h, 3d or 2026-05-01T10:00") from None
