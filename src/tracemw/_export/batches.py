"""Batches: queued spans go out in batches, and each batch in as many requests as the backend wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from tracemw._export.breaker import Breaker
from tracemw._export.exporter import AttemptResult, ExportRequest, Outcome, Sender
from tracemw._export.in_flight import InFlight
from tracemw._export.losses import REJECTED, UNKNOWN, Losses
from tracemw._export.orders import Orders
from tracemw._export.portions import Portions
from tracemw._export.queue import SpanQueue
from tracemw._export.stats import BREAKER_OPEN, ENCODING, RETRIES_EXHAUSTED, TOO_LARGE

_TELLING: Final = frozenset({AttemptResult.ACCEPTED, AttemptResult.TOO_LARGE})
"""Answers after which lost spans are logged at once. After other answers, the log hears when the breaker opens."""


class Batches:
    """Sends the queued spans, batch by batch, and counts what becomes of each.

    A batch that has begun is sent to its end, unless the breaker opens or the time of a shutdown is over. After a fault
    of our own, the rest of a batch is sent with the next one. This object belongs to the thread that sends.

    Args:
        queue: Where spans wait.
        in_flight: The batch that is being sent.
        portions: Says how much of a batch goes into one request.
        sender: Sends a request, with as many attempts as it takes.
        breaker: Says when to send nothing.
        orders: Say when the time is over.
        losses: Logs spans that are lost while others arrive.
        encode: Makes the body of a request from records.
        pack: Returns the bytes that are sent for that body: compressed ones, perhaps.
        size: How many spans a batch may have.
        timeout: Seconds that a request may take, with its retries.
    """

    halvings: int
    """How many requests were refused, and sent again as smaller ones."""

    def __init__(
        self,
        queue: SpanQueue,
        in_flight: InFlight,
        portions: Portions,
        sender: Sender,
        breaker: Breaker,
        orders: Orders,
        losses: Losses,
        *,
        encode: Callable[[Sequence[bytes]], bytes],
        pack: Callable[[bytes], bytes],
        size: int,
        timeout: float,
    ) -> None:
        self.halvings = 0
        self._queue = queue
        self._in_flight = in_flight
        self._portions = portions
        self._sender = sender
        self._breaker = breaker
        self._orders = orders
        self._losses = losses
        self._encode = encode
        self._pack = pack
        self._size = size
        self._timeout = timeout

    def send(self, *, is_last: bool) -> bool:
        """Send the queued spans. Return whether all of them had their turn.

        Args:
            is_last: Whether spans that are queued meanwhile are sent, too.
        """
        self._queue.expect()
        waiting = len(self._queue) + len(self._in_flight.batch)
        while waiting > 0 or (is_last and self._queue):
            if self._breaker.state == "open" or time.monotonic() >= self._orders.stop_by:
                return False
            self._send_batch()
            waiting -= self._size
        return True

    def _send_batch(self) -> None:
        in_flight, orders, answers = self._in_flight, self._orders, set[AttemptResult | None]()
        refusal: Outcome | None = None
        self._queue.move(in_flight.batch, self._size)
        self._portions.begin(len(in_flight.batch), self._timeout)
        while batch := in_flight.batch:
            if time.monotonic() >= orders.stop_by and answers:
                break
            if self._breaker.state == "open":
                if orders.stopping is None:
                    in_flight.settle(batch, len(batch), BREAKER_OPEN, len(batch))
                break
            outcome = self._send_portion(batch)
            answers.add(outcome.answer if outcome is not None else None)
            if outcome is not None and outcome.answer is AttemptResult.INVALID:
                refusal = outcome
        if refusal is not None and AttemptResult.ACCEPTED not in answers:
            self._breaker.note_failure(refusal.retry_after)
        if answers & _TELLING:
            self._losses.tell()

    def _send_portion(self, batch: list[bytes]) -> Outcome | None:
        """Send as much of a batch as goes into one request. Return the outcome, or None when nothing was sent.

        Spans that the backend may take in a smaller request stay in the batch.
        """
        portions, in_flight = self._portions, self._in_flight
        count = portions.next(batch)
        try:
            body = self._encode(batch if count == len(batch) else batch[:count])
            if not portions.admit(count, len(body)):
                return None
            request = ExportRequest(self._pack(body), count)
        except Exception as error:
            self._losses.tell_of_fault(error)
            in_flight.settle(batch, count, ENCODING, count)
            return None
        sizes = len(body), len(request.body)
        if portions.is_hopeless(count, *sizes):
            in_flight.settle(batch, count, TOO_LARGE, count)
            return None
        in_flight.under_way = count
        outcome = self._sender.send(request, self._timeout)
        cause, lost, is_halved = REJECTED, count, False
        if outcome.answer is AttemptResult.ACCEPTED:
            portions.note_accepted(count)
            lost = outcome.rejected
        elif outcome.answer is AttemptResult.TOO_LARGE:
            is_halved = portions.note_too_large(count, *sizes)
        elif outcome.answer is AttemptResult.INVALID:
            is_halved = portions.note_invalid(count)
        elif outcome.answer is not AttemptResult.REJECTED:
            cause = RETRIES_EXHAUSTED
        if is_halved:
            in_flight.under_way = 0
            self.halvings += 1
        else:
            in_flight.settle(batch, count, UNKNOWN if outcome.is_uncertain else cause, lost)
        return outcome
