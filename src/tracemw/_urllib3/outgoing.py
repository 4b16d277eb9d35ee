"""The body of a request as a connection of urllib3 takes it. A pool, which may rewind a body, has the body itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from opentelemetry.context import Context

from tracemw._http.uploads import Upload
from tracemw._urllib3.attempts import attempts_under_way

R = TypeVar("R")

AT_ONCE: Final = frozenset({bytes, str, type(None)})
"""The classes of nearly all bodies. No code of the caller's gives these."""


class Outgoing(Upload):
    """An upload that may be a file. A call that the body makes belongs to no attempts under way."""

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        return partial(self._take, found) if name == "read" else found

    def _take(self, take: Callable[..., R], *args: Any) -> R:
        around = attempts_under_way.get()
        attempts_under_way.set(None)
        try:
            return super()._take(take, *args)
        finally:
            attempts_under_way.set(around)


def from_caller(body: Any, context: Context) -> Any:
    """Return a body that a connection takes in the context of the caller.

    As urllib3 has it, a file is read, and all else gives chunks but text and buffers. These are returned as they are.
    """
    if hasattr(body, "read"):
        return Outgoing(body, context)
    try:
        memoryview(body)
    except TypeError:
        return body if isinstance(body, str) or not hasattr(body, "__iter__") else Outgoing(body, context)
    return body
