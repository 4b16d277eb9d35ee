"""The worker: one thread of each process sends the queued spans."""

from __future__ import annotations

import contextvars
import math
import time
from contextlib import suppress
from typing import Final

from tracemw._export.batches import Batches
from tracemw._export.breaker import Breaker
from tracemw._export.losses import OWN_FAULT, Losses
from tracemw._export.orders import WAKE, Order, Orders
from tracemw._export.process_exporter import ProcessExporter
from tracemw._otel.context import suppress_all
from tracemw._process.native import Thread, sleep

_PAUSE_AFTER_FAULT: Final = 0.5
"""Seconds between a fault of the worker and its next start."""


class Worker:
    """Carries out orders, in one thread, which the first order starts. Where there can be no thread, the caller works.

    Whatever is raised in that thread, the worker starts again: nobody else sends spans.

    Args:
        orders: The orders to carry out.
        batches: Sends the queued spans.
        breaker: Says when the backend may be tried again.
        exporter: Opened by whoever works, and closed at the end.
        losses: Logs faults, and knows how many spans are lost.
        delay: Seconds that a span waits for others to be sent along with it.
        pause_after_fault: Seconds between a fault and the next start.
    """

    is_started: bool
    """Whether the thread has been started."""

    def __init__(
        self,
        orders: Orders,
        batches: Batches,
        breaker: Breaker,
        exporter: ProcessExporter,
        losses: Losses,
        *,
        delay: float,
        pause_after_fault: float = _PAUSE_AFTER_FAULT,
    ) -> None:
        self.is_started = False
        self._orders = orders
        self._batches = batches
        self._breaker = breaker
        self._exporter = exporter
        self._losses = losses
        self._delay = delay
        self._pause_after_fault = pause_after_fault
        self._thread: Thread | None = None
        self._unclaimed = [True]
        """Whoever takes this item is the worker."""

    def tell(self, order: Order | None) -> bool:
        """Hand an order to the thread. Return whether there is a thread."""
        if not self.is_started:
            try:
                # Not a thread of `threading`: its start takes locks and waits, and a signal handler may call this.
                self._thread = Thread(self._work)
            except RuntimeError:  # the interpreter is about to end and takes no new threads, or there are too many
                return False
            self.is_started = True
        self._orders.put(order)
        return True

    def carry_out(self, order: Order, timeout: float) -> bool:
        """Have an order carried out within `timeout` seconds. Return whether all spans arrived."""
        if not self.tell(order):
            self.work_here(order, timeout)
        return order.wait(timeout)

    def work_here(self, order: Order, timeout: float) -> None:
        """Carry out an order in the calling thread, within `timeout` seconds, unless another thread is the worker."""
        contextvars.copy_context().run(self._work_here, order, timeout)

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread, at most `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _claim(self) -> bool:
        """Become the worker, unless another thread is."""
        try:
            return self._unclaimed.pop()
        except IndexError:
            return False

    def _work(self) -> None:
        if not self._claim():
            return
        suppress_all()
        while True:
            try:
                self._run()
                return
            except BaseException as error:
                with suppress(BaseException):
                    self._losses.tell_of_restart(error)
                stopping = self._orders.stopping
                if stopping is not None and not stopping.done.locked():
                    return
                self._orders.put_off(WAKE)  # so that the batch that had begun goes on
                sleep(self._pause_after_fault)

    def _work_here(self, order: Order, timeout: float) -> None:
        if not self._claim():
            return
        suppress_all()
        self._orders.stop_by = time.monotonic() + timeout
        try:
            self._exporter.open()
            self._serve(order)
            self._exporter.close()
        finally:  # a signal handler may raise wherever it interrupts
            self._orders.stop_by = math.inf
            self._unclaimed.append(True)

    def _run(self) -> None:
        self._exporter.open()
        goes_on = True
        while goes_on:
            order = self._orders.next(self._breaker.rest)
            self._breaker.try_again()
            goes_on = self._serve(order)
        self._exporter.close()

    def _serve(self, order: Order | None) -> bool:
        """Carry out an order. Return whether there may be others."""
        if order is WAKE:
            order = self._orders.next(self._delay)
        is_last, is_done = order is not WAKE and order.stop, False
        try:
            is_done = self._batches.send(is_last=is_last)
        except Exception as error:  # our own fault; the rest of the batch is sent with the next one
            self._losses.last_error = OWN_FAULT
            self._losses.tell_of_fault(error)
        finally:
            if order is not WAKE:
                order.delivered = is_done and self._losses.lost() == order.lost_before
                order.done.release()
        return not is_last
