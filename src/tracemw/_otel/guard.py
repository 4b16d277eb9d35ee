"""The one guard: a fault in tracing is logged and counted, never raised into the application.

`guarded` wraps the steps that doors take on a request's behalf; those that every request takes catch for themselves,
which is cheaper, and call `fault`. `call_hook` runs a function that the user gave us.
Each kind of fault is logged with its traceback at most once a minute, so that a broken hook in a busy service does
not fill the disk.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tracemw._process.log import log

_QUIET_SECONDS = 60.0

P = ParamSpec("P")
R = TypeVar("R")

faults: Counter[str] = Counter()
"""How often each step failed in this process."""

reraise_own_faults = False
"""Set by tracemw's own tests, so that its bugs fail them instead of being swallowed."""

_silent_until: dict[str, float] = {}


def guarded(function: Callable[P, R]) -> Callable[P, R | None]:
    """Return `function` with every `Exception` it raises logged, counted and answered with None."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            fault(function.__qualname__, error)
            return None

    return call


def fault(where: str, error: Exception) -> None:
    """Take note of an exception, just caught, that tracemw's own code has raised."""
    if reraise_own_faults:
        raise error
    _report(f"tracing failed in {where}; the request is not affected", error)


def call_hook(option: str, hook: Callable[..., R], *args: object) -> R | None:
    """Return `hook(*args)`, or None when it raises; `option` is the name under which the user passed it."""
    try:
        return hook(*args)
    except Exception as error:
        _report(f"{option}={represented(hook)} raised; the request is not affected", error)
        return None


def represented(value: object) -> str:
    """Return `repr(value)`, or the class of what has none."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__qualname__} that cannot be shown>"


def processor_fault(processor: object, hook: str, error: Exception) -> None:
    """Take note of an exception, just caught, that a span processor of somebody else has raised."""
    kind = type(processor)
    name = f"{kind.__module__}.{kind.__qualname__}.{hook}"
    _report(f"the span processor's {name} raised; the span and its request are not affected", error)


def unusable(what: str, error: Exception) -> None:
    """Take note of a value of the application's that is left out, since it cannot be had."""
    _report(f"{what} cannot be used and is left out", error)


def _report(message: str, error: Exception) -> None:
    faults[message] += 1
    now = time.monotonic()
    if now >= _silent_until.get(message, 0.0):
        _silent_until[message] = now + _QUIET_SECONDS
        log(logging.ERROR, "%s", message, error=error)
