"""The span processor: from the end of a span to the answer to its request.

Nothing on a request's path waits. A span is encoded and appended to a queue. The worker, one thread of each process,
sends batches. `flush` and `shutdown` keep their timeouts, whatever the backend does.

There are no locks. A signal handler that flushes may have interrupted whoever holds one, and a fork may come while
another thread holds one. Instead, a span changes places either within one call into C, or by statements with no call
among them. So whoever looks sees each span in one place. docs/architecture.md says what that rests on.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import TraceFlags

from tracemw._export.batches import Batches
from tracemw._export.breaker import FAILURES, INTERVAL, Breaker, State
from tracemw._export.encoding import SpanEncoder
from tracemw._export.exporter import Exporter
from tracemw._export.in_flight import InFlight
from tracemw._export.losses import EXPORTED, LATE, REJECTED, UNKNOWN, Losses
from tracemw._export.orders import LONGEST_WAIT, WAKE, Order, Orders
from tracemw._export.portions import REMEMBERED_FOR, Portions
from tracemw._export.process_exporter import ProcessExporter
from tracemw._export.queue import SpanQueue
from tracemw._export.retries import FIRST_PAUSE, Retries
from tracemw._export.stats import BREAKER_OPEN, CAUSES, QUEUE_BYTES, QUEUE_FULL, SHUTDOWN, TOO_LARGE, TRIVIAL, Stats
from tracemw._export.worker import Worker
from tracemw._process.forks import begin_anew_with, check, inherits
from tracemw.config import DELIVERY_TIMEOUT, Config
from tracemw.redaction.policy import RedactionPolicy

_SAMPLED: Final = int(TraceFlags.SAMPLED)
_FLAGS: Final = 3
"""Where the flags stand in a span context, which is a tuple."""

_FAREWELL: Final = 0.1
"""Seconds that a shutdown waits for the end of a worker that has nothing left to do."""


class Delivery(SpanProcessor):
    """Encode sampled spans as they end, queue them, and deliver them in batches.

    Args:
        make_exporter: Makes the exporter. The worker calls this once in each process that ends spans.
        config: The settings of the process: the backend, the limits, and the delay.
        policy: What may leave; by default, all keys that are allowed unasked.
        first_pause: Seconds between the first and the second attempt.
        failures: How many attempts must fail in a row before the backend is left alone.
        interval: Seconds that the backend is left alone.
        remembered_for: Seconds for which a size that the backend refused is not tried again.
    """

    take: Callable[[ReadableSpan], None]
    """Queue a span that has ended, sampled or not. This is the queue's own method, which saves a call."""

    def __init__(
        self,
        make_exporter: Callable[[], Exporter],
        config: Config,
        *,
        policy: RedactionPolicy | None = None,
        first_pause: float = FIRST_PAUSE,
        failures: int = FAILURES,
        interval: float = INTERVAL,
        remembered_for: float = REMEMBERED_FOR,
    ) -> None:
        self.config = config
        self._make_exporter = make_exporter
        self._policy = policy
        self._delay = min(config.delay, LONGEST_WAIT)
        self._first_pause = first_pause
        self._failures = failures
        self._interval = interval
        self._remembered_for = remembered_for
        self._compose(self._new_encoder(), refuses=None)
        _deliveries.add(self)

    def _compose(self, encoder: SpanEncoder, *, refuses: str | None) -> None:
        """Put the parts together, from the end of the way to its beginning."""
        config = self.config
        batch_bytes = min(config.batch_bytes, config.queue_bytes)
        limits = {QUEUE_FULL: config.queue_size, QUEUE_BYTES: config.queue_bytes, TOO_LARGE: batch_bytes}
        self._encoder = encoder
        self._losses = losses = Losses(str(config.traces.endpoint), limits=limits)
        self._orders = orders = Orders()
        self._exporter = exporter = ProcessExporter(self._make_exporter, losses)
        self._breaker = breaker = Breaker(exporter, self._on_breaker, failures=self._failures, interval=self._interval)
        self._retries = Retries(breaker, orders, leave_alone=breaker.leave_alone, first_pause=self._first_pause)
        self._in_flight = InFlight(losses.counts)
        self._queue = SpanQueue(
            encoder.record,
            self._wake,
            losses.counts,
            most_spans=config.queue_size,
            most_bytes=config.queue_bytes,
            batch_spans=config.batch_size,
            batch_bytes=batch_bytes,
            refuses=refuses,
        )
        self._batches = Batches(
            self._queue,
            self._in_flight,
            Portions(batch_bytes, remembered_for=self._remembered_for),
            self._retries,
            breaker,
            orders,
            losses,
            encode=encoder.request,
            pack=exporter.pack,
            size=config.batch_size,
            timeout=min(config.traces.timeout, LONGEST_WAIT),
        )
        self._worker = Worker(orders, self._batches, breaker, exporter, losses, delay=self._delay)
        self._due = 0.0
        self._is_over = False
        self.take = self._queue.take

    def _new_encoder(self) -> SpanEncoder:
        return SpanEncoder(longest=self.config.value_limit, policy=self._policy)

    def leave_to_parent(self) -> None:
        """Begin anew in a process that has just been forked: it has no worker, and the parent sends the queue."""
        exporter, queue, worker = self._exporter, self._queue, self._worker
        # uWSGI's master has no thread (see `_process.native.Thread`). One of its workers inherits the queued spans.
        is_heir = len(queue) > 0 and not worker.is_started and inherits()
        # Records belong to the encoder that has made them.
        encoder = self._encoder if is_heir else self._new_encoder()
        self._compose(encoder, refuses=LATE if queue.refuses == LATE else None)
        if is_heir:
            self._queue.inherit(queue)
        exporter.leave_to_parent()

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that has ended, if it is sampled."""
        try:
            flags = span._context[_FLAGS]  # type: ignore[index]  # noqa: SLF001  the properties take six times as long
        except (AttributeError, TypeError):  # something that only looks like one of the SDK's
            flags = span.context.trace_flags
        if flags & _SAMPLED:
            take = self.take  # a function in a field: `self.take(span)` would look for a method first
            take(span)

    def flush(self, timeout: float) -> bool:
        """Send the queued spans. Return whether the backend has accepted all of them within `timeout` seconds."""
        check()
        if self._orders.stopping is not None:
            return self.shutdown(timeout)
        if self._queue.refuses is not None:
            return False
        if self._is_idle():
            return True
        return self._worker.carry_out(Order(stop=False, lost_before=self._losses.lost()), timeout)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Do the same with a timeout in milliseconds, as the SDK's interface has it."""
        return self.flush(timeout_millis / 1000)

    def shutdown(self, timeout: float = DELIVERY_TIMEOUT) -> bool:  # type: ignore[override]  # the SDK's wants no answer
        """Send the queued spans within `timeout` seconds, and take no more.

        A second call waits for the first, and returns the same.

        Returns:
            Whether no span has been lost since the beginning.
        """
        check()
        orders, queue, losses, worker = self._orders, self._queue, self._losses, self._worker
        order, deadline = Order(stop=True, lost_before=losses.lost()), time.monotonic() + timeout
        first = orders.stopping
        if first is not None:  # the same order once more: this call may have interrupted the first
            delivered = first.delivered if self._is_over else worker.carry_out(first, timeout)
            return delivered and not losses.lost()
        orders.stopping, orders.stop_by = order, deadline
        was_open, queue.refuses = queue.refuses == BREAKER_OPEN, LATE
        if self._is_idle():
            order.delivered = self._is_over = True
            order.done.release()
            return True
        delivered = worker.carry_out(order, 0.0 if was_open else timeout)
        if not order.done.locked():
            worker.join(_FAREWELL)
        queue.drop_all(LATE if delivered else SHUTDOWN)
        self._in_flight.give_up()
        if not was_open:  # else the log has told of the outage
            losses.tell_of_end()
        order.delivered, self._is_over = delivered, True
        return delivered and not losses.lost()

    def stats(self) -> Stats:
        """Return what has become of the spans so far."""
        check()
        in_flight, queue, counts = self._in_flight, self._queue, self._losses.counts
        if self._is_over:
            queue.drop_all(LATE)  # a thread may have been about to queue a span when the shutdown began
        while True:
            counted, batch = counts.copy(), in_flight.batch
            sending, queued = len(batch), len(queue)
            if counted == counts and batch is in_flight.batch and sending == len(batch):
                break  # meanwhile, nothing has changed but for spans that have ended
        return Stats(
            exported=counted[EXPORTED],
            rejected=counted[REJECTED],
            unknown=counted[UNKNOWN],
            dropped={**{cause: counted[cause] for cause in CAUSES}, SHUTDOWN: counted[SHUTDOWN] + counted[LATE]},
            queued=queued,
            in_flight=sending,
            trivial=counted[TRIVIAL],
            retries=self._retries.count + self._batches.halvings,
            breaker=self._breaker.state,
            last_error=self._losses.last_error,
        )

    def send_here(self, timeout: float) -> None:
        """Send the queued spans from the calling thread, within `timeout` seconds, where there can be no worker."""
        check()
        if self._worker.is_started or self._orders.stopping is not None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._delay
        self._breaker.try_again()
        if self._queue:
            self._worker.work_here(Order(stop=False, lost_before=self._losses.lost()), timeout)

    def _is_idle(self) -> bool:
        return not (self._worker.is_started or self._queue or self._in_flight.batch)

    def _wake(self) -> bool:
        return self._worker.tell(WAKE)

    def _on_breaker(self, before: State, now: State) -> None:
        """Drop spans at once while the breaker is open, unless the process is about to end."""
        queue, orders = self._queue, self._orders
        if now == "closed":
            self._losses.tell_of_return()
        # No call from here to the change: a shutdown that comes meanwhile has its own reason to refuse spans.
        elif orders.stopping is None:
            queue.refuses = BREAKER_OPEN if now == "open" else None
            if now == "open":
                self._drop_for_now(is_news=before == "closed")

    def _drop_for_now(self, *, is_news: bool) -> None:
        queue, orders = self._queue, self._orders
        while orders.stopping is None and queue.drop_oldest(BREAKER_OPEN):
            pass
        if is_news and orders.stopping is None:
            self._losses.tell_of_outage()


_deliveries: Final[weakref.WeakSet[Delivery]] = weakref.WeakSet()


def _after_fork() -> None:
    for delivery in list(_deliveries):
        delivery.leave_to_parent()


begin_anew_with(_after_fork)
