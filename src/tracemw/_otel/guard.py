"""The one guard: a fault in tracing is logged and counted, and never raised into the application.

`guarded` wraps the steps that doors take for a request. Steps that every request takes have a `try` of their own, which
is cheaper, and call `fault`. `call_hook` runs a function that the user gave us. Each kind of fault is logged with its
traceback at most once a minute. So a broken hook in a busy service does not fill the disk.
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
"""Set by tracemw's own tests, so that a bug of tracemw fails a test."""

_silent_until: dict[str, float] = {}


def guarded(function: Callable[P, R]) -> Callable[P, R | None]:
    """Return `function`, guarded: an `Exception` that it raises is logged and counted, and the result is None."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            fault(function.__qualname__, error)
            return None

    return call


def fault(where: str, error: Exception) -> None:
    """Log and count an exception of tracemw's own code. The caller has just caught it."""
    if reraise_own_faults:
        raise error
    _report(f"tracing failed in {where}; the request is not affected", error)


def call_hook(option: str, hook: Callable[..., R], *args: object) -> R | None:
    """Return `hook(*args)`, or None when the hook raises; `option` is the option in which the user gave the hook."""
    try:
        return hook(*args)
    except Exception as error:
        _report(f"{option}={represented(hook)} raised; the request is not affected", error)
        return None


def represented(value: object) -> str:
    """Return `repr(value)`, or the name of its class when `repr` raises."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__qualname__} that cannot be shown>"


def processor_fault(processor: object, hook: str, error: Exception) -> None:
    """Log and count an exception of a foreign span processor. The caller has just caught it."""
    kind = type(processor)
    name = f"{kind.__module__}.{kind.__qualname__}.{hook}"
    _report(f"the span processor's {name} raised; the span and its request are not affected", error)


def unusable(what: str, error: Exception) -> None:
    """Log and count that a value of the application is left out, since using it raised `error`."""
    _report(f"{what} cannot be used and is left out", error)


def refuse(message: str) -> None:
    """Log and count that something which the application asked for is not done, as the message says."""
    _report(message, None)


def _report(message: str, error: Exception | None) -> None:
    faults[message] += 1
    now = time.monotonic()
    if now >= _silent_until.get(message, 0.0):
        _silent_until[message] = now + _QUIET_SECONDS
        log(logging.ERROR, "%s", message, error=error)
