"""The end: what is sent, given up or dropped, and within which time."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from export.scripted import (
    BUSY,
    Made,
    Scripted,
    dropped,
    ended_span,
    open_the_breaker,
    record,
)
from servers import wait_until
from tracemw._export import Stats
from tracemw._export.exporter import AttemptResult, Outcome


def test_flush_and_shutdown_keep_their_timeouts_while_the_backend_hangs(exporter: Scripted, made: Made) -> None:
    exporter.gate.clear()
    to = made(batch_size=1)
    record(to, 3)
    started = time.monotonic()
    assert to.flush(timeout=0.2) is False
    assert to.shutdown(timeout=0.2) is False
    assert 0.2 <= time.monotonic() - started < 2
    assert to.stats() == Stats(dropped=dropped(shutdown=2), unknown=1)
    assert to.shutdown() is False  # and at once
    assert time.monotonic() - started < 2
    exporter.gate.set()
    wait_until(lambda: exporter.closed)
    assert to.stats() == Stats(dropped=dropped(shutdown=2), unknown=1)  # whatever came of it


def test_a_shutdown_has_the_time_that_it_is_given_also_after_a_flush_in_vain(exporter: Scripted, made: Made) -> None:
    exporter.gate.clear()
    to = made()
    record(to, 1)
    assert to.flush(timeout=0.3) is False
    began = time.monotonic()
    assert to.shutdown(timeout=0.6) is False
    assert time.monotonic() - began >= 0.6
    exporter.gate.set()


def test_a_shutdown_tells_of_what_was_lost_before_it_and_a_flush_does_not(exporter: Scripted, made: Made) -> None:
    to = made()
    exporter.script = [Outcome(AttemptResult.REJECTED)]
    record(to, 1)
    assert to.flush(timeout=5) is False
    record(to, 1)
    assert to.flush(timeout=5) is True
    assert to.shutdown(timeout=5) is False
    assert to.shutdown(timeout=5) is False


def test_after_shutdown_spans_are_dropped_and_counted(exporter: Scripted, made: Made) -> None:
    to = made()
    record(to, 2)
    assert to.shutdown() is True
    assert to.shutdown() is True
    record(to, 3)
    assert to.flush(timeout=1) is True
    assert to.stats() == Stats(exported=2, dropped=dropped(shutdown=3))
    wait_until(lambda: exporter.closed == 1)


def test_a_shutdown_that_waits_for_another_says_the_same(exporter: Scripted, made: Made) -> None:
    exporter.gate.clear()
    to = made()
    record(to, 1)
    said: list[bool] = []
    threads = [threading.Thread(target=lambda: said.append(to.shutdown(10))) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: exporter.attempts)
    assert said == []
    exporter.gate.set()
    for thread in threads:
        thread.join(60)
    assert said == [True, True, True]


def test_a_shutdown_does_not_wait_for_what_comes_too_late(exporter: Scripted, made: Made) -> None:
    exporter.outcome = BUSY._replace(retry_after=8)
    to = made()
    record(to, 1)
    wait_until(lambda: exporter.attempts)
    began = time.monotonic()
    assert to.shutdown(timeout=5) is False
    assert time.monotonic() - began < 4
    assert to.stats().dropped == dropped(retries_exhausted=1)


def test_a_shutdown_with_an_open_breaker_gives_up_at_once_and_says_nothing_more(
    exporter: Scripted, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    to = made()
    open_the_breaker(to, exporter)
    began = time.monotonic()
    assert to.shutdown(timeout=5) is False
    assert time.monotonic() - began < 4
    assert len(caplog.records) == 1
    wait_until(lambda: exporter.closed)


def test_a_span_that_ends_during_the_shutdown_is_not_lost_by_it(
    exporter: Scripted, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    exporter.gate.clear()
    to = made()
    record(to, 1)
    wait_until(lambda: exporter.attempts)
    said: list[bool] = []
    thread = threading.Thread(target=lambda: said.append(to.shutdown(10)))
    thread.start()

    def has_begun() -> bool:
        record(to, 1)
        return to.stats().dropped["shutdown"] > 0

    wait_until(has_begun)
    exporter.gate.set()
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
            self.goes_on.wait(60)
        return self._trace


@pytest.mark.parametrize("is_over", [False, True])
def test_a_span_that_a_thread_ends_while_another_ends_the_shutdown_is_no_loss_and_does_not_stay(
    exporter: Scripted, made: Made, caplog: pytest.LogCaptureFixture, *, is_over: bool
) -> None:
    to = made()
    record(to, 1)
    ending = Hesitating(lambda: to.on_end(ended_span()), "take", "records")
    stopping = Hesitating(lambda: to.shutdown(timeout=60), "shutdown", "delivered")
    for thread in (ending, stopping):
        thread.start()
        assert thread.has_stopped.wait(60)
    for thread in (stopping, ending) if is_over else (ending, stopping):
        thread.goes_on.set()
        thread.join()
    assert stopping.answer is True
    assert to.stats() == Stats(exported=1, dropped=dropped(shutdown=1))
    assert caplog.records == []


def test_a_child_of_a_delivery_that_was_shut_down_delivers_nothing(exporter: Scripted, made: Made) -> None:
    to = made()
    assert to.shutdown() is True
    child = os.fork()
    if child == 0:
        record(to, 1)
        os._exit(0 if to.stats() == Stats(dropped=dropped(shutdown=1)) else 1)
    assert os.waitpid(child, 0)[1] == 0
