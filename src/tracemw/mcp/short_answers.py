"""Answers of a stated length: an agent pays for each token, and reads the beginning first."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

MOST_TOKENS: Final = 2000
"""Tokens of one answer at most, counted as three bytes each. English has about four bytes a token, code about three."""

_BYTES: Final = 3 * MOST_TOKENS
_FOR_THE_REST: Final = 100
_LONGEST_LINE: Final = 600


def answer(lines: Iterable[str], *, rest: str) -> str:
    """Return lines as one text. Lines that would make it too long are counted in place of being shown.

    Args:
        lines: The lines, the most telling first.
        rest: How to see what is left out.
    """
    shown: list[str] = []
    left, out = _BYTES - _FOR_THE_REST - len(rest), 0
    for line in lines:
        plain = _plain(line)
        left -= len(plain.encode()) + 1
        if left < 0 or out:
            out += 1
        else:
            shown.append(plain)
    if out:
        shown.append(f"({out} more lines are left out; {rest})")
    return "\n".join(shown)


def _plain(line: str) -> str:
    """Return a line without control characters, cut to a length: it may have been written by an outsider."""
    plain = "".join(" " if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") else each for each in line)
    return plain if len(plain) <= _LONGEST_LINE else f"{plain[:_LONGEST_LINE]}..."
