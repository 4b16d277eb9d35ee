"""The body of an outbound request, where the application's own code gives it bit by bit.

A library asks for each bit within the attempt, beneath which clients start no spans. But that code is the caller's: a
call that it makes is no part of the attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

from opentelemetry.context import Context

from tracemw._otel.context import attach, current_context, detach

R = TypeVar("R")


class Upload:
    """A body of which each bit is taken in the context of the caller.

    The upload passes for the body itself: it has the body's class for `isinstance`, and all that the body can do.

    Args:
        body: An iterable or an iterator, synchronous or asynchronous.
        context: The context of the caller.
    """

    def __init__(self, body: Any, context: Context) -> None:
        self._body = body
        self._context = context

    @property  # type: ignore[misc]  # it cannot be set here
    def __class__(self) -> Any:
        return self._body.__class__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._body.__reduce_ex__(protocol)  # a copy is one of the body

    def __iter__(self) -> Self:
        return self._over(self._take(iter, self._body))

    def __next__(self) -> Any:
        return self._take(next, self._body)

    def __aiter__(self) -> Self:
        return self._over(self._take(aiter, self._body))

    async def __anext__(self) -> Any:
        token = attach(self._context)
        try:
            return await anext(self._body)
        finally:
            self._leave(token)

    def _over(self, bits: Any) -> Self:
        return self if bits is self._body else type(self)(bits, self._context)

    def _take(self, take: Callable[..., R], *args: Any) -> R:
        # An interrupt may leave this context behind. The attempt's `run` then puts things right.
        token = attach(self._context)
        try:
            return take(*args)
        finally:
            self._leave(token)

    def _leave(self, token: Any) -> None:
        # A generator may have a span open while it yields. That span is current again when the generator goes on.
        self._context = current_context()
        detach(token, self._context)
