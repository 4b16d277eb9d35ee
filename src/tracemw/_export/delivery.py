"""The span processor: a bounded queue in front of an exporter, emptied by one worker thread per process.

Nothing on a request's way waits: a span is appended to a deque, and the worker sends batches, again if need be, until
the breaker opens. `flush` and `shutdown` keep their timeouts whatever the backend does.

There are no locks, on purpose: a signal handler that flushes may have interrupted whoever held one, and a fork may
happen while another thread does. Instead, the interpreter gives way to another thread or to a signal handler only at
calls and when it jumps back. So a span changes places either within one call into C, or by statements with no call
among them, and whoever looks sees each span in one place.
"""

from __future__ import annotations

import contextvars
import logging
import math
import random
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import TraceFlags

from tracemw._export.answers import printable
from tracemw._export.breaker import Breaker
from tracemw._export.encoding import SpanEncoder
from tracemw._export.exporter import Answer, Exporter, Outcome, Request
from tracemw._export.portions import Portions
from tracemw._export.stats import (
    BREAKER_OPEN,
    CAUSES,
    ENCODING,
    QUEUE_BYTES,
    QUEUE_FULL,
    RETRIES_EXHAUSTED,
    SHUTDOWN,
    TOO_LARGE,
    Stats,
)
from tracemw._otel.cleaning import LONGEST
from tracemw._otel.context import suppress_all
from tracemw._process.forks import begin_anew_with, check, inherits
from tracemw._process.log import log
from tracemw._process.native import Empty, SimpleQueue, Thread, make_lock, sleep, wait_for
from tracemw.config import DELIVERY_TIMEOUT

if TYPE_CHECKING:
    from tracemw._process.native import Lock

_EXPORTED: Final = "exported"
_REJECTED: Final = "rejected"
_UNKNOWN: Final = "unknown"
_LATE: Final = "late"
"""Ended after the shutdown had begun: dropped because of it, but not lost by it."""

_FIRST_PAUSE: Final = 1.0
"""Seconds before the second attempt; doubled for each that follows."""

_QUIET_SECONDS: Final = 60.0
"""Between two log lines about spans that are lost while others arrive."""

_TOO_FAST: Final = "More spans end than are sent: a lower sampling ratio helps, or against bursts a longer queue: "
_LIMITS: Final = {
    QUEUE_FULL: f"{_TOO_FAST}OTEL_BSP_MAX_QUEUE_SIZE is %d here",
    QUEUE_BYTES: f"{_TOO_FAST}TRACEMW_QUEUE_BYTES is %d here",
    TOO_LARGE: "A span is lost that is larger than a request may be: TRACEMW_BATCH_BYTES is %d here",
}
"""What to do about spans that are lost to a limit of our own."""

_RESTS: Final = 0.5
"""Seconds between a fault of the worker and its next start."""

_FAREWELL: Final = 0.1
"""Seconds that a shutdown waits for the end of a worker that has nothing left to do."""

LONGEST_WAIT: Final = 1e6
"""Seconds; what is longer is as good as for ever, and more than a lock, a queue or a socket can count."""

_OF_SPANS: Final = (Answer.TOO_LARGE, Answer.INVALID)
"""Refusals that say nothing against the backend: other spans may be welcome."""

_TELLING: Final = frozenset({Answer.ACCEPTED, Answer.TOO_LARGE})
"""Answers after which the log is told of spans that are lost between others; else it is told when the breaker opens."""

_OUT_OF_TIME: Final = (_UNKNOWN, RETRIES_EXHAUSTED, SHUTDOWN)
"""What becomes of spans for which the end of the process leaves no time."""


@dataclass(eq=False)
class _Order:
    """Something the worker has to do once everything queued before has been sent."""

    stop: bool
    lost_before: int
    done: Lock = field(default_factory=make_lock)
    """Held until it has been done."""

    delivered: bool = False

    def __post_init__(self) -> None:
        self.done.acquire()


_WAKE: Final = None


