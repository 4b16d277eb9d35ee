"""Each span is counted once, whatever threads, signals and the garbage collector do meanwhile."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import calls
import tracemw.starlette
from recording.local_traces import Init, open_children


@pytest.mark.parametrize("is_kept", [True, False])
def test_each_span_is_delivered_or_counted_once_however_its_end_meets_that_of_the_root(
    init: Init, is_kept: bool
) -> None:
    running = init(keep_rate=1e9, more={"fold_after": 0})
    rounds, workers, each = 150, 8, 6
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(workers + 1) as pool:
            for _ in range(rounds):
                root, children = open_children(workers * each)
                if is_kept:
                    root.set_status(StatusCode.ERROR)
                start = threading.Barrier(workers + 1)

                def end(spans: list[Any], start: threading.Barrier = start) -> None:
                    start.wait()
                    for span in spans:
                        span.end()

                shares = [children[number::workers] for number in range(workers)]
                list(pool.map(end, [*shares, [root]]))
                running.tracing.flush()
    finally:
        sys.setswitchinterval(interval)
    total = rounds * (workers * each + 1)
    del root, children
    gc.collect()
    assert running.holds_nothing()
    assert running.lost == {}
    assert running.stats.unsampled == (0 if is_kept else total)
    assert len(running.spans) == (total if is_kept else 0)
    assert len({span.span_id for span in running.spans}) == len(running.spans)


@pytest.mark.parametrize("fate", ["abandoned", "dropped"])
def test_at_no_instant_does_a_span_count_twice_or_not_at_all(init: Init, fate: str) -> None:
    running = init()
    ended = 0  # of which each has been counted
    begun = 0  # of which each may be
    stop = threading.Event()

    def work() -> None:
        nonlocal ended, begun
        while not stop.is_set():
            root, children = open_children(5)
            begun += 5 + (fate == "dropped")
            for child in children:
                child.end()
            if fate == "dropped":
                root.end()
            del root, children, child
            ended = begun

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    worker = threading.Thread(target=work)
    worker.start()
    try:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            at_least = ended
            counted = running.tracing.stats().ended
            assert at_least <= counted <= begun
    finally:
        stop.set()
        worker.join()
        sys.setswitchinterval(interval)
    assert running.tracing.stats().ended == ended > 0


def test_a_signal_handler_that_raises_in_the_midst_of_a_release_loses_no_count(init: Init) -> None:
    class InterruptedAtWorkError(Exception):
        pass

    running = init()
    interrupted = ended = 0

    def interrupt(number: int, frame: Any) -> None:
        if frame.f_code.co_name == "_release":
            raise InterruptedAtWorkError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        deadline = time.monotonic() + 300  # ten seconds, where the machine has nothing else to do
        while interrupted < 40 and time.monotonic() < deadline:
            root, children = open_children(500)
            for child in children:
                child.end()
            ended += 501
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 3e-4))
            try:
                root.end()
            except InterruptedAtWorkError:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            del root, children, child
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    gc.collect()
    assert interrupted >= 40
    assert running.holds_nothing()
    assert running.tracing.stats().ended == ended


def test_a_root_that_is_never_ended_leaves_nothing_but_a_count(init: Init) -> None:
    running = init()
    root, children = open_children(3)
    for child in children[:2]:
        child.end()
    assert running.stats.held == 2
    del root, children, child
    gc.collect()
    assert running.holds_nothing()
    assert running.lost == {"abandoned": 2}
    assert running.spans == []


def test_metrics_count_requests_that_are_dropped_with_their_routes(init: Init, meters: Any) -> None:
    running = init()
    app = Starlette(routes=[Route("/items/{item}", lambda _: PlainTextResponse("ok"))])
    app.add_middleware(tracemw.starlette.TraceMiddleware, meter_provider=meters.provider)
    asyncio.run(calls.ask(app, "/items/7"))
    (point,) = meters.points("http.server.request.duration")
    assert point.attributes["http.route"] == "/items/{item}"
    assert point.attributes["http.response.status_code"] == 200
    assert point.count == 1
    assert [point.value for point in meters.points("http.server.active_requests")] == [0]
    assert running.spans == []
    assert running.stats.unsampled == 1
