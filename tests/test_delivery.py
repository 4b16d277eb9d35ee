"""The bounded queue, its worker and its breaker, in front of an exporter that does what the test says."""

from __future__ import annotations

import _thread
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from opentelemetry.context import get_current
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from servers import wait_until
from tracemw._export import Delivery, Stats, breaker, delivery
from tracemw._export.exporter import Answer, Exporter, Outcome, Request
from tracemw._otel.context import clients_suppressed

ACCEPTED = Outcome(Answer.ACCEPTED)
REJECTED = Outcome(Answer.REJECTED, error="it answers 401", remedy="Who are you?")
BUSY = Outcome(Answer.BUSY, error="it answers 503")
REFUSED = Outcome(Answer.NOT_SENT, error="ConnectionRefusedError", remedy="Is anybody there?")
BROKEN = Outcome(Answer.UNKNOWN, error="ConnectionResetError")

CAUSES = ("queue_full", "queue_bytes", "too_large", "breaker_open", "retries_exhausted", "encoding", "shutdown")
NONE_DROPPED = dict.fromkeys(CAUSES, 0)


def names_in(body: bytes) -> list[str]:
    request = ExportTraceServiceRequest.FromString(body)
    return [span.name for origin in request.resource_spans for scope in origin.scope_spans for span in scope.spans]


class Fake(Exporter):
    """Answers what it is told to, and keeps the batches that it accepts; can raise or block."""

    def __init__(self) -> None:
        self.script: list[Outcome] = []
        """The outcomes of the attempts to come; after them, `outcome`."""

        self.outcome = ACCEPTED
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[str]] = []
        self.attempts: list[float] = []
        self.timeouts: list[float] = []
        self.packings = 0
        self.suppressed: list[bool] = []
        self.closed = 0
        self._names: list[str] = []

    def packed(self, body: bytes) -> bytes:
        self.packings += 1
        self._names = names_in(body)
        return super().packed(body)

    def send(self, request: Request, timeout: float) -> Outcome:
        self.attempts.append(time.monotonic())
        self.timeouts.append(timeout)
        self.suppressed.append(clients_suppressed(get_current()))
        self.gate.wait(30)
        if self.error is not None:
            raise self.error
        outcome = self.script.pop(0) if self.script else self.outcome
        if outcome.answer is Answer.ACCEPTED:
            self.batches.append(self._names)
        return outcome

    def close(self) -> None:
        self.closed += 1

    def leave_to_parent(self) -> None:
        pass

    @property
    def names(self) -> list[str]:
        return [name for batch in self.batches for name in batch]


@pytest.fixture
def fake() -> Fake:
    return Fake()


Made = Callable[..., Delivery]


@pytest.fixture
def made(fake: Fake) -> Iterator[Made]:
    """Makes deliveries to the fake exporter, and shuts them down in the end."""
    deliveries: list[Delivery] = []

    def make(**options: float) -> Delivery:
        sizes = {"queue_size": 100, "queue_bytes": 10**6, "batch_size": 10, "batch_bytes": 10**6}
        settings = {**sizes, "delay": 0.02, "timeout": 10.0, **options}
        deliveries.append(
            Delivery(
                lambda: fake,
                transport="http",
                destination="http://the.test",
                queue_size=int(settings["queue_size"]),
                queue_bytes=int(settings["queue_bytes"]),
                batch_size=int(settings["batch_size"]),
                batch_bytes=int(settings["batch_bytes"]),
                delay=settings["delay"],
                timeout=settings["timeout"],
            )
        )
        return deliveries[-1]

    yield make
    fake.gate.set()
    fake.outcome = ACCEPTED
    for each in deliveries:
        each.shutdown()


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 0.01)


@pytest.fixture
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "INTERVAL", 0.2)


def record(to: Delivery, count: int, *, sampled: bool = True) -> None:
    provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(to)
    tracer = provider.get_tracer("test")
    for number in range(count):
        tracer.start_span(str(number)).end()


def ended_span() -> ReadableSpan:
    span: Any = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("a")
    span.end()
    readable: ReadableSpan = span._readable_span()
    return readable


def dropped(**causes: int) -> dict[str, int]:
    return {**NONE_DROPPED, **causes}


def open_the_breaker(to: Delivery, fake: Fake) -> None:
    """Have five batches rejected."""
    fake.outcome = REJECTED
    for _ in range(5):
        record(to, 1)
        assert to.flush(timeout=5) is False
    assert to.stats().breaker == "open"


def test_spans_are_delivered_in_order_without_a_flush(fake: Fake, made: Made) -> None:
    record(made(), 25)
    wait_until(lambda: len(fake.names) == 25)
    assert fake.names == [str(number) for number in range(25)]
    assert max(map(len, fake.batches)) <= 10