class Delivery(SpanProcessor):
    """Encode sampled spans as they end, queue them, and deliver them in batches.

    Args:
        make_exporter: Makes the exporter; called by the worker, once in each process that ends spans.
        transport: What the exporter speaks, `http` or `grpc`.
        destination: The URL that the spans go to, for the log.
        queue_size: Spans that may wait; when there are more, the oldest are dropped and counted.
        queue_bytes: Their bytes, encoded; when there are more, the oldest are dropped and counted, too.
        batch_size: Spans in one export at most.
        batch_bytes: Bytes of one request at most, encoded and not compressed; a span that is larger is dropped.
        delay: Seconds that a span waits for others to be sent along with it.
        timeout: Seconds that the export of a batch may take, its retries included.
        value_limit: Bytes that the value of an attribute takes; what is longer is cut.
    """

    _encoder: SpanEncoder
    _is_started: bool

    def __init__(
        self,
        make_exporter: Callable[[], Exporter],
        *,
        transport: str,
        destination: str,
        queue_size: int,
        queue_bytes: int,
        batch_size: int,
        batch_bytes: int,
        delay: float,
        timeout: float,
        value_limit: int = LONGEST,
    ) -> None:
        self._value_limit = value_limit
        self._make_exporter = make_exporter
        self.transport = transport
        self.destination = destination
        self.queue_size = queue_size
        self._queue_bytes = queue_bytes
        self._batch_size = batch_size
        self._batch_bytes = min(batch_bytes, queue_bytes)
        self._delay = min(delay, LONGEST_WAIT)
        self._timeout = min(timeout, LONGEST_WAIT)
        self._refuses: str | None = None
        self._start_afresh()
        _deliveries.add(self)

    def leave_to_parent(self) -> None:
        """Begin anew in a process just forked: the worker is not there, and what is queued is the parent's to send."""
        exporter, encoder, queue = self._exporter, self._encoder, self._queue
        has_worker = self._is_started
        self._start_afresh()
        if (
            queue and not has_worker and inherits()
        ):  # from uWSGI's master, which has no worker: see `_process.native.Thread`
            self._encoder = encoder  # what is encoded already refers to it
            self._queue.extend(queue)
        if exporter is not None:
            exporter.leave_to_parent()

    def _start_afresh(self) -> None:
        self._exporter: Exporter | None = None
        self._encoder = SpanEncoder(longest=self._value_limit)
        self._queue: deque[bytes] = deque()
        self._next_records = iter(self._queue.popleft, None)
        self._queued_bytes = 0
        """Those of what is queued; added to, or taken from, with no call between that and the change of the queue."""
        self._batch: list[bytes] = []
        self._under_way = 0
        """How many of the batch, the first ones, are in a request that has not been answered."""
        self._portions = Portions(self._batch_bytes)
        self._counts = dict.fromkeys((_EXPORTED, _REJECTED, _UNKNOWN, _LATE, *CAUSES), 0)
        self._told = self._counts.copy()
        """What the log has been told of."""
        self._retries = 0
        self._last_error: str | None = None
        self._breaker = Breaker()
        self._refuses = _LATE if self._refuses == _LATE else None
        """Why spans that end are dropped at once, if they are."""
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._put_off: deque[_Order | None] = deque()
        self._unclaimed = [True]
        self._is_started = False
        self._thread: Thread | None = None
        self._awake = False
        self._hurried = False
        self._stopping: _Order | None = None
        self._stop_by = math.inf
        self._is_over = False
        self._remedy = ""
        self._quiet_until = 0.0
        self._due = 0.0
        self._has_raised = self._has_warned = False
        self._restarts_quietly_until = 0.0

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that has ended; an unsampled one goes nowhere."""
        if not span.context.trace_flags & TraceFlags.SAMPLED:
            return
        self.take(span)

    def take(self, span: ReadableSpan) -> None:
        """Queue a span that has ended, sampled or not."""
        refused = self._refuses
        if refused is not None:
            self._counts[refused] += 1
            return
        # Encoded at once, and not by the worker: bytes that wait are nothing to the garbage collector, which would look
        # at spans again and again, and the worker does not hold the interpreter for as long as a whole batch takes.
        record = self._encoder.record(span)
        if record is None:
            self._counts[ENCODING] += 1
            return
        size = len(record)
        queue, queued = self._queue, self._queued_bytes + size
        is_heavy = queued > self._batch_bytes
        if is_heavy and size > self._batch_bytes:
            self._counts[TOO_LARGE] += 1
            return
        self._queued_bytes = queued  # no call since it was read
        queue.append(record)
        waiting = len(queue)
        if waiting > self.queue_size:
            self._drop_oldest(QUEUE_FULL)
        while is_heavy and self._queued_bytes > self._queue_bytes and self._drop_oldest(QUEUE_BYTES):
            pass
        if not self._awake:
            self._awake = True
            if not self._order(_WAKE):
                self._awake = False
        elif (is_heavy or waiting >= self._batch_size) and not self._hurried:
            self._hurried = True
            self._order(_WAKE)

    def flush(self, timeout: float) -> bool:
        """Send what is queued; tell whether the backend had accepted all of it within `timeout` seconds."""
        check()
        if self._stopping is not None:
            return self.shutdown(timeout)
        if self._refuses is not None:
            return False
        if not self._is_started and not self._queue and not self._batch:
            return True
        return self._give(_Order(stop=False, lost_before=self._lost()), timeout)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Do the same with a timeout in milliseconds, as the SDK's interface has it."""
        return self.flush(timeout_millis / 1000)

    def shutdown(self, timeout: float = DELIVERY_TIMEOUT) -> bool:  # type: ignore[override]  # the SDK's wants no answer
        """Send what is queued, within `timeout` seconds, and take no more; tell whether none has been lost, ever.

        A second call waits for the first, and says the same.
        """
        check()
        order, deadline = _Order(stop=True, lost_before=self._lost()), time.monotonic() + timeout
        first = self._stopping
        if first is not None:
            delivered = first.delivered if self._is_over else self._give(first, timeout)  # it may have interrupted it
            return delivered and not self._lost()
        self._stopping, self._stop_by = order, deadline
        was_open, self._refuses = self._refuses == BREAKER_OPEN, _LATE
        if not self._is_started and not self._queue and not self._batch:
            order.delivered = self._is_over = True
            order.done.release()
            return True
        delivered = self._give(order, 0.0 if was_open else timeout)
        if self._thread is not None and not order.done.locked():
            self._thread.join(_FAREWELL)
        self._drop_all(_LATE if delivered else SHUTDOWN)
        if batch := self._batch:
            self._give_up(batch)
        if not was_open:  # else the log has it
            self._tell_of_the_end()
        order.delivered, self._is_over = delivered, True
        return delivered and not self._lost()

    def stats(self) -> Stats:
        """Return what became of the spans so far."""
        check()
        if self._is_over:
            self._drop_all(_LATE)  # taken by a thread that was about to when the shutdown began
        while True:
            counts, batch = self._counts.copy(), self._batch
            in_flight, queued = len(batch), len(self._queue)
            if counts == self._counts and batch is self._batch and in_flight == len(batch):
                break  # nothing but spans that ended has come between
        return Stats(
            exported=counts[_EXPORTED],
            rejected=counts[_REJECTED],
            unknown=counts[_UNKNOWN],
            dropped={**{cause: counts[cause] for cause in CAUSES}, SHUTDOWN: counts[SHUTDOWN] + counts[_LATE]},
            queued=queued,
            in_flight=in_flight,
            retries=self._retries,
            breaker=self._breaker.state,
            last_error=self._last_error,
        )

    def send_here(self, timeout: float) -> None:
        """Send from the calling thread what is due, where there can be no worker, within `timeout` seconds."""
        check()
        if self._is_started or self._stopping is not None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._delay
        if self._breaker.rest == 0:
            self._breaker.allow_one()
            self._refuses = None
        if self._queue:
            order = _Order(stop=False, lost_before=self._lost())
            contextvars.copy_context().run(self._work_here, order, timeout)

    def _lost(self) -> int:
        counts = self._counts
        return sum(counts.values()) - counts[_EXPORTED] - counts[_LATE]

    def _drop_all(self, cause: str) -> None:
        while self._drop_oldest(cause):
            pass

    def _drop_oldest(self, cause: str) -> bool:
        queue = self._queue
        try:
            while True:
                record = queue[0]
                size = len(record)
                if queue[0] is record:  # no call from here on
                    del queue[0]
                    self._queued_bytes -= size
                    self._counts[cause] += 1
                    return True
        except IndexError:  # the worker was faster
            return False

    def _order(self, order: _Order | None) -> bool:
        """Hand an order to the worker; tell whether there is one."""
        if not self._is_started:
            try:
                # Not threading's: its start takes locks and waits, and a signal handler may be what comes here.
                self._thread = Thread(self._work)
            except RuntimeError:  # the interpreter is at its end and takes no new threads, or there are too many
                return False
            self._is_started = True
        self._orders.put(order)
        return True

    def _give(self, order: _Order, timeout: float) -> bool:
        if not self._order(order):
            contextvars.copy_context().run(self._work_here, order, timeout)
        return self._wait_for(order, timeout)

    def _wait_for(self, order: _Order, timeout: float) -> bool:
        if not wait_for(order.done, min(max(timeout, 0), LONGEST_WAIT)):
            return False
        order.done.release()  # others may wait for the same
        return order.delivered

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
            except BaseException as error:  # whoever has raised it, no one but this thread sends what comes
                with suppress(BaseException):
                    self._last_error = "tracemw's own fault"
                    self._tell_of_restart(error)
                if self._stopping is not None and not self._stopping.done.locked():
                    return
                self._put_off.append(_WAKE)  # what it had begun is not lost
                sleep(_RESTS)

    def _run(self) -> None:
        exporter = self._exporter = self._make_exporter()
        goes_on = True
        while goes_on:
            order = self._next(self._breaker.rest)
            if self._breaker.rest == 0:
                self._breaker.allow_one()
                if self._stopping is None:
                    self._refuses = None
            goes_on = self._serve(exporter, order)
        exporter.close()

    def _tell_of_restart(self, error: BaseException) -> None:
        if time.monotonic() >= self._restarts_quietly_until:
            self._restarts_quietly_until = time.monotonic() + _QUIET_SECONDS
            log(logging.ERROR, "the delivery of spans has failed, and starts again: %r", error, error=error)

    def _work_here(self, order: _Order, timeout: float) -> None:
        if not self._claim():
            return
        suppress_all()
        self._stop_by = time.monotonic() + timeout
        try:
            exporter = self._make_exporter()
            self._serve(exporter, order)
            exporter.close()
        finally:  # an application's signal handler may raise wherever it interrupts
            self._stop_by = math.inf
            self._unclaimed.append(True)

    def _next(self, timeout: float | None) -> _Order | None:
        """Return the next order; in want of one within `timeout` seconds, the order to look at the queue."""
        if self._put_off:
            return self._put_off.popleft()
        try:
            return self._orders.get(timeout=timeout)
        except Empty:
            return _WAKE

    def _serve(self, exporter: Exporter, order: _Order | None) -> bool:
        """Do what an order says; tell whether there may be others."""
        if order is _WAKE:
            order = self._next(self._delay)
        self._awake = self._hurried = False
        is_last, is_done = order is not _WAKE and order.stop, False
        try:
            is_done = self._send_batches(exporter, is_last=is_last)
        except Exception as error:  # our own fault; what was in flight is sent with the next batch
            self._last_error = "tracemw's own fault"
            self._log_fault(error)
        finally:
            if order is not _WAKE:
                order.delivered = is_done and self._lost() == order.lost_before
                order.done.release()
        return not is_last

    def _send_batches(self, exporter: Exporter, *, is_last: bool) -> bool:
        """Send what is queued, for the last time also what comes meanwhile; tell whether all of it had its turn."""
        waiting = len(self._queue) + len(self._batch)
        while waiting > 0 or (is_last and self._queue):
            if self._breaker.state == "open" or time.monotonic() >= self._stop_by:
                return False
            self._send_batch(exporter)
            waiting -= self._batch_size
        return True

    def _send_batch(self, exporter: Exporter) -> None:
        """Take a batch, and send it in as many requests as it takes."""
        self._take_batch()
        answers, refusal = set[Answer | None](), None
        self._portions.begin(len(self._batch), self._timeout)
        while batch := self._batch:
            if time.monotonic() >= self._stop_by and answers:
                break
            if self._breaker.state == "open":
                if self._stopping is None:
                    self._settle(batch, len(batch), BREAKER_OPEN, len(batch))
                break
            outcome = self._send_portion(exporter, batch)
            answers.add(outcome.answer if outcome is not None else None)
            if outcome is not None and outcome.answer is Answer.INVALID:
                refusal = outcome
        if refusal is not None and Answer.ACCEPTED not in answers:
            self._take_note_of_failure(refusal)
        if answers & _TELLING and time.monotonic() >= self._quiet_until:
            self._tell_of(self._untold())

    def _take_batch(self) -> None:
        batch = self._batch
        before = len(batch)
        try:
            batch.extend(islice(self._next_records, self._batch_size))
        except IndexError:  # these were all
            pass
        taken = sum(map(len, islice(batch, before, None)))
        self._queued_bytes -= taken
        if not self._queue:  # no call between the two: nothing is left of what a signal handler may have cut short
            self._queued_bytes = 0

    def _send_portion(self, exporter: Exporter, batch: list[bytes]) -> Outcome | None:
        """Send as much of a batch as one request bears; return how that ended, or None when nothing was sent.

        What the backend may take in smaller requests stays in the batch.
        """
        portions = self._portions
        count = portions.next(batch)
        portion = batch if count == len(batch) else batch[:count]
        try:
            body = self._encoder.request(portion)
            if not portions.is_within(count, len(body)):
                return None
            request = Request(exporter.packed(body), count)
        except Exception as error:
            self._log_fault(error)
            self._settle(batch, count, ENCODING, count)
            return None
        sizes = len(body), len(request.body)
        if portions.is_hopeless(count, *sizes):
            self._settle(batch, count, TOO_LARGE, count)
            return None
        self._under_way = count
        outcome, is_uncertain = self._attempts(exporter, request)
        answer, cause, lost, is_halved = outcome.answer, _REJECTED, count, False
        if answer is Answer.ACCEPTED:
            portions.accepted(count)
            lost = outcome.rejected
        elif answer is Answer.TOO_LARGE:
            is_halved = portions.too_large(count, *sizes)
        elif answer is Answer.INVALID:
            is_halved = portions.refused(count)
        else:
            cause = _REJECTED if answer is Answer.REJECTED else RETRIES_EXHAUSTED
        if is_halved:
            self._under_way = 0
            self._retries += 1
        else:
            self._settle(batch, count, _UNKNOWN if is_uncertain else cause, lost)
        return outcome

    def _settle(self, batch: list[bytes], count: int, cause: str, lost: int) -> None:
        """Count the first spans of a batch, unless the shutdown has; those that are not lost have been exported."""
        counts, exported, rest = self._counts, count - lost, batch[count:]
        if self._batch is batch:  # no call from here on
            counts[_EXPORTED] += exported
            counts[cause] += lost
            self._batch = rest
            self._under_way = 0

    def _give_up(self, batch: list[bytes]) -> None:
        """Count the spans of a batch at the end: what is under way may have arrived, whatever comes of it."""
        counts, size, nothing = self._counts, len(batch), list[bytes]()
        if self._batch is batch:  # no call from here on
            counts[_UNKNOWN] += self._under_way
            counts[SHUTDOWN] += size - self._under_way
            self._batch = nothing
            self._under_way = 0

    def _attempts(self, exporter: Exporter, request: Request) -> tuple[Outcome, bool]:
        """Send a request as often as it takes.

        Returns:
            How the last attempt ended, and whether it cannot be told if an earlier one, or that, was accepted.
        """
        deadline = time.monotonic() + self._timeout
        is_uncertain, pause = False, _FIRST_PAUSE
        while True:
            outcome = self._attempt(exporter, request, min(deadline, self._stop_by) - time.monotonic())
            if outcome.error and (outcome.answer is not Answer.ACCEPTED or outcome.rejected):  # else it is a warning
                self._last_error, self._remedy = outcome.error, outcome.remedy
            if outcome.answer is Answer.ACCEPTED:
                self._take_note_of_success(outcome)
                return outcome, is_uncertain
            is_uncertain = is_uncertain or outcome.answer is Answer.UNKNOWN
            if outcome.answer in _OF_SPANS:
                return outcome, is_uncertain
            if not outcome.is_stale:
                if self._take_note_of_failure(outcome) or outcome.answer is Answer.REJECTED:
                    return outcome, is_uncertain
                seconds = max(pause * random.uniform(0.8, 1.2), outcome.retry_after)  # noqa: S311  no secret
                pause *= 2
                is_asked = outcome.retry_after > 0
                if time.monotonic() + seconds >= deadline or not self._wait_between(seconds, is_asked=is_asked):
                    if is_asked and time.monotonic() + outcome.retry_after >= min(deadline, self._stop_by):
                        self._breaker.leave_alone(outcome.retry_after)
                        self._drop_for_now(is_news=True)
                    return outcome, is_uncertain
            if time.monotonic() >= min(deadline, self._stop_by):
                return outcome, is_uncertain
            self._retries += 1

    def _attempt(self, exporter: Exporter, request: Request, timeout: float) -> Outcome:
        try:
            outcome = exporter.send(request, timeout)
        except Exception as error:
            self._log_fault(error)
            outcome = Outcome(Answer.UNKNOWN, error=repr(error))
        return outcome._replace(error=printable(outcome.error)) if outcome.error else outcome

    def _wait_between(self, seconds: float, *, is_asked: bool) -> bool:
        """Wait for the next attempt; tell whether there is time for one.

        An order that comes in puts an end to a pause of our own, but not to one that the backend has asked for.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if until > self._stop_by and (is_asked or not self._orders.qsize()):
                return False
            try:
                order = self._orders.get(timeout=left)
            except Empty:
                break
            self._put_off.append(order)
            if order is not _WAKE and not is_asked:
                break
        return True

    def _take_note_of_success(self, outcome: Outcome) -> None:
        if self._breaker.succeeded():
            self._told = self._counts.copy()
            log(logging.WARNING, "spans reach %s again", self.destination)
        if outcome.error and not outcome.rejected and not self._has_warned:
            self._has_warned = True
            log(logging.WARNING, "%s takes the spans, and says: %s", self.destination, outcome.error)

    def _take_note_of_failure(self, outcome: Outcome) -> bool:
        """Tell whether the breaker is open now."""
        was_closed = self._breaker.state == "closed"
        if not self._breaker.failed(outcome.retry_after):
            return False
        self._drop_for_now(is_news=was_closed)
        return True

    def _drop_for_now(self, *, is_news: bool) -> None:
        """Drop spans at once until the breaker lets one batch try; at the end there is no such time."""
        if self._stopping is None:
            self._refuses = BREAKER_OPEN
        while self._stopping is None and self._drop_oldest(BREAKER_OPEN):
            pass
        if is_news and self._stopping is None:
            self._report("spans do not reach %s, and are dropped until they do; the service itself is not affected")

    def _untold(self) -> dict[str, int]:
        """Return the spans that are lost, by cause, since the log was told last; an open breaker has its own lines."""
        counts, told = self._counts.copy(), self._told
        self._told = counts
        causes = (_REJECTED, _UNKNOWN, QUEUE_FULL, QUEUE_BYTES, TOO_LARGE, RETRIES_EXHAUSTED, ENCODING, SHUTDOWN)
        return {cause: counts[cause] - told[cause] for cause in causes if counts[cause] > told[cause]}

    def _tell_of(self, lost: dict[str, int]) -> None:
        if lost:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            causes = ", ".join(f"{cause}: {count}" for cause, count in lost.items())
            said, facts = "%d spans are lost (%s) on their way to %s", (sum(lost.values()), causes)
            limits = {QUEUE_FULL: self.queue_size, QUEUE_BYTES: self._queue_bytes, TOO_LARGE: self._batch_bytes}
            if lost.keys() <= limits.keys():  # whatever error there was has nothing to do with it
                remedies = ". ".join(_LIMITS[cause] for cause in lost)
                log(
                    logging.WARNING,
                    f"{said}. {remedies}",
                    *facts,
                    self.destination,
                    *(limits[cause] for cause in lost),
                )
            else:
                self._report(said, *facts)

    def _tell_of_the_end(self) -> None:
        lost = self._untold()
        late = sum(lost.pop(cause, 0) for cause in _OUT_OF_TIME)
        if late:
            self._report("%d spans do not reach %s: the time to send them is over", late)
        self._tell_of(lost)

    def _report(self, message: str, *facts: object) -> None:
        """Log a loss, not each one, with what is known about it."""
        error = f". Last error: {self._last_error}" if self._last_error else ""
        remedy = f". {self._remedy}" if self._remedy else ""
        log(logging.WARNING, f"{message}%s%s", *facts, self.destination, error, remedy)

    def _log_fault(self, error: Exception) -> None:
        if not self._has_raised:
            self._has_raised = True
            log(logging.ERROR, "tracemw fails to export spans, and may again, unlogged", error=error)


_deliveries: Final[weakref.WeakSet[Delivery]] = weakref.WeakSet()


def _after_fork() -> None:
    for delivery in list(_deliveries):
        delivery.leave_to_parent()


begin_anew_with(_after_fork)
