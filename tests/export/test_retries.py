"""Retries alone: what is sent again, after which pause, and until when."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from export.scripted import ACCEPTED, BROKEN, BUSY, INVALID, REFUSED, REJECTED, REQUEST, TOO_LARGE, Scripted
from tracemw._export.exporter import Outcome
from tracemw._export.orders import Orders
from tracemw._export.retries import Retries


class Noting(Orders):
    """Orders that note the pauses that are asked of them."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def pause(self, seconds: float, *, is_asked: bool) -> bool:
        self.pauses.append(seconds)
        return super().pause(seconds, is_asked=is_asked)


class Sending:
    """Retries in front of a scripted exporter."""

    def __init__(self, exporter: Scripted, **options: Any) -> None:
        self.orders = Noting()
        self.left_alone: list[float] = []
        self.retries = Retries(exporter, self.orders, leave_alone=self.left_alone.append, **options)

    def send(self, timeout: float = 10.0) -> Outcome:
        return self.retries.send(REQUEST, timeout)


@pytest.mark.parametrize("failure", [BUSY, REFUSED, BROKEN])
def test_what_may_be_retried_is_until_it_is_accepted(exporter: Scripted, failure: Outcome) -> None:
    exporter.script = [failure] * 3
    sending = Sending(exporter, first_pause=0.01)
    assert sending.send() == ACCEPTED._replace(is_uncertain=failure is BROKEN)
    assert (len(exporter.attempts), sending.retries.count) == (4, 3)


@pytest.mark.parametrize("answer", [ACCEPTED, REJECTED, TOO_LARGE, INVALID])
def test_what_is_answered_for_good_is_not_sent_again(exporter: Scripted, answer: Outcome) -> None:
    exporter.outcome = answer
    sending = Sending(exporter)
    assert sending.send() == answer
    assert (len(exporter.attempts), sending.retries.count) == (1, 0)


def test_a_final_outcome_is_the_last(exporter: Scripted) -> None:
    exporter.outcome = REFUSED._replace(is_final=True)
    assert Sending(exporter).send() == exporter.outcome
    assert len(exporter.attempts) == 1


def test_pauses_grow_and_are_spread(exporter: Scripted) -> None:
    exporter.script = [BUSY] * 3
    sending = Sending(exporter, first_pause=0.1)
    sending.send()
    for pause, asked, expected in zip(exporter.pauses, sending.orders.pauses, (0.1, 0.2, 0.4), strict=True):
        assert 0.8 * expected <= asked <= 1.2 * expected
        assert pause >= asked


def test_pauses_are_stretched_by_chance(exporter: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    exporter.script = [BUSY] * 2
    Sending(exporter, first_pause=0.1).send()
    assert all(pause >= expected for pause, expected in zip(exporter.pauses, (0.12, 0.24), strict=True))


def test_a_retry_waits_as_long_as_the_backend_asks(exporter: Scripted) -> None:
    exporter.script = [BUSY._replace(retry_after=0.5)]
    sending = Sending(exporter, first_pause=0.01)
    assert sending.send() == ACCEPTED
    assert sending.orders.pauses == [0.5]
    assert exporter.pauses[0] >= 0.5
    assert sending.left_alone == []


@pytest.mark.parametrize("retry_after", [60.0, float("inf")])
def test_a_backend_that_asks_for_more_time_than_there_is_gets_no_second_attempt_and_is_left_alone(
    exporter: Scripted, retry_after: float
) -> None:
    exporter.outcome = BUSY._replace(retry_after=retry_after)
    sending = Sending(exporter)
    assert sending.send() == exporter.outcome
    assert len(exporter.attempts) == 1
    assert sending.left_alone == [retry_after]


def test_a_backend_that_asks_for_less_time_than_our_own_pause_is_not_left_alone(exporter: Scripted) -> None:
    exporter.outcome = BUSY._replace(retry_after=0.1)
    sending = Sending(exporter, first_pause=60)
    assert sending.send(timeout=1) == exporter.outcome
    assert sending.left_alone == []


def test_retries_end_with_the_timeout(exporter: Scripted) -> None:
    exporter.outcome = BUSY
    sending = Sending(exporter, first_pause=1.0)
    began = time.monotonic()
    assert sending.send(timeout=2) == BUSY
    assert time.monotonic() - began < 2
    assert len(exporter.attempts) == 2
    assert exporter.timeouts[0] <= 2
    assert exporter.timeouts[1] <= 1.2


def test_no_attempt_takes_longer_than_the_shutdown_has_time(exporter: Scripted) -> None:
    sending = Sending(exporter)
    sending.orders.stop_by = time.monotonic() + 2
    sending.send()
    assert exporter.timeouts[0] <= 2


def test_a_shutdown_does_not_wait_for_what_comes_too_late(exporter: Scripted) -> None:
    exporter.outcome = BUSY._replace(retry_after=8.0)
    sending = Sending(exporter)
    sending.orders.stop_by = time.monotonic() + 5
    began = time.monotonic()
    sending.send()
    assert time.monotonic() - began < 4
    assert sending.left_alone == [8.0]


@pytest.mark.parametrize("last", [ACCEPTED, BUSY, REFUSED, REJECTED, BROKEN])
def test_once_an_attempt_has_broken_off_the_outcome_is_uncertain(exporter: Scripted, last: Outcome) -> None:
    exporter.script = [BROKEN]
    exporter.outcome = last
    outcome = Sending(exporter, first_pause=0.01).send(timeout=1)
    assert (outcome.answer, outcome.is_uncertain) == (last.answer, True)


def test_a_stale_connection_costs_no_pause(exporter: Scripted) -> None:
    exporter.script = [BROKEN._replace(is_stale=True)] * 10
    sending = Sending(exporter, first_pause=60)
    sending.send(timeout=5)
    assert (len(exporter.batches), sending.retries.count) == (1, 10)


def test_stale_connections_without_end_end_with_the_timeout(exporter: Scripted) -> None:
    exporter.outcome = REFUSED._replace(is_stale=True)
    began = time.monotonic()
    assert Sending(exporter).send(timeout=0.1).is_stale
    assert time.monotonic() - began < 5
