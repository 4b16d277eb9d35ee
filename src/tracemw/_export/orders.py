"""The orders of the worker, and its pauses, which orders cut short."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tracemw._process.native import Empty, SimpleQueue, make_lock, wait_for

if TYPE_CHECKING:
    from tracemw._process.native import Lock

LONGEST_WAIT: Final = 1e6
"""Seconds. A longer wait is as good as for ever, and more than a lock, a queue or a socket takes."""

WAKE: Final = None
"""The order to look at the queue."""


@dataclass(eq=False)
class Order:
    """An order to send all spans that were queued before."""

    stop: bool
    """Whether the worker stops then."""

    lost_before: int
    """How many spans were lost before the order."""

    done: Lock = field(default_factory=make_lock)
    """Held until the order has been carried out."""

    delivered: bool = False
    """Whether all spans have arrived."""

    def __post_init__(self) -> None:
        self.done.acquire()

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until the order has been carried out. Return whether all spans arrived."""
        if not wait_for(self.done, min(max(timeout, 0), LONGEST_WAIT)):
            return False
        self.done.release()  # others may wait for the same
        return self.delivered


class Orders:
    """The orders of the worker, first in, first out.

    An order cuts a pause between two attempts short, unless the backend has asked for the pause. No pause outlasts the
    time that a shutdown has.
    """

    stopping: Order | None
    """The order to stop, once there is one."""

    stop_by: float
    """When the time of a shutdown is over, by `time.monotonic`."""

    def __init__(self) -> None:
        self.stopping = None
        self.stop_by = math.inf
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._put_off: deque[Order | None] = deque()

    def put(self, order: Order | None) -> None:
        """Add an order."""
        self._orders.put(order)

    def put_off(self, order: Order | None) -> None:
        """Add an order that comes before those that have not been looked at."""
        self._put_off.append(order)

    def next(self, timeout: float | None) -> Order | None:
        """Return the next order, or `WAKE` if none comes within `timeout` seconds."""
        if self._put_off:
            return self._put_off.popleft()
        try:
            return self._orders.get(timeout=timeout)
        except Empty:
            return WAKE

    def pause(self, seconds: float, *, is_asked: bool) -> bool:
        """Pause between two attempts. Return whether there is time for the second.

        Args:
            seconds: How long.
            is_asked: Whether the backend has asked for the pause.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if until > self.stop_by and (is_asked or not self._orders.qsize()):
                return False
            try:
                order = self._orders.get(timeout=left)
            except Empty:
                break
            self._put_off.append(order)
            if order is not WAKE and not is_asked:
                break
        return True