def test_a_full_batch_does_not_wait_for_the_delay(fake: Fake, made: Made) -> None:
    record(made(delay=60), 10)
    wait_until(lambda: len(fake.names) == 10, timeout=5)


def test_a_flush_delivers_at_once_and_says_so(fake: Fake, made: Made) -> None:
    to = made(delay=60)
    record(to, 3)
    assert to.flush(timeout=5) is True
    assert fake.names == ["0", "1", "2"]
    assert to.flush(timeout=5) is True
    assert to.stats() == Stats(exported=3, dropped=NONE_DROPPED)


def test_unsampled_spans_go_nowhere_and_start_no_thread(fake: Fake, made: Made) -> None:
    before = _thread._count()
    to = made()
    record(to, 3, sampled=False)
    assert _thread._count() == before
    assert to.flush(timeout=1) is True
    assert to.shutdown() is True
    assert fake.batches == []


def test_a_full_queue_drops_the_oldest_and_counts_them(fake: Fake, made: Made) -> None:
    fake.gate.clear()
    to = made(queue_size=5, batch_size=5, delay=60)
    record(to, 5)
    wait_until(lambda: fake.attempts)  # the first batch is being sent, and stuck
    record(to, 8)
    assert to.stats() == Stats(dropped=dropped(queue_full=3), queued=5, in_flight=5)
    fake.gate.set()
    assert to.flush(5) is True
    assert fake.names == ["0", "1", "2", "3", "4", "3", "4", "5", "6", "7"]
    assert to.stats().ended == 13


def test_flush_and_shutdown_keep_their_timeouts_while_the_backend_hangs(fake: Fake, made: Made) -> None:
    fake.gate.clear()
    to = made(batch_size=1)
    record(to, 3)
    started = time.monotonic()
    assert to.flush(timeout=0.2) is False
    assert to.shutdown(timeout=0.2) is False
    assert 0.2 <= time.monotonic() - started < 2
    assert to.stats() == Stats(dropped=dropped(shutdown=2), unknown=1)
    assert to.shutdown() is False  # and at once
    assert time.monotonic() - started < 2
    fake.gate.set()
    wait_until(lambda: fake.closed)
    assert to.stats() == Stats(dropped=dropped(shutdown=2), unknown=1)  # whatever came of it


def test_a_shutdown_has_the_time_that_it_is_given_also_after_a_flush_in_vain(fake: Fake, made: Made) -> None:
    fake.gate.clear()
    to = made()
    record(to, 1)
    assert to.flush(timeout=0.3) is False
    began = time.monotonic()
    assert to.shutdown(timeout=0.6) is False
    assert time.monotonic() - began >= 0.6
    fake.gate.set()


def test_a_shutdown_tells_of_what_was_lost_before_it_and_a_flush_does_not(fake: Fake, made: Made) -> None:
    to = made()
    fake.script = [Outcome(Answer.REJECTED)]
    record(to, 1)
    assert to.flush(timeout=5) is False
    record(to, 1)
    assert to.flush(timeout=5) is True
    assert to.shutdown(timeout=5) is False
    assert to.shutdown(timeout=5) is False


def test_after_shutdown_spans_are_dropped_and_counted(fake: Fake, made: Made) -> None:
    to = made()
    record(to, 2)
    assert to.shutdown() is True
    assert to.shutdown() is True
    record(to, 3)
    assert to.flush(timeout=1) is True
    assert to.stats() == Stats(exported=2, dropped=dropped(shutdown=3))
    wait_until(lambda: fake.closed == 1)


def test_a_shutdown_that_waits_for_another_says_the_same(fake: Fake, made: Made) -> None:
    fake.gate.clear()
    to = made()
    record(to, 1)
    said: list[bool] = []
    threads = [threading.Thread(target=lambda: said.append(to.shutdown(10))) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: fake.attempts)
    assert said == []
    fake.gate.set()
    for thread in threads:
        thread.join(5)
    assert said == [True, True, True]


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("failure", [BUSY, REFUSED, BROKEN])
def test_what_may_be_retried_is_with_the_bytes_of_the_first_attempt(fake: Fake, made: Made, failure: Outcome) -> None:
    fake.script = [failure] * 3
    to = made()
    record(to, 2)
    wait_until(lambda: fake.names)
    wait_until(lambda: to.stats().exported)
    stats = to.stats()
    assert (fake.batches, fake.packings, len(fake.attempts)) == ([["0", "1"]], 1, 4)
    assert stats == Stats(exported=2, dropped=NONE_DROPPED, retries=3, last_error=failure.error)


