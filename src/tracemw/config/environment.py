"""Environment variables. A variable that is set to nothing counts as unset."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from typing import Final, TypeVar

T = TypeVar("T")

_PREFIX: Final = "TRACEMW_"

OWN_VARIABLES: Final = frozenset(
    {
        "TRACEMW_ALLOW",
        "TRACEMW_BATCH_BYTES",
        "TRACEMW_BLAME",
        "TRACEMW_CONTROL_FILE",
        "TRACEMW_FOLD_AFTER",
        "TRACEMW_PSEUDONYM_KEY",
        "TRACEMW_QUEUE_BYTES",
        "TRACEMW_STACKTRACE_LIMIT",
        "TRACEMW_SWALLOWED",
        "TRACEMW_TENANT",
        "TRACEMW_VIEWER_TOKEN",
        "TRACEMW_WARN",
    }
)
"""The variables that are tracemw's own."""


def get(variable: str) -> str | None:
    """Return the value of a variable; None when it is unset or set to nothing."""
    return os.environ.get(variable, "").strip() or None


def read(variable: str, parse: Callable[[str, str], T]) -> T | None:
    """Return the parsed value of a variable; None when it is unset. `parse` takes the name and the text."""
    value = get(variable)
    return None if value is None else parse(variable, value)


def of_signal(signal: str, name: str, argument: str | None, parse: Callable[[str, str], T]) -> T | None:
    """Return a setting of a signal: the argument, else the signal's variable, else the one of all signals."""
    if argument is not None:
        return parse(name.lower(), argument)
    own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}"
    return read(own if get(own) is not None else f"OTEL_EXPORTER_OTLP_{name}", parse)


def unknown_variables() -> dict[str, str]:
    """Return the variables that look like tracemw's own and are none, each with the names that may be meant."""
    unknown = sorted(name for name in os.environ if name.startswith(_PREFIX) and name not in OWN_VARIABLES)
    own = sorted(OWN_VARIABLES)
    endings = [name.removeprefix(_PREFIX) for name in own]  # the prefix alone would make all names alike
    return {
        name: ", ".join([_PREFIX + each for each in get_close_matches(name.removeprefix(_PREFIX), endings, n=1)] or own)
        for name in unknown
    }
