"""What doors refuse when they are made, by their own names: unknown options, and applications of another kind."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from tracemw._otel.guard import represented


def refuse_unknown(door: str, given: Iterable[str], options: type) -> None:
    """Refuse names that are no options of a door.

    Args:
        door: The class or function that the user has called.
        given: The names of the options that the user has given.
        options: The `TypedDict` of the options that the door takes.

    Raises:
        TypeError: for the first such name. The error names all options there are.
    """
    for name in given:
        if name not in options.__annotations__:
            raise TypeError(f"{door} has no option {name!r}; use one of {', '.join(options.__annotations__)}")


def refuse_other_kind(door: str, application: Any, kind: str, arguments: tuple[str, ...]) -> None:
    """Refuse what is not called as the applications of a door are: WSGI at a door for ASGI, and the other way round.

    Args:
        door: The class that the user has called.
        application: What the user wants to trace.
        kind: What the door traces, such as `an ASGI application`.
        arguments: What such an application is called with.

    Raises:
        TypeError: for what cannot be called, or not with so many arguments.
    """
    names = ", ".join(arguments)
    if not callable(application):
        raise TypeError(f"{door} takes {kind}, not {represented(application)}")
    # Of a static `__call__`, `inspect` leaves out the first parameter, as if that were `self`.
    called = inspect.getattr_static(type(application), "__call__", None)
    try:
        signature = inspect.signature(
            called.__func__ if isinstance(called, staticmethod) else application, follow_wrapped=False
        )
    except (TypeError, ValueError):  # written in C, without a signature
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        shown = represented(application)
        raise TypeError(f"{door} takes {kind}, which is called with ({names}), and {shown} is not") from None
