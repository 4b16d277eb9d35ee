"""The thread that looks at the requests being served, and when it looks."""

from __future__ import annotations

import os
import weakref
from time import monotonic
from typing import Final

from tracemw._otel.guard import fault
from tracemw._otel.served import served, watch
from tracemw._process.forks import begin_anew_with
from tracemw._process.native import Empty, SimpleQueue, Thread
from tracemw._watch.collector import CollectorPauses
from tracemw._watch.heartbeat import Hearts
from tracemw._watch.rounds import Rounds
from tracemw._watch.stacks import worker_finder

_LINGERS: Final = 1.0
"""Seconds without a request after which the thread sleeps until the next one."""

_GO_ON: Final = True
_STOP: Final = False


def watchdog_for(*, stack_after: float | None, blame: bool, stacktrace_limit: int) -> Watchdog | None:
    """Return a watchdog; None when there is nothing to watch for.

    Args:
        stack_after: Seconds after which a request's stack is taken; None for never.
        blame: Whether the time that belongs to nobody is told.
        stacktrace_limit: Bytes that a stack may take.
    """
    watch.blames = blame
    if stack_after is None and not blame:
        return None
    hearts = Hearts(stacktrace_limit) if blame else None
    rounds = Rounds(stack_after=stack_after, stacktrace_limit=stacktrace_limit, hearts=hearts)
    return Watchdog(rounds, CollectorPauses() if blame else None)


class Watchdog:
    """Watches the requests of this process, and of each that forks from it.

    The first request begins the thread. The thread ends before a fork, since the child of a process with threads may
    lock up, and begins again with the next request.

    Args:
        rounds: What to do each time.
        pauses: Notes the pauses of the garbage collector; None when they are not told.
    """

    def __init__(self, rounds: Rounds, pauses: CollectorPauses | None) -> None:
        self._rounds = rounds
        self._pauses = pauses
        self._active = True
        self._running: list[tuple[Thread, SimpleQueue[bool]]] = []
        """The thread, and where it gets its orders."""
        self._unclaimed = [True]
        """Whoever takes the item begins the thread: one of several requests that have come at once."""
        this = weakref.ref(self)

        def before() -> None:
            if (watchdog := this()) is not None:
                watchdog._pause()  # noqa: SLF001  its own class

        def after_in_parent() -> None:
            if (watchdog := this()) is not None:
                watchdog._go_on()  # noqa: SLF001

        os.register_at_fork(before=before, after_in_parent=after_in_parent)
        begin_anew_with(self._begin_anew)
        if pauses is not None:
            pauses.begin()
        self._await_a_request()

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread, and wait `timeout` seconds for that."""
        self._active = False
        watch.wake, watch.find_worker, watch.blames = None, None, False
        if self._pauses is not None:
            self._pauses.end()
        self._pause(timeout)

    def tell_all(self) -> None:
        """Tell of each request, on its span, where it is now: the process ends, and this is the last chance."""
        try:
            self._rounds.tell_all()
        except Exception as error:
            fault("Watchdog.tell_all", error)

    def _await_a_request(self) -> None:
        if self._active:
            watch.wake = self._begin

    def _go_on(self) -> None:
        self._await_a_request()
        if served and self._active:  # a request has forked
            self._begin()

    def _begin_anew(self) -> None:
        served.clear()  # they are the parent's
        self._running, self._unclaimed = [], [True]
        self._rounds.begin_anew()
        self._await_a_request()

    def _begin(self) -> None:
        watch.wake = None
        watch.find_worker = worker_finder()
        try:
            self._unclaimed.pop()
        except IndexError:
            return
        orders: SimpleQueue[bool] = SimpleQueue()
        try:
            self._running.append((Thread(self._run, orders), orders))
        except RuntimeError:  # there are no new threads: the interpreter is at its end, or uWSGI runs none
            self._unclaimed.append(True)

    def _pause(self, timeout: float = 1.0) -> None:
        while self._running:
            try:
                thread, orders = self._running.pop()
            except IndexError:  # another thread was faster
                return
            orders.put(_STOP)
            thread.join(timeout)
            self._unclaimed.append(True)

    def _run(self, orders: SimpleQueue[bool]) -> None:
        seen = monotonic()
        while True:
            pause = _LINGERS
            try:
                pause = self._rounds.go()
            except Exception as error:
                fault("Watchdog", error)
            if served:
                seen = monotonic()
            try:
                if monotonic() < seen + _LINGERS:
                    order = orders.get(timeout=pause)
                else:
                    order = self._sleep(orders)
                    seen = monotonic()
            except Empty:
                continue
            if order is _STOP:
                self._rounds.rest()
                return

    def _sleep(self, orders: SimpleQueue[bool]) -> bool:
        """Sleep until the next request, or until an order comes. Return the order."""

        def wake() -> None:
            watch.wake = None
            orders.put(_GO_ON)

        self._rounds.rest()
        if not self._active:
            return _STOP
        watch.wake = wake
        if served:  # a request has come just before
            return _GO_ON
        return orders.get()
