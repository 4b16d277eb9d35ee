"""A backend that fails, and what the breaker makes of spans meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from export.scripted import (
    ACCEPTED,
    BUSY,
    REFUSED,
    Made,
    Scripted,
    dropped,
    ended_span,
    open_the_breaker,
    record,
)
from servers import wait_until
from tracemw._export import Stats
from tracemw._export.breaker import Breaker


def test_repeated_failures_open_the_breaker_and_spans_are_dropped_at_once(
    exporter: Scripted, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    to = made()
    open_the_breaker(to, exporter)
    record(to, 1000)
    assert len(exporter.attempts) == 5
    assert to.flush(timeout=5) is False
    assert to.stats() == Stats(rejected=5, dropped=dropped(breaker_open=1000), breaker="open", last_error="HTTP 401")
    (entry,) = caplog.records
    assert entry.levelno == logging.WARNING
    for part in ("do not reach http://the.test", "HTTP 401", "Who are you?"):
        assert part in entry.getMessage()


def test_an_outage_opens_the_breaker_within_the_retries_of_a_batch(exporter: Scripted, made: Made) -> None:
    exporter.outcome = REFUSED
    to = made(first_pause=0.01, batch_size=2)
    record(to, 6)
    wait_until(lambda: to.stats().breaker == "open")
    stats = to.stats()
    assert (len(exporter.attempts), stats.retries) == (5, 4)
    assert stats.dropped == dropped(retries_exhausted=2, breaker_open=4)


def test_one_probe_per_interval_closes_the_breaker_again(
    exporter: Scripted, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    to = made(interval=0.2, batch_size=5)
    open_the_breaker(to, exporter)
    before = len(exporter.attempts)
    began = time.monotonic()

    def probed_thrice() -> bool:
        record(to, 5)
        return len(exporter.attempts) - before >= 3

    wait_until(probed_thrice)
    assert len(exporter.attempts) - before <= (time.monotonic() - began) / (0.8 * 0.2) + 1
    exporter.outcome = ACCEPTED

    def arrived() -> bool:
        record(to, 1)
        return bool(exporter.batches)

    wait_until(arrived)
    record(to, 20)
    assert to.flush(timeout=5) is True
    assert to.stats().breaker == "closed"
    begins, ends = [entry.getMessage() for entry in caplog.records]
    assert "do not reach" in begins
    assert ends == "spans reach http://the.test again"


def test_a_probe_is_one_attempt(exporter: Scripted, made: Made) -> None:
    to = made(interval=0.2)
    open_the_breaker(to, exporter)
    exporter.outcome = REFUSED
    wait_until(lambda: to.stats().breaker == "half-open")
    before = len(exporter.attempts)
    record(to, 1)
    wait_until(lambda: to.stats().breaker == "open")
    assert len(exporter.attempts) - before == 1


def test_a_backend_that_asks_for_more_time_than_a_batch_has_is_left_alone_by_the_next_too(
    exporter: Scripted, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    exporter.outcome = BUSY._replace(retry_after=30.0)
    to = made(batch_size=1, timeout=1)
    record(to, 3)
    wait_until(lambda: to.stats().dropped == dropped(retries_exhausted=1, breaker_open=2))
    record(to, 2)
    assert to.flush(timeout=5) is False
    assert len(exporter.attempts) == 1
    (entry,) = caplog.records
    assert "spans do not reach http://the.test, and are dropped until they do" in entry.getMessage()


@pytest.fixture
def raising_log() -> Iterator[None]:
    """The application's logging raises."""

    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter")

    logger = logging.getLogger("tracemw")
    logger.addFilter(fail)
    yield
    logger.removeFilter(fail)


@pytest.mark.usefixtures("raising_log")
def test_a_log_that_raises_holds_up_nothing(exporter: Scripted, made: Made) -> None:
    exporter.outcome = REFUSED
    to = made(first_pause=0.01, interval=0.2)
    broken: Any = ended_span()
    broken._context = None
    to.take(broken)
    record(to, 1)
    began = time.monotonic()
    assert to.flush(timeout=5) is False
    assert to.stats() == Stats(
        dropped=dropped(retries_exhausted=1, encoding=1), breaker="open", retries=4, last_error=REFUSED.error
    )
    exporter.error = RuntimeError("bad day")
    wait_until(lambda: to.stats().breaker == "half-open")
    record(to, 1)
    assert to.flush(timeout=5) is False
    exporter.error, exporter.outcome = None, ACCEPTED._replace(rejected=1, error="too old")
    wait_until(lambda: to.stats().breaker == "half-open")
    record(to, 2)
    assert to.flush(timeout=5) is False
    assert (to.stats().exported, to.stats().rejected) == (1, 1)
    record(to, 2)
    assert to.shutdown(timeout=5) is False
    assert time.monotonic() - began < 4
    wait_until(lambda: exporter.closed == 1)


def test_a_fault_of_our_own_leaves_nobody_waiting(
    exporter: Scripted, made: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bool:
        raise RuntimeError("a bug")

    to = made()
    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(Breaker, "send", fail)
        record(to, 1)
        assert to.flush(timeout=5) is False
    assert "a bug" in caplog.text
    assert time.monotonic() - began < 4
    record(to, 1)  # the next batch takes along what was under way
    assert to.flush(timeout=5) is True
    assert to.stats().exported == to.stats().ended == 2
