"""Consistent probability sampling: ratios, thresholds and randomness, and how they travel in `tracestate`.

The source is OpenTelemetry's "TraceState: Probability Sampling". The entry in `tracestate` is `ot`, a list of
`key:value` between semicolons. `th` is the threshold: traces with a randomness below were rejected. `rv` is an explicit
randomness.
"""

from __future__ import annotations

import math
import re
from typing import Final

from opentelemetry.trace import TraceState

ENTRY: Final = "ot"

NEVER: Final = 1 << 56
"""The threshold that no randomness reaches."""

RANDOMNESS: Final = NEVER - 1
"""The bits of a trace id that are its randomness."""

_HEX_DIGITS: Final = 14
_PRECISION: Final = 4
_LONGEST_VALUE: Final = 256
_EXPLICIT: Final = re.compile(r"(?:^|;)rv:([0-9a-f]{14})(?:;|$)")


def threshold_of(ratio: float) -> int:
    """Return the rejection threshold of a ratio, with the four significant digits that the specification recommends."""
    exact = NEVER - round(ratio * NEVER)
    leading_fs = math.frexp(ratio)[1] // -4
    unit = 1 << 4 * max(_HEX_DIGITS - _PRECISION - leading_fs, 0)
    return (exact + unit // 2) // unit * unit


def encoded(threshold: int) -> str:
    """Return the value of `th` for a threshold below `NEVER`: 56 bits in hexadecimal, without trailing zeros."""
    return f"{threshold:014x}".rstrip("0") or "0"


def randomness_of(trace_id: int, trace_state: TraceState | None) -> int:
    """Return the explicit randomness of a trace, or else the randomness of its id."""
    explicit = _EXPLICIT.search(trace_state.get(ENTRY, "")) if trace_state else None
    return int(explicit[1], 16) if explicit is not None else trace_id & RANDOMNESS


def with_threshold(trace_state: TraceState, threshold: str | None) -> TraceState:
    """Return a trace state with this `th`, or with none, and all else unchanged.

    If the `th` would make the entry too long, there is none.
    """
    before = trace_state.get(ENTRY, "")
    others = [member for member in before.split(";") if member and not member.startswith("th:")]
    after = ";".join(others if threshold is None else (f"th:{threshold}", *others))
    if len(after) > _LONGEST_VALUE:
        after = ";".join(others)
    if after == before:
        return trace_state
    return trace_state.update(ENTRY, after) if after else trace_state.delete(ENTRY)
