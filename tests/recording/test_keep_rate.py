"""How many local traces are kept in a second, and how routes share them."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

import tracemw
from recording.local_traces import SECOND, Init, Running, swallow
from tracemw._recording import flight_recorder


class Clock:
    """A clock of the flight recorder's that goes on when it is told to."""

    now = 1000 * SECOND

    def monotonic_ns(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(flight_recorder, "monotonic_ns", clock.monotonic_ns)
    return clock


def test_no_more_local_traces_are_kept_in_a_second_than_the_rate_says(init: Init, clock: Clock) -> None:
    running = init(keep_rate=0.001)
    for _ in range(5):
        with tracemw.span("job"):
            swallow()
    assert running.names == ["job", "swallowed"]
    assert running.lost == {"keep_rate": 8}
    running = init(keep_rate=0)
    swallow()
    assert running.names == ["job", "swallowed"]
    assert running.lost == {"keep_rate": 1}


def test_slow_requests_leave_half_of_the_rate_to_errors_and_to_what_is_asked_for(init: Init, clock: Clock) -> None:
    running = init(keep_slow=5.0, keep_rate=100)
    for _ in range(1000):
        slow = trace.get_tracer("test").start_span("slow", start_time=time.time_ns() - 6 * SECOND)
        slow.end()
    for _ in range(20):
        with tracemw.span("wanted"):
            tracemw.keep("because")
        swallow()
    found = Counter(running.names)
    assert (found["wanted"], found["swallowed"]) == (20, 20)
    assert 50 <= found["slow"] < 100
    assert running.lost == {"keep_rate": 1000 - found["slow"]}


@pytest.mark.parametrize("rate", [0.001, 1, 2])
def test_a_low_rate_still_keeps_one_slow_request(init: Init, clock: Clock, rate: float) -> None:
    running = init(keep_slow=0.0, keep_rate=rate)
    for _ in range(2):
        with tracemw.span("slow"):
            pass
    assert running.names == ["slow"]
    assert running.lost == {"keep_rate": 1}


def test_each_second_keeps_as_many_as_the_rate_says(init: Init, clock: Clock) -> None:
    running = init(keep_rate=3)
    kept = []
    for _ in range(4):
        before = running.stats.kept["error"]
        for _ in range(10):
            swallow()
        kept.append(running.stats.kept["error"] - before)
        clock.now += SECOND
    assert kept == [3, 3, 3, 3]
    clock.now += 60 * SECOND
    for _ in range(10):
        swallow()
    assert running.stats.kept["error"] == 15


def fails(running: Running, method: str = "GET", **attributes: Any) -> bool:
    """Have a request fail; tell whether it is kept."""
    before = running.stats.kept["error"]
    more = {"http.request.method": method, **attributes}
    span = trace.get_tracer("test").start_span(method, kind=SpanKind.SERVER, attributes=more)
    if "http.route" in attributes:
        span.update_name(f"{method} {attributes['http.route']}")
    span.set_status(StatusCode.ERROR)
    span.end()
    return running.stats.kept["error"] > before


@pytest.mark.parametrize(("rate", "noisy"), [(10, 1), (10, 2), (10, 5), (100, 1), (100, 2), (100, 5), (1000, 2)])
def test_noisy_routes_leave_room_for_a_quiet_one(init: Init, clock: Clock, rate: int, noisy: int) -> None:
    running = init(keep_rate=rate)
    kept: Counter[str] = Counter()
    for moment in range(4000):  # four seconds, in which the noisy ones ask ten times the rate
        clock.now += SECOND // 1000
        for number in range(noisy):
            for _ in range(max(10 * rate // 1000, 1)):
                kept["noisy"] += fails(running, **{"http.route": f"/noisy/{number}"})
        quietly = moment >= 1000 and moment % (10 * 1000 // rate or 1) == 0
        if quietly:  # a tenth of the rate
            kept["quiet"] += fails(running, **{"http.route": "/quiet"})
            kept["quiet in all"] += 1
    assert kept["quiet"] >= 0.9 * kept["quiet in all"] > 0
    assert 3.5 * rate <= kept["noisy"] + kept["quiet"] <= 5 * rate + 1


def test_a_burst_of_a_quiet_route_finds_room_beside_noisy_ones(init: Init, clock: Clock) -> None:
    running = init(keep_rate=100)
    for _ in range(2000):
        clock.now += SECOND // 1000
        fails(running, **{"http.route": "/upload/{name}"})
        fails(running, **{"http.route": "/import"})
    kept = 0
    for _ in range(60):  # within three quarters of a second
        clock.now += SECOND // 80
        fails(running, **{"http.route": "/upload/{name}"})
        kept += fails(running, **{"http.route": "/checkout"})
    assert kept >= 54


def test_one_route_alone_has_the_whole_rate(init: Init, clock: Clock) -> None:
    running = init(keep_rate=100)
    kept = 0
    for _ in range(4000):
        clock.now += SECOND // 1000
        kept += fails(running, **{"http.route": "/only"})
    assert 450 <= kept <= 501  # those of a second at once, half a second for others to find room, and 100 in each


def test_each_method_of_a_route_has_a_share_of_its_own(init: Init, clock: Clock) -> None:
    running = init(keep_rate=10)
    for _ in range(100):
        fails(running, **{"http.route": "/cart"})
    clock.now += SECOND // 2
    for _ in range(100):
        fails(running, **{"http.route": "/cart"})
    clock.now += SECOND // 10
    fails(running, **{"http.route": "/cart"})
    assert fails(running, "POST", **{"http.route": "/cart"})


def test_requests_without_a_route_share_what_one_route_gets(init: Init, clock: Clock) -> None:
    running = init(keep_rate=100)
    numbers = iter(range(10**6))
    for _ in range(2000):
        clock.now += SECOND // 1000
        for _ in range(3):
            fails(running, **{"url.path": f"/{next(numbers)}"})
    kept = 0
    for _ in range(60):
        clock.now += SECOND // 80
        fails(running, **{"url.path": f"/{next(numbers)}"})
        kept += fails(running, **{"http.route": "/checkout"})
    assert kept == 60


def test_routes_that_are_made_up_share_what_one_route_gets_and_are_not_remembered(init: Init, clock: Clock) -> None:
    running = init(keep_rate=10_000)
    for number in range(12_000):
        if number % 100 == 0:
            clock.now += SECOND // 1000
        swallow(f"job {number}")
        assert len(running.recorder._rate._shares._owing_until) <= 101  # what is too many is one
    assert running.stats.kept["error"] + running.lost["keep_rate"] == 12_000
