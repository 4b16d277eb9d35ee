"""Answers that cost CPU time: made on a thread, within a budget, and remembered for as long as they are true."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tracemw.viewer.budget import Budget
from tracemw.viewer.sending import PiecewiseResponse

_AT_ONCE = 2
_WAITING = 16
_REMEMBERED = 32 * 1024 * 1024  # bytes of answers

_Answer = TypeVar("_Answer")


class Makers:
    """Threads that make answers, few at a time, each within its budget.

    Args:
        seconds: CPU time of one answer.
        at_once: How many threads there are.
        waiting: How many requests may wait for one.
    """

    def __init__(self, seconds: float, *, at_once: int, waiting: int) -> None:
        self._seconds = seconds
        self._waiting = waiting
        self._threads = CapacityLimiter(at_once)

    async def make(self, request: Request, make: Callable[[Budget], _Answer]) -> _Answer:
        """Return what ``make`` makes on a thread. The work ends when its client has gone.

        Raises:
            HTTPException: with 429, when too many wait.
            BudgetError: when the work takes too long.
        """
        if self._threads.statistics().tasks_waiting >= self._waiting:
            raise HTTPException(429, "too many questions at once", headers={"retry-after": "5"})
        budget = Budget(self._seconds)

        def make_within_budget() -> _Answer:
            budget.begin()
            return make(budget)

        watch = asyncio.ensure_future(_cancel_on_disconnect(request, budget))
        try:
            return await to_thread.run_sync(make_within_budget, limiter=self._threads)
        finally:
            watch.cancel()


class Answers:
    """Makes answers, and remembers them.

    Args:
        seconds: CPU time of one answer.
    """

    def __init__(self, seconds: float) -> None:
        self._makers = Makers(seconds, at_once=_AT_ONCE, waiting=_WAITING)
        self._lock = threading.Lock()  # guards the next two
        self._known: OrderedDict[Hashable, bytes] = OrderedDict()
        self._size = 0

    async def respond(self, request: Request, key: Hashable | None, make: Callable[[Budget], bytes]) -> Response:
        """Respond with JSON, unless too many wait.

        Args:
            request: The request.
            key: What the answer is remembered by; None for not at all. It names all that the answer depends on.
            make: Called on a thread, with the budget, when the answer is not known.
        """
        body = await self._makers.make(request, partial(self._answer, key, make))
        return PiecewiseResponse([body], media_type="application/json")

    def forget(self) -> None:
        """Let go of all answers."""
        with self._lock:
            self._known.clear()
            self._size = 0

    def _answer(self, key: Hashable | None, make: Callable[[Budget], bytes], budget: Budget) -> bytes:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        body = make(budget)
        if key is not None and len(body) < _REMEMBERED and not budget.is_spent():  # else it may be half an answer
            self._remember(key, body)
        return body

    def _remember(self, key: Hashable, body: bytes) -> None:
        with self._lock:
            self._size += len(body) - len(self._known.pop(key, b""))
            self._known[key] = body
            while self._size > _REMEMBERED:
                self._size -= len(self._known.popitem(last=False)[1])


async def _cancel_on_disconnect(request: Request, budget: Budget) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    budget.cancel()
