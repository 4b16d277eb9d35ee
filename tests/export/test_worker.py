"""The worker: alone, with parts that do as the test says; and in a process that takes no new threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.context import get_current

from export.scripted import NONE_DROPPED, Made, Scripted, record, settings
from servers import wait_until
from tracemw._export import Delivery, Stats, worker
from tracemw._export.exporter import Exporter, ExportRequest, Outcome
from tracemw._export.losses import Losses
from tracemw._export.orders import WAKE, Order, Orders
from tracemw._export.worker import Worker
from tracemw._otel.context import clients_suppressed


class Parts:
    """What a worker works with, each part no more than what the worker asks of it; any of them may raise."""

    def __init__(self) -> None:
        self.orders = Orders()
        self.losses = Losses("http://the.test", limits={})
        self.steps: list[str] = []
        self.threads: set[int] = set()
        self.fails: dict[str, list[BaseException]] = {}
        self.answer = True
        self.rest: float | None = None
        parts: Any = self
        self.worker = Worker(self.orders, parts, parts, parts, self.losses, delay=0.01, pause_after_fault=0.01)

    def _step(self, name: str) -> None:
        self.steps.append(name)
        self.threads.add(threading.get_ident())
        if self.fails.get(name):
            raise self.fails[name].pop()

    def open(self) -> None:
        self._step("open")

    def close(self) -> None:
        self._step("close")

    def try_again(self) -> None:
        self._step("try_again")

    def send(self, *, is_last: bool) -> bool:
        self._step("last" if is_last else "send")
        return self.answer

    def order(self, *, stop: bool = False) -> Order:
        order = Order(stop=stop, lost_before=self.losses.lost())
        if stop:
            self.orders.stopping = order
        return order


@pytest.fixture
def parts() -> Any:
    """The parts of a worker, which is stopped in the end."""
    made = Parts()
    yield made
    made.fails.clear()
    if made.worker.is_started and made.orders.stopping is None:
        assert made.worker.carry_out(made.order(stop=True), 5) in (True, False)
    made.worker.join(5)


@pytest.fixture
def no_new_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of the interpreter, from Python 3.12 on."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(worker, "Thread", refuse)


def test_one_thread_carries_out_all_orders_and_ends_with_the_one_to_stop(parts: Parts) -> None:
    assert parts.worker.carry_out(parts.order(), 5) is True
    assert parts.worker.carry_out(parts.order(), 5) is True
    assert parts.worker.carry_out(parts.order(stop=True), 5) is True
    parts.worker.join(5)
    assert parts.steps == ["open", "try_again", "send", "try_again", "send", "try_again", "last", "close"]
    assert len(parts.threads) == 1
    assert threading.get_ident() not in parts.threads


def test_a_span_waits_for_others_unless_there_is_an_order(parts: Parts) -> None:
    parts.worker.tell(WAKE)
    wait_until(lambda: "send" in parts.steps)
    parts.steps.clear()
    parts.worker.tell(WAKE)
    assert parts.worker.carry_out(parts.order(), 5) is True
    assert parts.steps == ["try_again", "send"]  # for both


def test_an_order_is_not_delivered_when_something_was_lost_or_left(parts: Parts) -> None:
    parts.answer = False
    assert parts.worker.carry_out(parts.order(), 5) is False
    parts.answer = True
    order = parts.order()
    parts.losses.counts["rejected"] += 1
    assert parts.worker.carry_out(order, 5) is False
    assert parts.worker.carry_out(parts.order(), 5) is True


def test_the_breakers_rest_is_how_long_the_worker_waits_for_an_order(parts: Parts) -> None:
    parts.rest = 0.05
    assert parts.worker.carry_out(parts.order(), 5) is True
    wait_until(lambda: parts.steps.count("try_again") >= 3)


def test_a_fault_while_sending_leaves_nobody_waiting_and_the_worker_at_work(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    parts.fails["send"] = [ValueError("a bug")]
    assert parts.worker.carry_out(parts.order(), 5) is False
    assert parts.losses.last_error == "tracemw's own fault"
    assert "a bug" in caplog.text
    assert parts.worker.carry_out(parts.order(), 5) is True
    assert parts.steps.count("open") == 1


@pytest.mark.parametrize("error", [MemoryError, ValueError, SystemExit])
@pytest.mark.parametrize("place", ["open", "try_again", "send"])
def test_whatever_raises_in_the_worker_it_starts_again_and_says_so_once(
    parts: Parts, caplog: pytest.LogCaptureFixture, place: str, error: Callable[[], BaseException]
) -> None:
    if place == "send":  # what is no Exception goes all the way up
        parts.fails[place] = [KeyboardInterrupt() for _ in range(3)]
    else:
        parts.fails[place] = [error() for _ in range(3)]
    parts.worker.tell(WAKE)
    wait_until(lambda: not parts.fails[place])
    assert parts.worker.carry_out(parts.order(), 5) is True
    assert parts.steps.count("open") == 4
    assert caplog.text.count("the delivery of spans has failed, and starts again") == 1


def test_a_worker_whose_last_order_is_done_does_not_start_again(parts: Parts) -> None:
    parts.fails["close"] = [MemoryError()]
    assert parts.worker.carry_out(parts.order(stop=True), 5) is True
    parts.worker.join(5)
    assert parts.steps.count("open") == 1


@pytest.mark.usefixtures("no_new_threads")
def test_without_a_thread_the_caller_carries_out_each_order(parts: Parts) -> None:
    assert parts.worker.tell(WAKE) is False
    assert parts.worker.carry_out(parts.order(), 5) is True
    assert parts.steps == ["open", "send", "close"]
    assert parts.threads == {threading.get_ident()}
    assert not clients_suppressed(get_current())


def test_what_two_callers_want_at_once_only_one_of_them_does(parts: Parts) -> None:
    parts.worker._unclaimed.clear()  # by the other one
    parts.worker.work_here(parts.order(), 5)
    assert parts.steps == []


# In front of an exporter


def test_an_exporter_that_cannot_be_made_is_made_later_and_no_span_is_lost(exporter: Scripted) -> None:
    faults = [OSError("no descriptor left")]

    def make() -> Exporter:
        if faults:
            raise faults.pop()
        return exporter

    to = Delivery(make, settings())
    record(to, 1)
    assert to.flush(timeout=5) is True
    assert to.shutdown(timeout=5) is True
    assert exporter.names == ["0"]


@pytest.mark.usefixtures("no_new_threads")
def test_without_new_threads_the_caller_does_the_work(exporter: Scripted, made: Made) -> None:
    to = made()
    record(to, 3)
    assert to.flush(timeout=5) is True
    record(to, 2)
    assert not clients_suppressed(get_current())
    assert to.shutdown(timeout=5) is True
    assert exporter.names == ["0", "1", "2", "0", "1"]
    assert exporter.suppressed == [True, True]


@pytest.mark.usefixtures("no_new_threads")
def test_without_new_threads_the_caller_waits_no_longer_than_its_timeout_and_may_be_interrupted(
    exporter: Scripted, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(request: ExportRequest, timeout: float) -> Outcome:
        raise KeyboardInterrupt

    to = made()
    record(to, 1)
    with monkeypatch.context() as patch:
        patch.setattr(exporter, "send", interrupt)
        with pytest.raises(KeyboardInterrupt):
            to.flush(timeout=5)
    record(to, 1)
    assert to.flush(timeout=2) is True
    assert exporter.timeouts[0] <= 2
    assert to.stats() == Stats(exported=2, dropped=NONE_DROPPED)
