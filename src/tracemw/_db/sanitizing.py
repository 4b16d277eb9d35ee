"""The text of a statement without its literals: each becomes `?`, and comments go.

Placeholders (`?`, `%s`, `%(id)s`, `:id`, `$1`, `@id`) stay, and so do identifiers. What is not closed, such as a string
that lacks its last quote, is taken for a literal up to the end.

One regular expression reads the text in one pass. Each match is a stretch that stays, and then one thing that may not.
There is always a match, and nothing is read twice: the time grows with the length of the text.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from tracemw._db.lenient_quotes import without_lenient_quotes
from tracemw._db.systems import Grammar

LONGEST: Final = 16_384
"""Characters of a statement that are read. The rest of a longer one is left out."""

# What stays: words with the dots within them, placeholders, and signs that begin nothing else.
_WORD: Final = r"(?!(?:[NnBbXxEe]|[Uu]&)'|(?:[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])(?![\w$.(]))[^\W\d][\w$.]*+"
_PLACEHOLDER: Final = r"[?@:]++\w*+|\$\d++|%\(\w*+\)"
_SIGNS: Final = r"[\s,()=*<>;|&^~!%{}\]\\]++|\.(?!\d)|\+(?!\.?\d)|-(?!-|\.?\d)|/(?!\*)"

_COMMENT: Final = r"--[^\n]*+|/\*.*?(?:\*/|\Z)"
_PREFIX: Final = r"(?:[NnBbXx]|[Uu]&)?"
_STRING: Final = r"'(?:[^']++|'')*+(?:'|\Z)"
_ESCAPED: Final = r"'(?:[^'\\]++|\\.|'')*+(?:'|\\?\Z)"
_DOUBLE_QUOTED: Final = r'"(?:[^"\\]++|\\.|"")*+(?:"|\\?\Z)'
_DOLLAR_QUOTED: Final = r"\$(?P<tag>(?:[^\W\d]\w{0,62}+)?)\$.*?(?:\$(?P=tag)\$|\Z)"
# Whether the sign is an operator tells what stands before it. After a number it goes: the conventions have `99+100` so.
_NUMBER: Final = r"[+-]?(?:\d\w*+(?:\.\w*+)?|\.\d\w*+)(?:(?<=[eE])[+-]\d++)?"
_BOOLEAN: Final = r"[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]"
_IDENTIFIER: Final = r'"(?:[^"]++|"")*+(?:"|\Z)'
_BACKTICKED: Final = r"`(?:[^`]++|``)*+(?:`|\Z)"
_BRACKETED: Final = r"\[[^\]]*+(?:\]|\Z)"

_ENDS: Final = frozenset(')]?"`')
"""What a value may end with, besides a word."""
_CLOSERS: Final = {'"': '"', "`": "`", "[": "]"}


def sanitized(text: str, grammar: Grammar) -> str:
    """Return the text of a statement without literals and comments.

    Args:
        text: The statement. Only its first `LONGEST` characters are read.
        grammar: How the system's SQL is written.
    """
    shown = _pattern(grammar).sub(_replaced, text[:LONGEST]).strip()
    if grammar.has_lenient_quotes:
        shown = without_lenient_quotes(shown)
    return shown if len(text) <= LONGEST else f"{shown} ..."


@functools.cache
def _pattern(grammar: Grammar) -> re.Pattern[str]:
    signs = _SIGNS + ("" if grammar.has_hash_comments else r"|\#") + ("" if grammar.has_brackets else r"|\[")
    comments = _COMMENT + (r"|\#[^\n]*+" if grammar.has_hash_comments else "")
    identifiers = [_BACKTICKED]
    literals = [_NUMBER, _PREFIX + (_ESCAPED if grammar.has_backslashes else _STRING), f"[Ee]{_ESCAPED}"]
    if grammar.has_double_quoted_strings:
        literals.append(_DOUBLE_QUOTED)
    else:
        identifiers.append(_IDENTIFIER)
    if grammar.has_brackets:
        identifiers.append(_BRACKETED)
    literals += [_DOLLAR_QUOTED, _BOOLEAN]
    return re.compile(
        rf"((?:{_WORD}|{signs}|{_PLACEHOLDER})*+)"
        rf"(?:(?P<literal>{'|'.join(literals)})|(?P<identifier>{'|'.join(identifiers)})|(?P<comment>{comments})|.|\Z)",
        re.DOTALL,
    )


def _replaced(found: re.Match[str]) -> str:
    kind = found.lastgroup
    if kind == "literal":
        return f"{found[1]}{_operator(found)}?"
    if kind == "comment":
        return found[1]
    if kind is None:
        return found[0]
    identifier = found[kind]
    is_closed = len(identifier) > 1 and identifier[-1] == _CLOSERS[identifier[0]]
    return found[0] if is_closed else f"{found[1]}?"


def _operator(found: re.Match[str]) -> str:
    """Return the sign of a number that follows a name, a placeholder or a parenthesis, and so is an operator."""
    begin = found.start("literal")
    sign, before = found.string[begin], found.string[begin - 1 : begin]
    if sign not in "+-" or not before:
        return ""
    is_name = found[1] != "" and (before.isalnum() or before in "_$")
    return sign if is_name or before in _ENDS else ""
