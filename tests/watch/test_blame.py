"""The time that belongs to nobody is told on the SERVER span that it cost."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import anyio.to_thread
import httpx
import pytest
from fastapi import FastAPI
from starlette.background import BackgroundTask
from starlette.responses import Response

import tracemw.fastapi
import tracemw.wsgi
from calls import WSGIServer
from recording.local_traces import Init, attributes
from servers import uvicorn_serving, wait_until
from tracemw._otel.served import served
from tracemw._watch.run_queue import RunQueue
from watch.watched import Told, line_of, told, until_seen_to_block

BLOCK = 0.2

app = FastAPI()
app.add_middleware(tracemw.fastapi.TraceMiddleware)
waiting = threading.Event()
"""Set when the request that waits has begun."""
blocking = threading.Event()
"""Set when a request has begun to block."""


took: list[float] = []
"""For how many seconds requests have blocked their loop, or held the only thread: on a busy machine, many."""


@contextmanager
def taking() -> Iterator[None]:
    """Note how long the block takes."""
    began = time.monotonic()
    yield
    took.append(time.monotonic() - began)


def lasted(event: Told) -> bool:
    """Tell whether an event says about how long a request took what another waited for."""
    seconds: float = event.attributes["tracemw.seconds"]
    return BLOCK / 2 < seconds < 2 * max(took)


@app.get("/block")
async def block() -> str:
    blocking.set()
    with taking():
        for _ in until_seen_to_block():
            time.sleep(BLOCK)  # noqa: ASYNC251  # it blocks
    return "ok"


@app.get("/block/briefly")
async def block_briefly() -> str:
    time.sleep(BLOCK)  # noqa: ASYNC251
    return "ok"


@app.get("/page")
async def page() -> Response:
    return Response("later", 503, background=BackgroundTask(block_briefly))


@app.get("/wait")
async def wait() -> str:
    await asyncio.sleep(BLOCK / 2)
    return "ok"


@app.get("/behind")
async def behind() -> str:
    waiting.set()
    while not blocking.is_set():  # noqa: ASYNC110  # each server has a loop of its own
        await asyncio.sleep(0.01)
    return "ok"


@app.get("/fast")
async def fast() -> str:
    return "ok"


@app.get("/narrow")
async def narrow() -> str:
    anyio.to_thread.current_default_thread_limiter().total_tokens = 1
    return "ok"


@app.get("/warm-up")
def warm_up() -> str:
    return "ok"


def until_the_other_waits() -> Iterator[None]:
    """Go round until another request has come, unless this is the last, and once more."""
    while True:
        has_come = len(served) == 2 or len(took) > 0
        yield
        if has_come:
            return


@app.get("/thread")
def thread() -> str:
    with taking():
        for _ in until_the_other_waits():
            time.sleep(BLOCK)  # in the only thread
    return "ok"


@app.get("/collect")
async def collect() -> str:
    gc.collect()
    return "ok"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with uvicorn_serving(app) as serving:
        httpx.get(f"{serving}/warm-up")  # imports what a first request imports
        yield serving


def ask(*urls: str) -> None:
    """Ask several times at once."""
    took.clear()
    asking = [threading.Thread(target=httpx.get, args=(each,), kwargs={"timeout": 60}) for each in urls]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    wait_until(lambda: not served)


def test_a_request_that_blocks_the_event_loop_tells_the_line(init: Init, url: str) -> None:
    running = init(1.0)
    ask(f"{url}/block")
    (span,) = running.spans
    (event,) = told(span, "tracemw.loop.blocked")
    assert event.line == (__file__, line_of("it blocks", block))
    assert lasted(event)
    assert "it blocks" not in event.text
    assert "in block" in event.text


def test_work_after_an_error_page_is_no_part_of_the_request(init: Init, url: str) -> None:
    running = init(1.0)
    ask(f"{url}/page")
    (span,) = running.spans
    assert not told(span, "tracemw.loop.blocked")
    assert span.end_time_unix_nano - span.start_time_unix_nano < BLOCK * 1e9


@pytest.mark.parametrize("pause", [0.0, 0.2, 0.5])
def test_each_request_that_blocks_the_loop_tells_it_however_long_the_loop_was_idle_before(
    init: Init, url: str, pause: float
) -> None:
    running = init(1.0)
    for _ in range(3):
        time.sleep(pause)
        ask(f"{url}/block")
    assert [len(told(span, "tracemw.loop.blocked")) for span in running.spans] == [1, 1, 1]


def test_a_request_that_blocks_the_loop_tells_it_although_all_before_were_too_fast_to_be_seen(init: Init) -> None:
    running = init(1.0)
    with uvicorn_serving(app) as fresh:
        ask(f"{fresh}/fast")
        time.sleep(0.2)
        ask(f"{fresh}/block")
    assert [len(told(span, "tracemw.loop.blocked")) for span in running.spans] == [0, 1]


def test_a_request_that_waited_for_a_blocked_loop_tells_who_has_blocked_it(init: Init, url: str) -> None:
    running = init(1.0)
    waiting.clear()
    blocking.clear()
    helper = threading.Thread(target=ask, args=(f"{url}/behind",))
    helper.start()
    assert waiting.wait(60)
    ask(f"{url}/block")
    helper.join()
    spans = {span.name: span for span in running.spans}
    blocker = spans["GET /block"].trace_id.hex()  # on a busy machine, something else may hold the loop as well
    waits = told(spans["GET /behind"], "tracemw.loop.waited")
    (event,) = [each for each in waits if each.attributes.get("tracemw.loop.blocked_by") == blocker]
    assert event.line == (__file__, line_of("it blocks", block))
    assert lasted(event)
    assert not told(spans["GET /block"], "tracemw.loop.waited")


def test_each_of_several_requests_that_block_the_loop_one_after_another_tells_it(init: Init, url: str) -> None:
    running = init(1.0)
    ask(*[f"{url}/block"] * 6)
    events = [told(span, "tracemw.loop.blocked") for span in running.spans]
    assert [len(each) for each in events] == [1] * 6
    assert {event.line for (event,) in events} == {(__file__, line_of("it blocks", block))}
    assert all(lasted(event) for (event,) in events)


@pytest.fixture
def starving() -> Iterator[None]:
    """Another process keeps the first processor busy."""
    first = min(os.sched_getaffinity(0))
    code = f"import os\nos.sched_setaffinity(0, {{{first}}})\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        yield
        busy.kill()


@app.get("/starve")
async def starve() -> str:
    this = threading.get_native_id()
    all_processors = os.sched_getaffinity(this)
    os.sched_setaffinity(this, {min(all_processors)})
    os.setpriority(os.PRIO_PROCESS, this, 19)
    run_queue = RunQueue(this)
    enough = run_queue.waited() + 250_000_000
    while run_queue.waited() < enough:  # it has no processor
        pass
    os.sched_setaffinity(this, all_processors)
    return "ok"


@pytest.mark.serial
@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts how long a thread waits for a processor")
@pytest.mark.usefixtures("starving")
def test_a_request_whose_event_loop_has_no_processor_tells_that_and_blames_nobody(init: Init) -> None:
    running = init(1.0)
    with uvicorn_serving(app) as fresh:
        ask(f"{fresh}/wait")  # until the loop beats
        ask(f"{fresh}/starve")
    spans = {span.name: span for span in running.spans}
    (event,) = told(spans["GET /starve"], "tracemw.loop.starved")
    assert event.attributes["tracemw.seconds"] > 0.1
    assert not told(spans["GET /starve"], "tracemw.loop.blocked")


def test_a_request_that_waits_for_a_thread_tells_how_long_and_what_the_threads_do(init: Init, url: str) -> None:
    httpx.get(f"{url}/narrow")
    running = init(1.0)
    ask(f"{url}/thread", f"{url}/thread")
    # FastAPI may take a thread more than once for a request: for the endpoint, and for its response.
    event, *_ = [event for span in running.spans for event in told(span, "tracemw.pool.waited")]
    assert lasted(event)
    assert event.attributes["tracemw.pool.size"] == 1
    assert event.attributes["tracemw.pool.busy_with"] == [f"{__file__}:{line_of('in the only thread', thread)} thread"]


@pytest.fixture
def one_thread() -> Iterator[None]:
    with ThreadPoolExecutor(1) as executor:
        EXECUTORS[:] = [executor]
        yield


EXECUTORS: list[ThreadPoolExecutor] = []


@app.get("/executor")
async def executor() -> str:
    asyncio.get_running_loop().set_default_executor(EXECUTORS[0])
    await asyncio.to_thread(in_an_executor)
    return "ok"


def in_an_executor() -> None:
    with taking():
        for _ in until_the_other_waits():
            time.sleep(BLOCK)  # in an executor


@pytest.mark.usefixtures("one_thread")
def test_a_request_that_waits_for_a_thread_of_an_executor_tells_it(init: Init, url: str) -> None:
    running = init(1.0)
    ask(f"{url}/executor", f"{url}/executor")
    (event,) = [event for span in running.spans for event in told(span, "tracemw.pool.waited")]
    assert lasted(event)
    assert event.attributes["tracemw.pool.size"] == 1
    line = line_of("in an executor", in_an_executor)
    assert event.attributes["tracemw.pool.busy_with"] == [f"{__file__}:{line} in_an_executor"]


class Node:
    """One of many that lead to each other, so that the collector has to look at them."""

    next: Node | None = None


def test_a_long_pause_of_the_garbage_collector_is_told(init: Init, url: str) -> None:
    running = init(1.0)
    nodes = [Node() for _ in range(300_000)]
    for one, next_one in itertools.pairwise(nodes):
        one.next = next_one
    ask(f"{url}/collect")
    (span,) = running.spans
    event, *_ = told(span, "tracemw.gc.paused")
    assert event.attributes["tracemw.seconds"] > 0.02
    assert event.attributes["tracemw.gc.generation"] == 2


def test_a_request_that_is_fast_tells_nothing(init: Init, url: str) -> None:
    running = init(1.0)
    ask(f"{url}/fast")
    (span,) = running.spans
    assert not span.events
    assert "tracemw.queued.seconds" not in attributes(span)


# In tests, the environment turns it off.
@pytest.mark.parametrize("more", [{"blame": False}, {"blame": None}])
def test_nobody_is_blamed_where_that_is_turned_off(init: Init, url: str, more: Any) -> None:
    running = init(1.0, more=more)
    httpx.get(f"{url}/block/briefly", headers={"x-request-start": f"t={time.time() - 5}"})
    wait_until(lambda: not served)
    (span,) = running.spans
    assert not span.events
    assert "tracemw.queued.seconds" not in attributes(span)


@pytest.mark.parametrize("blame", [1, "no"])
def test_a_blame_that_is_no_boolean_is_refused(init: Init, blame: Any) -> None:
    with pytest.raises(TypeError, match="blame takes True or False"):
        init(1.0, more={"blame": blame})


@pytest.mark.parametrize("name", ["x-request-start", "x-queue-start"])
@pytest.mark.parametrize(
    ("form", "unit"),
    [("{}", 3), ("t={}", 3), ("t={}", 6), ("{}", 6), ("{}", 9), ("t={}", 0), ("t={:.3f}", None), ("{:.6f}", None)],
)
def test_the_time_in_the_queue_of_a_proxy_is_told_in_all_its_forms(
    init: Init, url: str, name: str, form: str, unit: int | None
) -> None:
    running = init(1.0)
    received = time.time() - 5
    httpx.get(f"{url}/fast", headers={name: form.format(received if unit is None else int(received * 10**unit))})
    wait_until(lambda: not served)
    (span,) = running.spans
    assert 4.9 < attributes(span)["tracemw.queued.seconds"] < 7


def test_wsgi_tells_the_time_in_the_queue_of_a_proxy(init: Init) -> None:
    def plain(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"ok"]

    running = init(1.0)
    WSGIServer().ask(tracemw.wsgi.TraceMiddleware(plain), headers={"X-Request-Start": f"t={time.time() - 5:.3f}"})
    (span,) = running.spans
    assert 4.9 < attributes(span)["tracemw.queued.seconds"] < 7


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "t=",
        "t=12",
        "t=-1700000000",
        "t=99999999999999999999999",
        "t=1e10",
        pytest.param("1" * 5000, id="long"),
        pytest.param(3600, id="future"),
        pytest.param(-3600, id="past"),
        pytest.param(-400, id="minutes"),
    ],
)
def test_a_time_in_the_queue_that_cannot_be_is_not_believed(init: Init, url: str, value: str | int) -> None:
    running = init(1.0)
    if isinstance(value, int):
        value = f"t={int((time.time() + value) * 1000)}"
    httpx.get(f"{url}/fast", headers={"x-request-start": value})
    wait_until(lambda: not served)
    (span,) = running.spans
    assert "tracemw.queued.seconds" not in attributes(span)
