"""The breaker alone: when it opens, for how long, and what closes it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from export.scripted import ACCEPTED, BROKEN, BUSY, INVALID, REFUSED, REJECTED, REQUEST, TOO_LARGE, Scripted
from servers import wait_until
from tracemw._export.breaker import Breaker, State
from tracemw._export.exporter import Outcome


class Watched:
    """A breaker in front of a scripted exporter, and the changes that it tells of."""

    def __init__(self, exporter: Scripted, **options: Any) -> None:
        self.exporter = exporter
        self.changes: list[tuple[State, State]] = []
        self.breaker = Breaker(exporter, lambda *change: self.changes.append(change), **options)

    def send(self, *outcomes: Outcome) -> list[bool]:
        """Make attempts that end like this; return which of them are final."""
        self.exporter.script = list(outcomes)
        return [self.breaker.send(REQUEST, 1.0).is_final for _ in outcomes]

    def become_half_open(self) -> None:
        wait_until(lambda: self.breaker.rest == 0)
        self.breaker.try_again()

    @property
    def rest(self) -> float:
        rest = self.breaker.rest
        assert rest is not None
        return rest


@pytest.mark.parametrize("failure", [REJECTED, BUSY, REFUSED, BROKEN])
def test_failures_in_a_row_open_the_breaker_and_the_last_is_final(exporter: Scripted, failure: Outcome) -> None:
    watched = Watched(exporter)
    assert watched.send(*[failure] * 5) == [False] * 4 + [True]
    assert watched.breaker.state == "open"
    assert watched.changes == [("closed", "open")]
    assert 4 <= watched.rest <= 6


def test_a_success_between_failures_keeps_the_breaker_closed(exporter: Scripted) -> None:
    watched = Watched(exporter)
    watched.send(*[REJECTED] * 4, ACCEPTED, *[REJECTED] * 4)
    assert (watched.breaker.state, watched.breaker.rest) == ("closed", None)
    assert watched.send(REJECTED) == [True]


@pytest.mark.parametrize("outcome", [TOO_LARGE, INVALID, BROKEN._replace(is_stale=True)])
def test_neither_refusals_of_spans_nor_stale_connections_count(exporter: Scripted, outcome: Outcome) -> None:
    watched = Watched(exporter, failures=1)
    assert watched.send(*[outcome] * 10) == [False] * 10
    assert watched.breaker.rest is None
    watched.breaker.note_failure(0.0)  # unless the sender says so, of a batch of which nothing is taken
    assert watched.breaker.state == "open"


def test_after_the_interval_one_success_closes_the_breaker(exporter: Scripted) -> None:
    watched = Watched(exporter, failures=1, interval=0.5)
    watched.send(REFUSED)
    watched.breaker.try_again()
    assert watched.breaker.state == "open"  # the interval is not over
    watched.become_half_open()
    watched.send(ACCEPTED)
    assert watched.changes == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]


@pytest.mark.parametrize("retry_after", [0.0, 61.0, float("inf")])
def test_after_the_interval_one_failure_opens_the_breaker_again(exporter: Scripted, retry_after: float) -> None:
    watched = Watched(exporter, interval=0.05)
    watched.send(*[REFUSED] * 5)
    watched.become_half_open()
    assert watched.send(BUSY._replace(retry_after=retry_after)) == [True]
    assert watched.changes[-1] == ("half-open", "open")
    assert watched.rest <= max(0.06, min(retry_after, 60))


def test_the_interval_is_stretched_by_chance(exporter: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    watched = Watched(exporter, failures=1, interval=5.0)
    watched.send(REFUSED)
    assert 5 < watched.rest <= 6


def test_an_open_breaker_leaves_the_backend_alone_as_long_as_the_backend_asks(exporter: Scripted) -> None:
    watched = Watched(exporter, failures=1)
    watched.send(BUSY._replace(retry_after=20.0))
    assert 15 < watched.rest <= 20


def test_a_backend_may_be_left_alone_at_once(exporter: Scripted) -> None:
    watched = Watched(exporter)
    watched.breaker.leave_alone(30.0)
    assert 25 < watched.rest <= 30
    assert watched.changes == [("closed", "open")]


@pytest.mark.parametrize("retry_after", [61.0, float("inf")])
def test_no_backend_is_left_alone_for_more_than_a_minute(exporter: Scripted, retry_after: float) -> None:
    watched = Watched(exporter, failures=1)
    watched.breaker.leave_alone(retry_after)
    assert 50 < watched.rest <= 60
    watched = Watched(exporter, failures=1)
    watched.send(BUSY._replace(retry_after=retry_after))
    assert 50 < watched.rest <= 60
