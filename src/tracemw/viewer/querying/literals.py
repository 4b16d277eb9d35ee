"""Numbers, durations, keywords and quoted texts of a search, as people write them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

LARGEST_INTEGER = 2**63 - 1  # of SQLite and of OTLP's attributes

_LONGEST_NUMBER = 40  # characters of a number or a duration
_SECOND = 10**9
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
    "d": 24 * 3600 * _SECOND,
    "w": 7 * 24 * 3600 * _SECOND,
    "y": 365 * 24 * 3600 * _SECOND,
}
_DURATION_PART = re.compile(r"([0-9]++\.?[0-9]*+|\.[0-9]++)(ns|us|µs|μs|ms|s|m|h|d|w|y)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class QueryError(ValueError):
    """A search cannot be understood. The message says what can."""


class Duration(int):
    """A length of time in nanoseconds."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Keyword:
    """A word of TraceQL that is the value of an intrinsic.

    Attributes:
        of: The intrinsic: ``status`` or ``kind``.
        word: The word, such as ``error``.
    """

    of: str
    word: str


Value = str | int | float | bool | Duration | Keyword | None
"""A value in TraceQL. None is ``nil``."""


def parse_duration(text: str) -> Duration:
    """Return a duration as Go (``time.ParseDuration``) and Prometheus write it: ``600ms``, ``1.5s``, ``1m30s``, ``2d``.

    Raises:
        QueryError: for anything else, and for a negative duration.
    """
    total, position = Fraction(0), 0
    if len(text) > _LONGEST_NUMBER:
        raise QueryError(f"duration {text[:64]!r} is not accepted; use at most {_LONGEST_NUMBER} characters")
    while part := _DURATION_PART.match(text, position):
        total += Fraction(part[1].rstrip(".")) * _NANOSECONDS[part[2]]
        position = part.end()
    if text == "0":
        return Duration(0)
    if position == 0 or position != len(text) or total > LARGEST_INTEGER:
        raise QueryError(f"duration {text[:64]!r} is not accepted; use one such as 600ms, 1.5s or 1m30s")
    return Duration(total)


def parse_number(text: str) -> int | float:
    """Return a decimal number. Without point and exponent, the number is an integer.

    Raises:
        QueryError: for a number of more than 64 bits.
    """
    if len(text) > _LONGEST_NUMBER:
        number: int | float = math.inf
    else:
        number = int(text) if text.isdecimal() else float(text)
    if abs(number) > LARGEST_INTEGER:
        raise QueryError(f"TraceQL: {text[:64]} is not accepted; use a number of 64 bits")
    return number


def unquote(text: str) -> str:
    """Return a text without its double quotes, and with its escapes undone."""
    return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), text[1:-1])


def write_duration(duration: int) -> str:
    """Return nanoseconds as Go writes a duration: ``1m30s``, ``37.5ms``, ``0s``."""
    sign, rest = ("-", -duration) if duration < 0 else ("", duration)
    if rest < _SECOND:
        unit = next((unit for unit in ("ms", "µs", "ns") if rest >= _NANOSECONDS[unit]), "s")
        return f"{sign}{_decimal(rest, _NANOSECONDS[unit])}{unit}"
    minutes, rest = divmod(rest, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours}h" if hours else "", f"{minutes}m" if hours or minutes else "", f"{_decimal(rest, _SECOND)}s")
    return sign + "".join(parts)


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if unit > 1 else ""
    return f"{whole}.{digits}" if digits else str(whole)
