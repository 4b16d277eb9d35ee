"""Where values end that stand apart from the names that tell them: blocks of YAML, and what ODBC has in braces."""

from __future__ import annotations

import re
from typing import Final

_BLOCK: Final = re.compile(r"[|>][+-]?[1-9]?[+-]?[ \t]{0,8}(?:\r?\n|\\{1,4}n)")
"""The head of a block scalar (YAML 1.2, 8.1.1)."""
_BREAK: Final = re.compile(r"\n|\\{1,4}n")
_INDENT: Final = re.compile(r"[ \t]*+")
_BEFORE_KEY: Final = re.compile(r"(?:^|\n|\\n)([ \t-]{0,40})[\"']?[\w.-]{0,60}\Z")
_BRACED: Final = re.compile(r"\{((?:[^{}\n]|\}\}){1,128}+)\}(?=;|\Z)")
_SIGN: Final = re.compile(r"[^\w.\s]").search


def block_at(text: str, at: int, name_at: int) -> tuple[int, int] | None:
    """Return where a block of YAML begins and ends; None when there is none. `name_at` is where its key stands.

    A block goes on as long as its lines are empty, or further to the right than its key.
    """
    head = _BLOCK.match(text, at)
    if head is None:
        return None
    before = _BEFORE_KEY.search(text, max(name_at - 110, 0), name_at)
    column = 0 if before is None else len(before[1])
    start = end = head.end()
    while end < len(text):
        found = _BREAK.search(text, end)
        line_end, after = (len(text), len(text)) if found is None else found.span()
        indent = _INDENT.match(text, end, line_end)
        words_at = end if indent is None else indent.end()
        if text[words_at:line_end].strip() and words_at - end <= column:
            break
        end = after
    while end > start and text[end - 1] in "\r\n \t":
        end -= 1
    return start, end


def braced_at(text: str, at: int) -> tuple[int, int] | None:
    """Return where a value in braces begins and ends, as connection strings of ODBC have it; None for a placeholder."""
    found = _BRACED.match(text, at)
    if found is None:
        return None
    value = found[1]
    is_mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return found.span(1) if is_mixed or _SIGN(value) is not None else None
