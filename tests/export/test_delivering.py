"""Spans on their way to an exporter: batches, flushes, retries, and what is counted."""

from __future__ import annotations

import _thread
import os
from typing import Any

import pytest
from opentelemetry.context import get_current

from export.scripted import (
    BROKEN,
    BUSY,
    NONE_DROPPED,
    REFUSED,
    REJECTED,
    Made,
    Scripted,
    dropped,
    ended_span,
    record,
)
from servers import wait_until
from tracemw._export import Stats
from tracemw._export.exporter import Outcome
from tracemw._otel.context import clients_suppressed


def test_spans_are_delivered_in_order_without_a_flush(exporter: Scripted, made: Made) -> None:
    record(made(), 25)
    wait_until(lambda: len(exporter.names) == 25)
    assert exporter.names == [str(number) for number in range(25)]
    assert max(map(len, exporter.batches)) <= 10


def test_a_full_batch_does_not_wait_for_the_delay(exporter: Scripted, made: Made) -> None:
    record(made(delay=60), 10)
    wait_until(lambda: len(exporter.names) == 10)


def test_a_flush_delivers_at_once_and_says_so(exporter: Scripted, made: Made) -> None:
    to = made(delay=60)
    record(to, 3)
    assert to.flush(timeout=5) is True
    assert exporter.names == ["0", "1", "2"]
    assert to.flush(timeout=5) is True
    assert to.stats() == Stats(exported=3, dropped=NONE_DROPPED)


def test_unsampled_spans_go_nowhere_and_start_no_thread(exporter: Scripted, made: Made) -> None:
    before = _thread._count()
    to = made()
    record(to, 3, sampled=False)
    assert _thread._count() == before
    assert to.flush(timeout=1) is True
    assert to.shutdown() is True
    assert exporter.batches == []


def test_a_full_queue_drops_the_oldest_and_counts_them(exporter: Scripted, made: Made) -> None:
    exporter.gate.clear()
    to = made(queue_size=5, batch_size=5, delay=60)
    record(to, 5)
    wait_until(lambda: exporter.attempts)  # the first batch is being sent, and stuck
    record(to, 8)
    assert to.stats() == Stats(dropped=dropped(queue_full=3), queued=5, in_flight=5)
    exporter.gate.set()
    assert to.flush(5) is True
    assert exporter.names == ["0", "1", "2", "3", "4", "3", "4", "5", "6", "7"]
    assert to.stats().ended == 13


@pytest.mark.parametrize("failure", [BUSY, REFUSED, BROKEN])
def test_what_may_be_retried_is_with_the_bytes_of_the_first_attempt(
    exporter: Scripted, made: Made, failure: Outcome
) -> None:
    exporter.script = [failure] * 3
    to = made(first_pause=0.01)
    record(to, 2)
    wait_until(lambda: exporter.names)
    wait_until(lambda: to.stats().exported)
    stats = to.stats()
    assert (exporter.batches, exporter.packings, len(exporter.attempts)) == ([["0", "1"]], 1, 4)
    assert stats == Stats(exported=2, dropped=NONE_DROPPED, retries=3, last_error=failure.error)


def test_what_may_not_be_retried_is_not(exporter: Scripted, made: Made) -> None:
    exporter.outcome = REJECTED
    to = made()
    record(to, 2)
    assert to.flush(5) is False
    assert len(exporter.attempts) == 1
    assert to.stats() == Stats(rejected=2, dropped=NONE_DROPPED, last_error="HTTP 401")


def test_a_retry_waits_as_long_as_the_backend_asks_for_a_flush_or_not(exporter: Scripted, made: Made) -> None:
    exporter.script = [BUSY._replace(retry_after=0.5)]
    to = made(first_pause=0.01)
    record(to, 1)
    assert to.flush(timeout=5) is True
    assert 0.5 <= exporter.pauses[0] < 4


def test_a_flush_does_not_wait_for_a_pause_of_our_own(exporter: Scripted, made: Made) -> None:
    exporter.script = [REFUSED]
    to = made(first_pause=8.0)
    record(to, 1)
    wait_until(lambda: exporter.attempts)
    assert to.flush(timeout=5) is True


@pytest.mark.parametrize("last", [BUSY, REFUSED, REJECTED, BROKEN])
def test_once_an_attempt_has_broken_off_what_is_not_accepted_later_is_unknown(
    exporter: Scripted, made: Made, last: Outcome
) -> None:
    exporter.script = [BROKEN]
    exporter.outcome = last._replace(retry_after=60 if last is BUSY else 0)
    to = made(first_pause=0.01, timeout=0.5)
    record(to, 2)
    wait_until(lambda: to.stats().unknown)
    assert to.stats().unknown == to.stats().ended == 2


def test_spans_that_cannot_be_encoded_are_counted_as_that(exporter: Scripted, made: Made) -> None:
    to = made()
    broken: Any = ended_span()
    broken._context = None
    to.take(broken)
    to.on_end(ended_span())
    assert to.flush(timeout=5) is True  # of what was waiting, nothing is lost
    assert to.stats() == Stats(exported=1, dropped=dropped(encoding=1))
    assert to.shutdown(timeout=5) is False


@pytest.mark.parametrize("seconds", [float("inf"), 1e12])
def test_no_time_is_too_long(exporter: Scripted, made: Made, seconds: float) -> None:
    to = made(delay=seconds, timeout=seconds)
    record(to, 2)
    assert to.flush(timeout=seconds) is True
    record(to, 10)
    wait_until(lambda: len(exporter.names) == 12)
    assert to.shutdown(timeout=seconds) is True
    assert max(exporter.timeouts) < 1e7  # what sockets can count


def test_the_exporters_own_traffic_is_never_traced(exporter: Scripted, made: Made) -> None:
    to = made()
    record(to, 1)
    to.flush(timeout=5)
    assert exporter.suppressed == [True]
    assert not clients_suppressed(get_current())


def test_deliveries_leave_nothing_behind_for_forks(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hooks: left.append(hooks))
    made()
    assert left == []
