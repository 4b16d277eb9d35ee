"""Batches alone: how what is queued becomes requests, and what becomes of each span."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import pytest

from export.scripted import ACCEPTED, BROKEN, BUSY, INVALID, REFUSED, REJECTED, TOO_LARGE
from tracemw._export.batches import Batches
from tracemw._export.breaker import Breaker
from tracemw._export.exporter import ExportRequest, Outcome
from tracemw._export.in_flight import InFlight
from tracemw._export.losses import Losses
from tracemw._export.orders import Order, Orders
from tracemw._export.portions import Portions
from tracemw._export.queue import SpanQueue


class Sending:
    """Batches of spans that are one letter each, and a sender that does what the test says."""

    def __init__(self, *, size: int = 4, most_bytes: int = 1000, overhead: int = 0) -> None:
        self.overhead = overhead
        """Bytes of a request beside its spans."""
        self.outcomes: list[Outcome] = []
        self.meanwhile: list[Callable[[], object]] = []
        """What happens while the first requests are under way, one after another."""
        self.bodies: list[bytes] = []
        self.losses = Losses("http://the.test", limits={})
        self.orders = Orders()
        self.in_flight = InFlight(self.losses.counts)
        self.breaker = Breaker(self, lambda *change: None)
        encode: Any = lambda record: record  # noqa: E731
        self.queue = SpanQueue(
            encode,
            lambda: True,
            self.losses.counts,
            most_spans=100,
            most_bytes=1000,
            batch_spans=size,
            batch_bytes=1000,
        )
        self.faults: list[Exception] = []
        self.batches = Batches(
            self.queue,
            self.in_flight,
            Portions(most_bytes),
            self,
            self.breaker,
            self.orders,
            self.losses,
            encode=self.encode,
            pack=bytes,
            size=size,
            timeout=10.0,
        )

    def encode(self, records: Any) -> bytes:
        if self.faults:
            raise self.faults.pop()
        return b"".join(records) + b"." * self.overhead

    def send(self, request: ExportRequest, timeout: float) -> Outcome:
        self.bodies.append(request.body)
        assert self.in_flight.under_way == request.spans
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return self.outcomes.pop(0) if self.outcomes else ACCEPTED

    def take(self, letters: bytes) -> None:
        take: Any = self.queue.take
        for letter in letters:
            take(bytes([letter]))

    @property
    def counts(self) -> dict[str, int]:
        return {cause: count for cause, count in self.losses.counts.items() if count}


def test_what_is_queued_goes_out_batch_by_batch() -> None:
    sending = Sending()
    sending.take(b"abcdefghij")
    assert sending.batches.send(is_last=False) is True
    assert sending.bodies == [b"abcd", b"efgh", b"ij"]
    assert sending.counts == {"exported": 10}


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (ACCEPTED._replace(rejected=1), {"exported": 3, "rejected": 1}),
        (REJECTED, {"rejected": 4}),
        (BUSY, {"retries_exhausted": 4}),
        (REFUSED, {"retries_exhausted": 4}),
        (BROKEN._replace(is_uncertain=True), {"unknown": 4}),
        (REJECTED._replace(is_uncertain=True), {"unknown": 4}),
        (ACCEPTED._replace(is_uncertain=True), {"exported": 4}),
    ],
)
def test_each_span_is_counted_by_the_outcome(outcome: Outcome, counts: dict[str, int]) -> None:
    sending = Sending()
    sending.outcomes = [outcome]
    sending.take(b"abcd")
    assert sending.batches.send(is_last=False) is True
    assert sending.counts == counts
    assert (sending.in_flight.batch, sending.in_flight.under_way) == ([], 0)


@pytest.mark.parametrize("refusal", [TOO_LARGE, INVALID])
def test_a_request_that_is_refused_for_its_spans_is_sent_in_halves(refusal: Outcome) -> None:
    sending = Sending()
    sending.outcomes = [refusal]
    sending.take(b"abcd")
    sending.batches.send(is_last=False)
    assert sending.bodies[:2] == [b"abcd", b"ab"]
    assert b"".join(sending.bodies[1:]) == b"abcd"
    assert sending.batches.halvings == 1
    assert sending.counts == {"exported": 4}


def test_a_batch_of_which_nothing_is_taken_is_one_failure_of_the_backend() -> None:
    sending = Sending()
    for _ in range(5):
        assert sending.breaker.state == "closed"
        sending.outcomes = [INVALID] * 100
        sending.take(b"abcd")
        sending.batches.send(is_last=False)
    assert sending.breaker.state == "open"
    assert sending.counts == {"rejected": 20}


def test_an_open_breaker_leaves_the_queue_alone() -> None:
    sending = Sending()
    sending.take(b"ab")
    sending.breaker.leave_alone(60)
    assert sending.batches.send(is_last=False) is False
    assert (sending.bodies, len(sending.queue)) == ([], 2)


def test_a_breaker_that_opens_within_a_batch_drops_the_rest_of_it_unless_the_process_ends() -> None:
    for stopping, counts, left in ((False, {"rejected": 2, "breaker_open": 2}, 0), (True, {"rejected": 2}, 2)):
        sending = Sending()
        sending.orders.stopping = Order(stop=True, lost_before=0) if stopping else None
        sending.outcomes = [TOO_LARGE, REJECTED]
        sending.meanwhile = [lambda: None, functools.partial(sending.breaker.leave_alone, 60)]
        sending.take(b"abcd")
        sending.batches.send(is_last=False)
        assert (sending.counts, len(sending.in_flight.batch)) == (counts, left)


def test_when_the_time_of_a_shutdown_is_over_nothing_more_is_sent() -> None:
    sending = Sending()
    sending.take(b"abcd")
    sending.orders.stop_by = time.monotonic()
    assert sending.batches.send(is_last=True) is False
    assert sending.bodies == []


def test_when_the_time_of_a_shutdown_is_over_within_a_batch_the_rest_of_it_stays() -> None:
    sending = Sending()
    sending.outcomes = [TOO_LARGE, ACCEPTED]

    def end() -> None:
        sending.orders.stop_by = time.monotonic()

    sending.meanwhile = [lambda: None, end]
    sending.take(b"abcd")
    sending.batches.send(is_last=True)
    assert sending.bodies == [b"abcd", b"ab"]
    assert (sending.counts, sending.in_flight.batch) == ({"exported": 2}, [b"c", b"d"])


def test_a_request_that_turns_out_larger_than_its_limit_is_not_sent_but_halved() -> None:
    sending = Sending(most_bytes=5, overhead=3)
    sending.take(b"abcd")
    sending.batches.send(is_last=False)
    assert sending.bodies == [b"ab...", b"cd..."]
    assert (sending.counts, sending.batches.halvings) == ({"exported": 4}, 0)


def test_a_span_as_large_as_one_that_was_refused_alone_is_not_sent() -> None:
    sending = Sending()
    sending.outcomes = [TOO_LARGE] * 3
    sending.take(b"ab")
    sending.batches.send(is_last=False)
    assert sending.bodies == [b"ab", b"a"]
    assert sending.counts == {"rejected": 1, "too_large": 1}


def test_the_last_time_what_comes_meanwhile_is_sent_too_and_before_that_it_waits() -> None:
    for is_last, left in ((False, 2), (True, 0)):
        sending = Sending()
        sending.meanwhile = [functools.partial(sending.take, b"xy")]
        sending.take(b"abcd")
        assert sending.batches.send(is_last=is_last) is True
        assert len(sending.queue) == left


def test_records_that_make_no_request_are_lost_alone(caplog: pytest.LogCaptureFixture) -> None:
    sending = Sending()
    sending.faults = [ValueError("a bug")]
    sending.take(b"abcdef")
    assert sending.batches.send(is_last=False) is True
    assert sending.counts == {"encoding": 4, "exported": 2}
    assert "a bug" in caplog.text


def test_what_a_fault_has_left_in_flight_goes_out_with_the_next_batch() -> None:
    sending = Sending()
    sending.in_flight.batch.extend([b"a", b"b"])
    sending.in_flight.under_way = 2
    sending.take(b"c")
    assert sending.batches.send(is_last=False) is True
    assert sending.bodies == [b"abc"]


def test_losses_are_told_when_something_arrives_and_else_left_to_the_breaker(caplog: pytest.LogCaptureFixture) -> None:
    sending = Sending()
    for outcome, lines in ((REJECTED, 0), (ACCEPTED, 1)):
        sending.outcomes = [outcome]
        sending.take(b"abcd")
        sending.batches.send(is_last=False)
        assert len(caplog.records) == lines
