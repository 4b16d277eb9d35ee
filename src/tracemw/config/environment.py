"""Environment variables. A variable that is set to nothing counts as unset."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


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