def test_what_may_not_be_retried_is_not(fake: Fake, made: Made) -> None:
    fake.outcome = REJECTED
    to = made()
    record(to, 2)
    assert to.flush(5) is False
    assert len(fake.attempts) == 1
    assert to.stats() == Stats(rejected=2, dropped=NONE_DROPPED, last_error="it answers 401")


def test_pauses_grow_and_are_spread(fake: Fake, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 0.1)
    fake.script = [BUSY] * 3
    record(made(), 1)
    wait_until(lambda: fake.names)
    pauses = [later - earlier for earlier, later in zip(fake.attempts, fake.attempts[1:], strict=False)]
    for pause, expected in zip(pauses, (0.1, 0.2, 0.4), strict=True):
        assert 0.8 * expected <= pause < 1.2 * expected + 0.1


def test_pauses_and_the_breakers_rest_are_stretched_by_chance(
    fake: Fake, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 0.1)
    fake.script = [BUSY] * 2
    to = made()
    record(to, 1)
    wait_until(lambda: fake.names)
    pauses = [later - earlier for earlier, later in zip(fake.attempts, fake.attempts[1:], strict=False)]
    assert all(pause >= expected for pause, expected in zip(pauses, (0.12, 0.24), strict=True))
    open_the_breaker(to, fake)
    rest = to._breaker.rest
    assert rest is not None
    assert 1.1 * breaker.INTERVAL < rest <= 1.2 * breaker.INTERVAL


@pytest.mark.usefixtures("short_pauses")
def test_a_retry_waits_as_long_as_the_backend_asks_for_a_flush_or_not(fake: Fake, made: Made) -> None:
    fake.script = [BUSY._replace(retry_after=0.5)]
    to = made()
    record(to, 1)
    assert to.flush(timeout=5) is True
    assert 0.5 <= fake.attempts[1] - fake.attempts[0] < 1


@pytest.mark.parametrize("retry_after", [60.0, float("inf")])
def test_a_backend_that_asks_for_more_time_than_there_is_gets_no_second_attempt(
    fake: Fake, made: Made, retry_after: float
) -> None:
    fake.outcome = BUSY._replace(retry_after=retry_after)
    to = made()
    record(to, 1)
    assert to.flush(timeout=5) is False
    assert len(fake.attempts) == 1
    assert to.stats().dropped == dropped(retries_exhausted=1)


def test_a_shutdown_does_not_wait_for_what_comes_too_late(fake: Fake, made: Made) -> None:
    fake.outcome = BUSY._replace(retry_after=8)
    to = made()
    record(to, 1)
    wait_until(lambda: fake.attempts)
    began = time.monotonic()
    assert to.shutdown(timeout=5) is False
    assert time.monotonic() - began < 1
    assert to.stats().dropped == dropped(retries_exhausted=1)


def test_a_flush_does_not_wait_for_a_pause_of_our_own(fake: Fake, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 8.0)
    fake.script = [REFUSED]
    to = made()
    record(to, 1)
    wait_until(lambda: fake.attempts)
    assert to.flush(timeout=2) is True


def test_retries_end_with_the_timeout(fake: Fake, made: Made) -> None:
    fake.outcome = BUSY
    to = made(timeout=1.5)
    record(to, 1)
    began = time.monotonic()
    assert to.flush(timeout=5) is False
    assert time.monotonic() - began < 1.6
    assert len(fake.attempts) == 2
    assert fake.timeouts[0] <= 1.5
    assert fake.timeouts[1] <= 0.7
    assert to.stats().dropped == dropped(retries_exhausted=1)


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("last", [BUSY, REFUSED, REJECTED, BROKEN])
def test_once_an_attempt_has_broken_off_what_is_not_accepted_later_is_unknown(
    fake: Fake, made: Made, last: Outcome
) -> None:
    fake.script = [BROKEN]
    fake.outcome = last._replace(retry_after=60 if last is BUSY else 0)
    to = made(timeout=0.5)
    record(to, 2)
    wait_until(lambda: to.stats().unknown)
    assert to.stats().unknown == to.stats().ended == 2


def test_a_stale_connection_costs_neither_a_pause_nor_trust(fake: Fake, made: Made) -> None:
    fake.script = [BROKEN._replace(is_stale=True)] * 10
    to = made()
    record(to, 1)
    assert to.flush(timeout=0.5) is True
    assert (to.stats().exported, to.stats().retries, to.stats().breaker) == (1, 10, "closed")


def test_partial_success_is_counted_and_logged_once(fake: Fake, made: Made, caplog: pytest.LogCaptureFixture) -> None:
    fake.outcome = Outcome(Answer.ACCEPTED, rejected=2, error="too old")
    to = made()
    for _ in range(3):
        record(to, 5)
        assert to.flush(timeout=5) is False
    assert to.stats() == Stats(exported=9, rejected=6, dropped=NONE_DROPPED, last_error="too old")
    assert [entry.getMessage() for entry in caplog.records] == [
        "2 spans are lost (rejected: 2) on their way to http://the.test. Last error: too old"
    ]


