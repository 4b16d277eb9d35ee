"""Requests that wait for a thread: of anyio's pool, in which FastAPI runs what is not asynchronous, or of an executor.

A pool has so many threads: anyio's 40 by default, asyncio's some more than the machine has cores. Nobody is told when
work begins to wait. So each beat of an event loop looks whether a pool has a queue, and if so, who is in it.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from tracemw._otel.guard import guarded
from tracemw._otel.served import Served, leave_note
from tracemw._watch.stacks import lines_in_pools, request_of_task, request_of_work

WAITED_FOR_A_THREAD: Final = "tracemw.pool.waited"
"""The event of a request that has waited for a thread."""
BUSY: Final = "tracemw.pool.busy_with"
"""The attribute that says at which lines of the application the threads were then: the most frequent ones."""
SIZE: Final = "tracemw.pool.size"
"""The attribute that says how many threads the pool has."""

_WAITED: Final = 100_000_000
"""Nanoseconds from which a wait is told."""


class ThreadWait:
    """One wait for a thread."""

    name = WAITED_FOR_A_THREAD

    def __init__(self, at: int, told: Mapping[str, Any]) -> None:
        self.at = at
        self.ended: int | None = None
        self._told = told

    def attributes(self, now: int) -> Mapping[str, Any] | None:
        lasted = (self.ended or now) - self.at
        return {**self._told, "tracemw.seconds": round(lasted / 1e9, 3)} if lasted > _WAITED else None


class _Waiting(NamedTuple):
    """Something that waits for a thread: a task, or the work of an executor."""

    what: Any
    pool_size: float

    def request(self) -> Served | None:
        """Return the request that waits."""
        is_task = isinstance(self.what, asyncio.Task)
        return request_of_task(self.what) if is_task else request_of_work(self.what)


class PoolQueues:
    """Who waits for a thread, as one event loop sees it."""

    def __init__(self) -> None:
        self._limiter: Any = None
        self._waits: dict[object, ThreadWait] = {}

    @guarded
    def look(self, loop: asyncio.AbstractEventLoop, now: int) -> None:
        """Look at the queues. The event loop calls this, at the time `now` of the monotonic clock."""
        if self._limiter is None and "anyio.to_thread" in sys.modules:
            self._limiter = _limiter_here()
        waiting = {each.what: each for each in (*self._for_anyio(), *_for_executors())}
        for what in self._waits.keys() - waiting.keys():
            self._waits.pop(what).ended = now
        busy: list[str] | None = None
        for what in waiting.keys() - self._waits.keys():
            busy = lines_in_pools() if busy is None else busy
            self._waits[what] = wait = ThreadWait(now, {SIZE: waiting[what].pool_size, BUSY: busy})
            request = waiting[what].request()
            if request is not None and request.loop is loop:
                leave_note(request, wait)

    def end(self) -> None:
        """Let go of all: no request is left."""
        self._waits.clear()

    def _for_anyio(self) -> Iterator[_Waiting]:
        limiter = self._limiter
        if limiter is not None and limiter.available_tokens <= 0:
            for task in list(getattr(limiter, "_wait_queue", ())):
                if isinstance(task, asyncio.Task):
                    yield _Waiting(task, limiter.total_tokens)


def _limiter_here() -> Any:
    """Return the limiter of anyio's pool for the event loop that runs now."""
    # anyio asks sniffio which kind of loop this is, and outside of tasks sniffio has to be told. Only the context of
    # this beat keeps that.
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        sniffio.current_async_library_cvar.set("asyncio")
    return sys.modules["anyio.to_thread"].current_default_thread_limiter()


def _for_executors() -> Iterator[_Waiting]:
    # This table has all threads of all executors, with the queue that each takes its work from.
    queues = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", None)
    if not queues:
        return
    for queue, threads in Counter(list(queues.values())).items():
        if queue.qsize():
            for found in gc.get_referents(queue):  # its list, or since Python 3.13 what is in it
                for work in found if isinstance(found, list) else (found,):
                    if hasattr(work, "future"):
                        yield _Waiting(work, threads)
