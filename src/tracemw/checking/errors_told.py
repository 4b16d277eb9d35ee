"""What exceptions say, as it may stand in the log of a pipeline: without what looks like a secret."""

from __future__ import annotations

import traceback
from typing import Final

from tracemw._otel.application import is_application
from tracemw.redaction.policy import RedactionPolicy

_POLICY: Final = RedactionPolicy()
"""What is allowed unasked. An application that fails at its import may not have said more."""


def told(error: BaseException) -> str:
    """Return what an exception says, with the last line of the application that it has passed."""
    if isinstance(error, SyntaxError):
        said, place = error.msg, f"{error.filename}:{error.lineno}"
    else:
        passed = [each for each in traceback.extract_tb(error.__traceback__) if _is_in_a_file(each.filename)]
        said, place = _said(error), f"{passed[-1].filename}:{passed[-1].lineno}" if passed else ""
    return f"{type(error).__name__}: {without_secrets(said)}{f' ({place})' if place else ''}"


def without_secrets(text: str) -> str:
    """Return a text that the application has made, such as a traceback, without what looks like a secret."""
    return _POLICY.text(text, "event")


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "its text cannot be had"


def _is_in_a_file(path: str) -> bool:
    """Tell whether code is the application's, and was not made at run time, as SQLAlchemy's `<... generated ...>`."""
    return is_application(path) and not path.startswith("<")
