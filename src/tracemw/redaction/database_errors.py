"""Values are taken out of what databases say of an error, within a text such as an exception's message.

Three texts repeat values: SQLAlchemy's list of the parameters, PostgreSQL's line DETAIL, and MySQL's duplicate entry.
"""

from __future__ import annotations

import re
from typing import Final

_SIGNS: Final = ("[parameters: ", "DETAIL: ", "Duplicate entry '")
"""A text without any of these has no value to redact."""

_PARAMETERS: Final = re.compile(r"\[parameters: .*")
_DETAIL: Final = re.compile(r"\bDETAIL: .*")
_DUPLICATE: Final = re.compile(r"(?<=Duplicate entry ').{0,512}?(?=' for key)")


def redact_values(text: str) -> str:
    """Replace the values that a database's error repeats, each up to the end of its line."""
    for sign in _SIGNS:
        if sign in text:
            break
    else:
        return text
    text = _PARAMETERS.sub("[parameters: REDACTED]", text)
    text = _DETAIL.sub("DETAIL:  REDACTED", text)
    return _DUPLICATE.sub("REDACTED", text)
