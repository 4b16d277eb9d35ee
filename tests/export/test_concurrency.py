"""Threads, signal handlers and forks in the midst of everything."""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import pytest

from export.scripted import (
    ACCEPTED,
    BROKEN,
    BUSY,
    NONE_DROPPED,
    REFUSED,
    REJECTED,
    Made,
    Scripted,
    ended_span,
    names_in,
    record,
    settings,
)
from servers import wait_until
from tracemw._export import Delivery, Stats
from tracemw._export.exporter import AttemptResult, Outcome


def test_spans_from_many_threads_all_arrive(exporter: Scripted, made: Made) -> None:
    to = made(queue_size=100_000)
    threads = [threading.Thread(target=record, args=(to, 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert to.flush(timeout=10) is True
    assert len(exporter.names) == 4000
    assert to.stats() == Stats(exported=4000, dropped=NONE_DROPPED)


@pytest.mark.usefixtures("hasty_switching")
def test_at_every_instant_each_span_is_in_one_of_the_numbers(exporter: Scripted, made: Made) -> None:
    """One thread ends spans one by one. Any other sees as many as that thread has ended, or one more."""
    outcomes = [ACCEPTED] * 6 + [REJECTED] * 3 + [BUSY, REFUSED, BROKEN, Outcome(AttemptResult.ACCEPTED, rejected=1)]
    chance = random.Random(7)
    exporter.send = lambda request, timeout: chance.choice(outcomes)  # type: ignore[method-assign]
    to = made(first_pause=0.01, interval=0.01, queue_size=20, batch_size=7, delay=0.0, timeout=0.02)
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
    every = {
        "exported",
        "rejected",
        "unknown",
        "queued",
        "in_flight",
        "queue_full",
        "breaker_open",
        "retries_exhausted",
    }
    began = time.monotonic()
    while (lasted := time.monotonic() - began) < 3 or (not seen >= every and lasted < 300):  # a busy machine sees less
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
    assert seen >= every
    to.shutdown(timeout=5)
    assert to.stats().ended == ended
    assert (to.stats().queued, to.stats().in_flight) == (0, 0)


@pytest.mark.usefixtures("hasty_switching")
def test_spans_that_many_threads_end_are_all_counted(exporter: Scripted, made: Made) -> None:
    to = made(queue_size=50, batch_size=10)
    threads = [threading.Thread(target=record, args=(to, 1000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    to.shutdown(timeout=10)
    stats = to.stats()
    assert stats.ended == 4000
    assert stats.exported == len(exporter.names)


def test_a_signal_handler_may_flush_wherever_it_interrupts(exporter: Scripted, made: Made) -> None:
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
        began = time.monotonic()
        while (lasted := time.monotonic() - began) < 3 or (len(flushed) <= 50 and lasted < 300):
            to.on_end(span)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(flushed) > 50
    assert all(flushed)


def test_a_signal_handler_may_be_what_starts_the_worker(exporter: Scripted, made: Made) -> None:
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
    assert len(exporter.names) == 200


def test_a_forked_child_delivers_its_own_spans_and_none_of_its_parents() -> None:
    read, write = os.pipe()

    class Telling(Scripted):
        def pack(self, body: bytes) -> bytes:
            if os.getpid() != parent:
                os.write(write, f"{names_in(body)}\n".encode())
            return super().pack(body)

    parent = os.getpid()
    exporter = Telling()
    to = Delivery(lambda: exporter, settings(delay=60))
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
