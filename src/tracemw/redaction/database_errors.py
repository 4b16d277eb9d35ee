"""Values are taken out of what databases say of an error, within a text such as an exception's message.

These texts repeat values: the statement, which SQLAlchemy and PostgreSQL show; SQLAlchemy's list of the parameters;
PostgreSQL's line DETAIL; and messages of PostgreSQL and MySQL about a value that has the wrong form, or is there
already.
"""

from __future__ import annotations

import re
from typing import Final

_SIGNS: Final = ("[SQL: ", "[parameters: ", "DETAIL: ", "LINE ", "Duplicate entry '", "invalid input ", "Incorrect ")
"""A text without any of these has no value to redact."""

_STATEMENT: Final = re.compile(r"\[SQL: .*?(?:\](?=\s*(?:\[parameters: |\(Background on |\Z))|\Z)", re.DOTALL)
_LINE: Final = re.compile(r"\bLINE \d{1,9}+: .*")
_LITERAL: Final = re.compile(
    r"""'(?:[^'\\]++|\\.|'')*+(?:'|\Z)|"(?:[^"\\]++|\\.|"")*+(?:"|\Z)|\$(\w*+)\$.*?(?:\$\1\$|\Z)|(?<![\w$:?%.])\d[\w.]*+""",
    re.DOTALL,
)
_PARAMETERS: Final = re.compile(r"\[parameters: .*")
_DETAIL: Final = re.compile(r"\bDETAIL: .*")
_INVALID: Final = re.compile(r"\b(invalid input (?:syntax |value )?for [^:\n]{1,80}+: ).*")
_QUOTED: Final = re.compile(
    r"(?<=Duplicate entry ').{0,512}?(?=' for key)|\b(Incorrect \w{1,20}+ value: ').{0,512}?(?=' for )"
)


def redact_values(text: str) -> str:
    """Replace the values that a database's error repeats.

    Literals of a statement become `?`. Everything else becomes REDACTED, most of it up to the end of its line.
    """
    for sign in _SIGNS:
        if sign in text:
            break
    else:
        return text
    text = _STATEMENT.sub(_without_literals, text)
    text = _LINE.sub(_without_literals, text)
    text = _PARAMETERS.sub("[parameters: REDACTED]", text)
    text = _DETAIL.sub("DETAIL:  REDACTED", text)
    text = _INVALID.sub(r"\1REDACTED", text)
    return _QUOTED.sub(lambda found: f"{found[1] or ''}REDACTED", text)


def without_literals(statement: str) -> str:
    """Return a statement with `?` for its literals, whatever its grammar: a quoted name becomes `?`, too."""
    return _LITERAL.sub("?", statement)


def _without_literals(statement: re.Match[str]) -> str:
    """Return a statement with `?` for its literals. A quoted name becomes `?`, too: some databases quote values so."""
    begin, shown = statement[0].split(": ", 1)
    return f"{begin}: {without_literals(shown)}"