def test_a_warning_of_the_backend_is_no_error_and_logged_once(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    fake.outcome = Outcome(Answer.ACCEPTED, error="be careful")
    to = made()
    for _ in range(3):
        record(to, 5)
        assert to.flush(timeout=5) is True
    assert to.stats() == Stats(exported=15, dropped=NONE_DROPPED)
    assert [entry.getMessage() for entry in caplog.records] == ["http://the.test takes the spans, and says: be careful"]


@pytest.mark.usefixtures("short_pauses")
def test_spans_that_are_lost_between_others_that_arrive_are_logged(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = made(queue_size=5, batch_size=5)
    for outcome in (REJECTED, ACCEPTED, REJECTED, ACCEPTED):
        fake.outcome = outcome
        record(to, 2)
        to.flush(timeout=5)
    fake.gate.clear()
    record(to, 1)
    wait_until(lambda: len(fake.attempts) == 5)
    record(to, 8)
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 61)  # the log may have another
    fake.gate.set()
    wait_until(lambda: to.stats().exported == 10)
    assert [entry.getMessage() for entry in caplog.records] == [
        "2 spans are lost (rejected: 2) on their way to http://the.test. Last error: it answers 401. Who are you?",
        "5 spans are lost (rejected: 2, queue_full: 3) on their way to http://the.test. "
        "Last error: it answers 401. Who are you?",
    ]


@pytest.mark.usefixtures("short_pauses")
def test_a_queue_that_is_too_short_is_not_put_on_an_error_of_before(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    to = made(queue_size=5, batch_size=5)
    fake.outcome = REJECTED
    record(to, 2)
    to.flush(timeout=5)
    fake.outcome = ACCEPTED
    record(to, 2)
    to.flush(timeout=5)
    caplog.clear()
    fake.gate.clear()
    record(to, 1)
    wait_until(lambda: len(fake.attempts) == 3)
    record(to, 8)
    fake.gate.set()
    to.shutdown(timeout=5)
    assert to.stats().last_error == REJECTED.error
    assert [entry.getMessage() for entry in caplog.records] == [
        "3 spans are lost (queue_full: 3) on their way to http://the.test. More spans end than are sent: a lower "
        "sampling ratio helps, or against bursts a longer queue: OTEL_BSP_MAX_QUEUE_SIZE is 5 here"
    ]


def test_spans_that_nothing_has_been_said_of_are_logged_at_the_end(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    fake.outcome = REJECTED
    to = made()
    record(to, 2)
    assert to.flush(timeout=5) is False
    assert caplog.records == []  # should it happen again, the breaker has a line of its own
    assert to.shutdown(timeout=5) is False
    (entry,) = caplog.records
    assert entry.getMessage().startswith("2 spans are lost (rejected: 2) on their way to http://the.test.")


@pytest.mark.parametrize("answer", [ACCEPTED._replace(rejected=1), REJECTED])
def test_what_a_backend_says_is_logged_in_one_line_short_and_without_control_characters(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture, answer: Outcome
) -> None:
    fake.outcome = answer._replace(error="too old\nCRITICAL: forged \x1b[2J \u202e \ud800 é" + "x" * 60_000)
    to = made()
    record(to, 1)
    assert to.flush(timeout=5) is False
    to.shutdown(timeout=5)
    said = to.stats().last_error
    assert said is not None
    assert said.startswith("too old CRITICAL: forged  [2J     éxxx")
    assert said.isprintable()
    assert len(said) < 400
    (entry,) = caplog.records
    assert said in entry.getMessage()


def test_spans_that_cannot_be_encoded_are_counted_as_that(fake: Fake, made: Made) -> None:
    to = made()
    broken: Any = ended_span()
    broken._context = None
    to.take(broken)
    to.on_end(ended_span())
    assert to.flush(timeout=5) is True  # of what was waiting, nothing is lost
    assert to.stats() == Stats(exported=1, dropped=dropped(encoding=1))
    assert to.shutdown(timeout=5) is False


def test_repeated_failures_open_the_breaker_and_spans_are_dropped_at_once(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    to = made()
    open_the_breaker(to, fake)
    record(to, 1000)
    assert len(fake.attempts) == 5
    assert to.flush(timeout=5) is False
    assert to.stats() == Stats(
        rejected=5, dropped=dropped(breaker_open=1000), breaker="open", last_error="it answers 401"
    )
    (entry,) = caplog.records
    assert entry.levelno == logging.WARNING
    for part in ("do not reach http://the.test", "it answers 401", "Who are you?"):
        assert part in entry.getMessage()


@pytest.mark.usefixtures("short_pauses")
def test_an_outage_opens_the_breaker_within_the_retries_of_a_batch(fake: Fake, made: Made) -> None:
    fake.outcome = REFUSED
    to = made(batch_size=2)
    record(to, 6)
    wait_until(lambda: to.stats().breaker == "open")
    stats = to.stats()
    assert (len(fake.attempts), stats.retries) == (5, 4)
    assert stats.dropped == dropped(retries_exhausted=2, breaker_open=4)


def test_a_shutdown_with_an_open_breaker_gives_up_at_once_and_says_nothing_more(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    to = made()
    open_the_breaker(to, fake)
    began = time.monotonic()
    assert to.shutdown(timeout=5) is False
    assert time.monotonic() - began < 0.5
    assert len(caplog.records) == 1
    wait_until(lambda: fake.closed)


@pytest.mark.usefixtures("short_interval")
def test_one_probe_per_interval_closes_the_breaker_again(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    to = made(batch_size=5)
    open_the_breaker(to, fake)
    before = len(fake.attempts)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        record(to, 5)
        time.sleep(0.01)
    assert 2 <= len(fake.attempts) - before <= 7
    fake.outcome = ACCEPTED

    def arrived() -> bool:
        record(to, 1)
        return bool(fake.batches)

    wait_until(arrived)
    record(to, 20)
    assert to.flush(timeout=5) is True
    assert to.stats().breaker == "closed"
    begins, ends = [entry.getMessage() for entry in caplog.records]
    assert "do not reach" in begins
    assert ends == "spans reach http://the.test again"


@pytest.mark.usefixtures("short_interval")
def test_a_probe_is_one_attempt(fake: Fake, made: Made) -> None:
    to = made()
    open_the_breaker(to, fake)
    fake.outcome = REFUSED
    wait_until(lambda: to.stats().breaker == "half-open")
    before = len(fake.attempts)
    record(to, 1)
    wait_until(lambda: to.stats().breaker == "open")
    assert len(fake.attempts) - before == 1


def test_a_success_between_failures_keeps_the_breaker_closed(fake: Fake, made: Made) -> None:
    to = made()
    for outcome in (*[REJECTED] * 4, ACCEPTED, *[REJECTED] * 4):
        fake.outcome = outcome
        record(to, 1)
        assert to.flush(timeout=5) is (outcome is ACCEPTED)
    assert to.stats().breaker == "closed"
    record(to, 1)
    assert to.flush(timeout=5) is False
    assert to.stats().breaker == "open"


def test_a_backend_that_asks_for_more_time_than_a_batch_has_is_left_alone_by_the_next_too(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    fake.outcome = BUSY._replace(retry_after=30.0)
    to = made(batch_size=1, timeout=1)
    record(to, 3)
    wait_until(lambda: to.stats().dropped == dropped(retries_exhausted=1, breaker_open=2))
    rest = to._breaker.rest
    assert rest is not None
    assert 25 < rest <= 30
    record(to, 2)
    assert to.flush(timeout=5) is False
    assert len(fake.attempts) == 1
    (entry,) = caplog.records
    assert "spans do not reach http://the.test, and are dropped until they do" in entry.getMessage()


@pytest.mark.parametrize("retry_after", [61.0, float("inf")])
def test_nobody_is_left_alone_for_more_than_a_minute(fake: Fake, made: Made, retry_after: float) -> None:
    fake.outcome = BUSY._replace(retry_after=retry_after)
    to = made()
    record(to, 1)
    assert to.flush(timeout=5) is False
    rest = to._breaker.rest
    assert rest is not None
    assert 50 < rest <= 60


@pytest.mark.usefixtures("short_interval")
@pytest.mark.parametrize("retry_after", [0.0, 61.0, float("inf")])
def test_a_probe_that_fails_opens_the_breaker_again(fake: Fake, made: Made, retry_after: float) -> None:
    to = made(timeout=0.1)
    fake.script = [BUSY._replace(retry_after=0.3)]
    fake.outcome = BUSY._replace(retry_after=retry_after)
    record(to, 1)
    wait_until(lambda: to.stats().breaker == "half-open")
    record(to, 1)
    wait_until(lambda: to.stats().breaker == "open")
    assert len(fake.attempts) == 2
    assert fake.attempts[1] - fake.attempts[0] >= 0.3
    rest = to._breaker.rest
    assert rest is not None
    assert rest <= max(0.3, min(retry_after, 60))


@pytest.mark.usefixtures("short_interval")
def test_an_open_breaker_leaves_the_backend_alone_as_long_as_that_asks_for(fake: Fake, made: Made) -> None:
    to = made()
    fake.outcome = BUSY._replace(retry_after=20.0)
    for _ in range(5):
        record(to, 1)
        to.flush(timeout=5)
    rest = to._breaker.rest
    assert rest is not None
    assert 15 < rest <= 20


def test_an_exporter_that_raises_does_not_stop_the_worker(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    fake.error = RuntimeError("bad day")
    to = made(timeout=0.5)
    for _ in range(2):
        record(to, 1)
        assert to.flush(timeout=5) is False
    fake.error = None
    record(to, 1)
    assert to.flush(timeout=5) is True
    assert to.stats() == Stats(exported=1, unknown=2, dropped=NONE_DROPPED, last_error="RuntimeError('bad day')")
    assert caplog.text.count("Traceback") == 1


def test_what_a_shutdown_could_not_deliver_is_logged(fake: Fake, made: Made, caplog: pytest.LogCaptureFixture) -> None:
    fake.outcome = REFUSED
    to = made()
    record(to, 3)
    assert to.shutdown(timeout=0.5) is False
    (entry,) = caplog.records
    assert entry.getMessage() == (
        "3 spans do not reach http://the.test: the time to send them is over. "
        "Last error: ConnectionRefusedError. Is anybody there?"
    )


@pytest.mark.parametrize("seconds", [float("inf"), 1e12])
def test_no_time_is_too_long(fake: Fake, made: Made, seconds: float) -> None:
    to = made(delay=seconds, timeout=seconds)
    record(to, 2)
    assert to.flush(timeout=seconds) is True
    record(to, 10)
    wait_until(lambda: len(fake.names) == 12)
    assert to.shutdown(timeout=seconds) is True
    assert max(fake.timeouts) < 1e7  # what sockets can count


def test_the_last_attempts_take_no_longer_than_the_shutdown_has_time(fake: Fake, made: Made) -> None:
    to = made(delay=60)
    record(to, 1)
    assert to.shutdown(timeout=2) is True
    assert fake.timeouts[0] <= 2


def test_a_span_that_ends_during_the_shutdown_is_not_lost_by_it(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    fake.gate.clear()
    to = made()
    record(to, 1)
    wait_until(lambda: fake.attempts)
    said: list[bool] = []
    thread = threading.Thread(target=lambda: said.append(to.shutdown(10)))
    thread.start()

    def has_begun() -> bool:
        record(to, 1)
        return to.stats().dropped["shutdown"] > 0

    wait_until(has_begun)
    fake.gate.set()
    thread.join()
    assert said == [True]
    assert caplog.records == []


class Hesitating(threading.Thread):
    """A thread that stops within a function of the delivery, once that has a variable of this name."""

    def __init__(self, call: Callable[[], object], function: str, variable: str) -> None:
        super().__init__(daemon=True)
        self.has_stopped, self.goes_on = threading.Event(), threading.Event()
        self.answer: object = None
        self._call = call
        self._where = (function, variable)

    def run(self) -> None:
        sys.settrace(self._trace)
        self.answer = self._call()
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        function, variable = self._where
        if frame.f_code.co_name == function and variable in frame.f_locals and not self.has_stopped.is_set():
            self.has_stopped.set()
            self.goes_on.wait(10)
        return self._trace


@pytest.mark.parametrize("is_over", [False, True])
def test_a_span_that_a_thread_ends_while_another_ends_the_shutdown_is_no_loss_and_does_not_stay(
    fake: Fake, made: Made, caplog: pytest.LogCaptureFixture, *, is_over: bool
) -> None:
    to = made()
    record(to, 1)
    ending = Hesitating(lambda: to.on_end(ended_span()), "take", "queue")
    stopping = Hesitating(lambda: to.shutdown(timeout=10), "shutdown", "delivered")
    for thread in (ending, stopping):
        thread.start()
        assert thread.has_stopped.wait(10)
    for thread in (stopping, ending) if is_over else (ending, stopping):
        thread.goes_on.set()
        thread.join()
    assert stopping.answer is True
    assert to.stats() == Stats(exported=1, dropped=dropped(shutdown=1))
    assert caplog.records == []


@pytest.fixture
def raising_log() -> Iterator[None]:
    """The application's logging raises."""

    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter")

    logger = logging.getLogger("tracemw")
    logger.addFilter(fail)
    yield
    logger.removeFilter(fail)


@pytest.mark.usefixtures("raising_log", "short_pauses", "short_interval")
def test_a_log_that_raises_holds_up_nothing(fake: Fake, made: Made) -> None:
    fake.outcome = REFUSED
    to = made()
    broken: Any = ended_span()
    broken._context = None
    to.take(broken)
    record(to, 1)
    began = time.monotonic()
    assert to.flush(timeout=5) is False
    assert to.stats() == Stats(
        dropped=dropped(retries_exhausted=1, encoding=1), breaker="open", retries=4, last_error=REFUSED.error
    )
    fake.error = RuntimeError("bad day")
    wait_until(lambda: to.stats().breaker == "half-open")
    record(to, 1)
    assert to.flush(timeout=5) is False
    fake.error, fake.outcome = None, ACCEPTED._replace(rejected=1, error="too old")
    wait_until(lambda: to.stats().breaker == "half-open")
    record(to, 2)
    assert to.flush(timeout=5) is False
    assert (to.stats().exported, to.stats().rejected) == (1, 1)
    record(to, 2)
    assert to.shutdown(timeout=5) is False
    assert time.monotonic() - began < 4
    wait_until(lambda: fake.closed == 1)


def test_a_fault_of_our_own_leaves_nobody_waiting(
    fake: Fake, made: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bool:
        raise RuntimeError("a bug")

    to = made()
    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(breaker.Breaker, "succeeded", fail)
        record(to, 1)
        assert to.flush(timeout=5) is False
    assert "a bug" in caplog.text
    assert time.monotonic() - began < 1
    record(to, 1)  # the next batch takes along what was under way
    assert to.flush(timeout=5) is True
    assert to.stats().exported == to.stats().ended == 2


def test_deliveries_leave_nothing_behind_for_forks(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hooks: left.append(hooks))
    made()
    assert left == []


def test_the_exporters_own_traffic_is_never_traced(fake: Fake, made: Made) -> None:
    to = made()
    record(to, 1)
    to.flush(timeout=5)
    assert fake.suppressed == [True]
    assert not clients_suppressed(get_current())


def test_spans_from_many_threads_all_arrive(fake: Fake, made: Made) -> None:
    to = made(queue_size=100_000)
    threads = [threading.Thread(target=record, args=(to, 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert to.flush(timeout=10) is True
    assert len(fake.names) == 4000
    assert to.stats() == Stats(exported=4000, dropped=NONE_DROPPED)


@pytest.fixture
def hasty_switching() -> Iterator[None]:
    """Threads give way to each other wherever they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("short_pauses", "short_interval", "hasty_switching")
def test_at_every_instant_each_span_is_in_one_of_the_numbers(
    fake: Fake, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread ends spans one by one, so that from any other the sum is what it has ended, or that and one more."""
    monkeypatch.setattr(breaker, "INTERVAL", 0.01)
    outcomes = [ACCEPTED] * 6 + [REJECTED] * 3 + [BUSY, REFUSED, BROKEN, Outcome(Answer.ACCEPTED, rejected=1)]
    chance = random.Random(7)
    fake.send = lambda request, timeout: chance.choice(outcomes)  # type: ignore[method-assign]
    to = made(queue_size=20, batch_size=7, delay=0.0, timeout=0.02)
    readable = ended_span()
    ended = 0
    stop = threading.Event()

    def end_spans() -> None:
        nonlocal ended
        while not stop.is_set():
            to.on_end(readable)
            ended += 1

    thread = threading.Thread(target=end_spans)
    thread.start()
    wrong: list[object] = []
    seen: set[str] = set()
    until = time.monotonic() + 3
    while time.monotonic() < until:
        low = ended
        stats = to.stats()
        high = ended + 1
        if not low <= stats.ended <= high:
            wrong.append((low, stats, high))
        seen.update(name for name in ("exported", "rejected", "unknown", "queued", "in_flight") if getattr(stats, name))
        seen.update(cause for cause, count in stats.dropped.items() if count)
    stop.set()
    thread.join()
    assert wrong == []
    assert seen >= {"exported", "rejected", "unknown", "queued", "in_flight"}
    assert seen >= {"queue_full", "breaker_open", "retries_exhausted"}
    to.shutdown(timeout=5)
    assert to.stats().ended == ended
    assert (to.stats().queued, to.stats().in_flight) == (0, 0)


@pytest.mark.usefixtures("hasty_switching")
def test_spans_that_many_threads_end_are_all_counted(fake: Fake, made: Made) -> None:
    to = made(queue_size=50, batch_size=10)
    threads = [threading.Thread(target=record, args=(to, 1000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    to.shutdown(timeout=10)
    stats = to.stats()
    assert stats.ended == 4000
    assert stats.exported == len(fake.names)


def test_a_signal_handler_may_flush_wherever_it_interrupts(fake: Fake, made: Made) -> None:
    to = made(queue_size=5, batch_size=5)
    flushed: list[bool] = []
    span = ended_span()

    def handler(signum: int, frame: object) -> None:
        began = time.monotonic()
        to.flush(timeout=5)
        to.stats()
        flushed.append(time.monotonic() - began < 4)

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            to.on_end(span)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(flushed) > 50
    assert all(flushed)


def test_a_signal_handler_may_be_what_starts_the_worker(fake: Fake, made: Made) -> None:
    span = ended_span()
    previous = signal.getsignal(signal.SIGALRM)
    try:
        for _ in range(100):
            to = made()
            signal.signal(signal.SIGALRM, lambda *_, to=to: to.on_end(span))
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
            to.on_end(span)
            wait_until(lambda to=to: to.stats().ended == 2)
            assert to.shutdown(timeout=5) is True
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert len(fake.names) == 200


@pytest.mark.parametrize("error", [MemoryError(), ValueError("a bug"), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("place", ["allow_one", "rest", "exporter", "log"])
def test_whatever_raises_in_the_worker_it_starts_again_and_says_so(
    fake: Fake,
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
    error: BaseException,
) -> None:
    monkeypatch.setattr(delivery, "_RESTS", 0.01)
    raised: list[BaseException] = []

    def fail(*_: object, **__: object) -> Any:
        if len(raised) < 3:
            raised.append(error)
            raise error
        return None

    to = made()
    if place == "exporter":
        monkeypatch.setattr(to, "_make_exporter", lambda: fail() or fake)
    elif place == "rest":
        monkeypatch.setattr(breaker.Breaker, "rest", property(fail))
    elif place == "allow_one":
        monkeypatch.setattr(breaker.Breaker, "rest", property(lambda self: 0 if len(raised) < 3 else None))
        monkeypatch.setattr(breaker.Breaker, "allow_one", fail)
    else:
        monkeypatch.setattr(to, "_send_batches", lambda *_, **__: fail())
        monkeypatch.setattr(to, "_log_fault", fail)
    record(to, 1)
    wait_until(lambda: len(raised) >= 3)
    monkeypatch.undo()
    record(to, 1)
    assert to.flush(timeout=5) is True
    assert to.shutdown(timeout=5) is True
    assert len(fake.names) == 2
    assert caplog.text.count("the delivery of spans has failed, and starts again") == 1


def test_without_new_threads_the_caller_does_the_work(fake: Fake, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of the interpreter, from Python 3.12 on."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    to = made()
    monkeypatch.setattr(delivery, "Thread", refuse)
    record(to, 3)
    assert to.flush(timeout=5) is True
    record(to, 2)
    assert not clients_suppressed(get_current())
    assert to.shutdown(timeout=5) is True
    assert fake.names == ["0", "1", "2", "0", "1"]
    assert fake.suppressed == [True, True]


def test_without_new_threads_the_caller_waits_no_longer_than_its_timeout_and_may_be_interrupted(
    fake: Fake, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    def interrupt(request: Request, timeout: float) -> Outcome:
        raise KeyboardInterrupt

    to = made()
    monkeypatch.setattr(delivery, "Thread", refuse)
    record(to, 1)
    with monkeypatch.context() as patch:
        patch.setattr(fake, "send", interrupt)
        with pytest.raises(KeyboardInterrupt):
            to.flush(timeout=5)
    record(to, 1)
    assert to.flush(timeout=2) is True
    assert fake.timeouts[0] <= 2
    assert to.stats() == Stats(exported=2, dropped=NONE_DROPPED)


def test_a_forked_child_delivers_its_own_spans_and_none_of_its_parents() -> None:
    read, write = os.pipe()

    class Telling(Fake):
        def packed(self, body: bytes) -> bytes:
            if os.getpid() != parent:
                os.write(write, f"{names_in(body)}\n".encode())
            return super().packed(body)

    parent = os.getpid()
    exporter = Telling()
    to = Delivery(
        lambda: exporter,
        transport="http",
        destination="the test",
        queue_size=100,
        queue_bytes=10**6,
        batch_size=10,
        batch_bytes=10**6,
        delay=60,
        timeout=10,
    )
    record(to, 2)
    child = os.fork()
    if child == 0:
        record(to, 1)
        fine = to.flush(timeout=5) and to.stats().ended == 1
        os._exit(0 if fine else 1)
    _, status = os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read()
    assert to.shutdown() is True
    assert status == 0
    assert told == "['0']\n"
    assert exporter.names == ["0", "1"]


def test_a_child_of_a_delivery_that_was_shut_down_delivers_nothing(fake: Fake, made: Made) -> None:
    to = made()
    assert to.shutdown() is True
    child = os.fork()
    if child == 0:
        record(to, 1)
        os._exit(0 if to.stats() == Stats(dropped=dropped(shutdown=1)) else 1)
    assert os.waitpid(child, 0)[1] == 0
