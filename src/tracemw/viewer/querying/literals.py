"""Numbers, durations and quoted texts of a search, as people write them."""

from __future__ import annotations

import math
import re
from fractions import Fraction

LARGEST_INTEGER = 2**63 - 1  # of SQLite and of OTLP's attributes

_LONGEST_NUMBER = 40  # characters of a number or a duration
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = re.compile(r"([0-9]++\.?[0-9]*+|\.[0-9]++)(ns|us|µs|μs|ms|s|m|h)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class QueryError(ValueError):
    """A search cannot be understood. The message says what can."""


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a Go duration (``time.ParseDuration``), such as ``600ms``, ``1.5s`` or ``1m30s``.

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
        return 0
    if position == 0 or position != len(text) or total > LARGEST_INTEGER:
        raise QueryError(f"duration {text[:64]!r} is not accepted; use one such as 600ms, 1.5s or 1m30s")
    return int(total)


def parse_number(text: str) -> int | float:
    """Return a decimal number.

    Raises:
        QueryError: for a number of more than 64 bits.
    """
    number = math.inf if len(text) > _LONGEST_NUMBER else float(text) if "." in text else int(text)
    if abs(number) > LARGEST_INTEGER:
        raise QueryError(f"TraceQL: {text[:64]} is not accepted; use a number of 64 bits")
    return number


def unquote(text: str) -> str:
    """Return a text without its double quotes, and with its escapes undone."""
    return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), text[1:-1])
