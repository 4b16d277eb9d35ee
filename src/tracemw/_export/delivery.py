"""The span processor: a bounded queue in front of an exporter, emptied by one worker thread per process.

Nothing on a request's way waits: a span is appended to a deque, and the worker sends batches. The queue and the
worker's orders are lock-free for the caller (`deque`, `SimpleQueue`), so that a flush from a signal handler cannot
meet a lock that the interrupted code holds. `flush` and `shutdown` keep their timeouts whatever the backend does; the
SDK's batch processor ignores the one and takes half a minute for the other when the backend is down.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import TraceFlags

from tracemw._context import suppress_all

_logger = logging.getLogger("tracemw")


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What became of the sampled spans that ended in this process."""

    exported: int
    """Spans that the backend has accepted."""

    failed: int
    """Spans given up after an export had failed."""

    dropped: int
    """Spans lost to a full queue, or ended after shutdown."""

    queued: int
    """Spans that wait for delivery or are being sent."""


@dataclass
class _Order:
    """Something the worker has to do once everything queued before has been sent."""

    stop: bool
    done: threading.Lock = field(default_factory=threading.Lock)
    delivered: bool = False


_WAKE: Final = None


class Delivery(SpanProcessor):
    """Queue sampled spans and deliver them in batches.

    Args:
        make_exporter: Makes the exporter; called by the worker, once in each process that ends spans.
        destination: How the log names where the spans go.
        queue_size: Spans that may wait; when there are more, the oldest are dropped and counted.
        batch_size: Spans in one export at most.
        delay: Seconds that a span waits for others to be sent along with it.
    """

    def __init__(
        self,
        make_exporter: Callable[[], SpanExporter],
        *,
        destination: str,
        queue_size: int,
        batch_size: int,
        delay: float,
    ) -> None:
        self._make_exporter = make_exporter
        self._destination = destination
        self._queue_size = queue_size
        self._batch_size = batch_size
        self._delay = delay
        self._start_afresh()
        # The worker does not survive a fork, and what the parent has queued is the parent's to send.
        this = weakref.ref(self)

        def after_fork() -> None:
            if (delivery := this()) is not None:
                delivery._start_afresh()  # noqa: SLF001  its own class

        os.register_at_fork(after_in_child=after_fork)

    def _start_afresh(self) -> None:
        self._queue: deque[ReadableSpan] = deque()
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._worker: threading.Thread | None = None
        self._starting = threading.Lock()
        self._exporter: SpanExporter | None = None
        self._awake = False
        self._hurried = False
        self._closed = self._abandoned = False
        self._failing = False
        self._exported = self._failed = self._dropped = self._sending = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that has ended; an unsampled one goes nowhere."""
        if not span.context.trace_flags & TraceFlags.SAMPLED:
            return
        self.take(span)

    def take(self, span: ReadableSpan) -> None:
        """Queue a span that has ended, sampled or not."""
        if self._closed:
            self._dropped += 1
            return
        queue = self._queue
        queue.append(span)
        if len(queue) > self._queue_size:
            try:
                queue.popleft()
                self._dropped += 1
            except IndexError:  # the worker was faster
                pass
        if not self._awake:
            self._awake = True
            self._order(_WAKE)
        elif len(queue) >= self._batch_size and not self._hurried:
            self._hurried = True
            self._order(_WAKE)

    def flush(self, timeout: float) -> bool:
        """Send what is queued; tell whether the backend had accepted all of it within `timeout` seconds."""
        return self._finish(_Order(stop=False), timeout)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Do the same with a timeout in milliseconds, as the SDK's interface has it."""
        return self.flush(timeout_millis / 1000)

    def shutdown(self, timeout: float = 5.0) -> None:
        """Send what is queued, within `timeout` seconds, and take no more."""
        if self._closed:
            return
        self._closed = True
        if not self._finish(_Order(stop=True), timeout):
            self._report(accepted=False)
            self._abandoned = True
            if self._exporter is not None:
                self._exporter.shutdown()  # ends a wait between two retries

    def stats(self) -> Stats:
        """Return what became of the spans so far."""
        return Stats(
            exported=self._exported,
            failed=self._failed,
            dropped=self._dropped,
            queued=len(self._queue) + self._sending,
        )

    def _order(self, order: _Order | None) -> None:
        if self._worker is None:
            with self._starting:
                if self._worker is None:
                    worker = threading.Thread(target=self._work, name="tracemw-delivery", daemon=True)
                    try:
                        worker.start()
                    except RuntimeError:  # the interpreter is shutting down and takes no new threads
                        return
                    self._worker = worker
        self._orders.put(order)

    def _finish(self, order: _Order, timeout: float) -> bool:
        if self._worker is None and not self._queue:
            return True
        order.done.acquire()
        self._order(order)
        if not order.done.acquire(timeout=max(timeout, 0)):
            return False
        return order.delivered

    def _work(self) -> None:
        suppress_all()
        self._exporter = exporter = self._make_exporter()
        while True:
            order = self._orders.get()
            if order is _WAKE:
                try:
                    order = self._orders.get(timeout=self._delay)
                except Empty:
                    pass
            self._awake = self._hurried = False
            delivered = True
            for _ in range(math.ceil(len(self._queue) / self._batch_size)):
                delivered = self._send_batch(exporter) and delivered
            if isinstance(order, _Order):
                if order.stop and not self._abandoned:
                    exporter.shutdown()
                order.delivered = delivered
                order.done.release()
                if order.stop:
                    return

    def _send_batch(self, exporter: SpanExporter) -> bool:
        batch: list[ReadableSpan] = []
        try:
            while len(batch) < self._batch_size:
                batch.append(self._queue.popleft())
        except IndexError:
            pass
        self._sending = len(batch)
        try:
            accepted = exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:
            _logger.exception("tracemw could not export %d spans to %s", len(batch), self._destination)
            accepted = False
        if accepted:
            self._exported += len(batch)
        else:
            self._failed += len(batch)
        self._sending = 0
        self._report(accepted=accepted)
        return accepted

    def _report(self, *, accepted: bool) -> None:
        """Log when delivery begins to fail and when it works again, not each batch."""
        if not accepted and not self._failing:
            _logger.warning(
                "spans do not reach %s, and are dropped until they do; the service itself is not affected. "
                "Is a trace backend running there? `tracemw view` starts one on this machine; "
                "TEMPO_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT names another",
                self._destination,
            )
        elif accepted and self._failing:
            _logger.warning("spans reach %s again", self._destination)
        self._failing = not accepted
