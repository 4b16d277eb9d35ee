"""Texts in double quotes where SQLite takes a name for a text: each becomes `?`.

SQLite reads `"name"` as a text if no column has this name (https://sqlite.org/quirks.html#dblquote). A statement alone
does not tell which it is. So a name that stands where values stand is taken for one: after an operator of comparison,
and in the lists of `IN` and `VALUES`. All other names stay, and so do those with a dot before or after them.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r'(?P<quoted>"(?:[^"]++|"")*+")(?P<dot>\s*+\.)?'
    r"|`(?:[^`]++|``)*+`|\[[^\]]*+\]|(?P<word>\w++)|(?P<sign>[^\s\w])"
)
_BEFORE_VALUES: Final = frozenset(
    {
        *("=", "<", ">", "|", "LIKE", "GLOB", "MATCH", "REGEXP", "IS", "NOT", "BETWEEN", "ESCAPE", "THEN", "ELSE"),
        *("DEFAULT", "KEY"),
    }
)
"""What stands before a value. `KEY` is that of `ATTACH`, in databases that are encrypted."""


def without_lenient_quotes(text: str) -> str:
    """Return a statement, of which the other literals are gone already, without texts in double quotes."""
    if '"' not in text:
        return text
    parts: list[str] = []
    at = 0
    before = ""
    is_between = False
    lists = [False]
    """Of each bracket that is open: whether values stand in it."""
    is_row_before = False
    """Whether the last bracket that was closed was one of values."""
    for token in _TOKEN.finditer(text):
        if token["quoted"]:
            is_value = before in _BEFORE_VALUES or (lists[-1] and before in ("(", ","))
            if is_value and not token["dot"]:
                parts += (text[at : token.start()], "?")
                at = token.end()
            before = "." if token["dot"] else "name"
            continue
        now = token[0].upper()
        if now == "(":
            lists.append(before in ("IN", "VALUES") or lists[-1] or (before == "," and is_row_before))
        elif now == ")" and len(lists) > 1:
            is_row_before = lists.pop()
        elif now == "SELECT":
            lists[-1] = False
        elif now == "BETWEEN":
            is_between = True
        elif now == "AND" and is_between:
            now, is_between = "BETWEEN", False
        before = now
    return "".join((*parts, text[at:]))
