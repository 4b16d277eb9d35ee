"""Regular expressions of a search, by RE2. As in Tempo, their time grows no faster than the text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

from tracemw.viewer.querying.literals import QueryError

_PROGRAM_BYTES = 256 * 1024  # of a compiled pattern, which bounds its time for each character
_MATCHED_CHARACTERS = 16 * 1024  # of a longer text only the start is matched; Tempo cuts values at 2,048 bytes
_DEEPEST = 50  # nested groups
_LITERAL = re.compile(r"[^\0\\.+*?()|\[\]{}^$]*+")
_QUANTIFIERS = "*?{"
_GROUP = re.compile(r"\\.|[()]", re.DOTALL)


def check(pattern: object) -> None:
    """Check that a value is a regular expression of RE2, and not too large.

    Raises:
        QueryError: for anything else.
    """
    if not isinstance(pattern, str):
        raise QueryError("invalid TraceQL query: =~ and !~ take a regular expression in quotes")
    shown = f"invalid TraceQL query: invalid regex: `{pattern[:64]}`"
    depth = 0
    for bracket in _GROUP.findall(pattern):
        depth += {"(": 1, ")": -1}.get(bracket, 0)
        if depth > _DEEPEST:
            raise QueryError(f"{shown}: more than {_DEEPEST} nested groups")
    try:
        _compile(pattern)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
        raise QueryError(f"{shown}: {reason} (its syntax is RE2's)") from None


def matches(text: str, pattern: str) -> bool:
    """Tell whether the pattern matches the whole text. ``.`` is any character."""
    return _compile(pattern).fullmatch(text[:_MATCHED_CHARACTERS].encode()) is not None


def literal_prefix(pattern: str) -> str:
    """Return the text with which all begins that a pattern matches; empty if there is none that is easy to see."""
    literal = _LITERAL.match(pattern)
    if literal is None or "|" in pattern:
        return ""
    follows = pattern[literal.end() : literal.end() + 1]
    return literal[0][:-1] if follows in _QUANTIFIERS and follows else literal[0]


@lru_cache(maxsize=64)
def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = _PROGRAM_BYTES
    options.log_errors = False
    options.never_capture = True
    options.dot_nl = True
    return re2.compile(pattern.encode(), options)
