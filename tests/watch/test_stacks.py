"""A request that has no answer yet tells where it is: its thread, or its task down the chain of awaits."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response

import tracemw.fastapi
import tracemw.flask
from recording.local_traces import Init, Running, kept_for
from servers import uvicorn_serving, wait_until, werkzeug_serving
from tracemw._otel.served import served, watch
from tracemw._watch import stacks
from watch.watched import Gate, Told, line_of, server_span, told

REPOSITORY = Path(__file__).parents[2]
SOON = 0.05

GATES: list[Gate] = []
"""The gate of the test that is running."""


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Have everything imported that a first request imports: that takes longer than the times here."""
    with uvicorn_serving(fastapi_app(lambda: "ok", child_task=True)) as url:
        httpx.get(f"{url}/slow")


@pytest.fixture(autouse=True)
def gate() -> Iterator[Gate]:
    with Gate() as opening:
        GATES[:] = [opening]
        yield opening


def in_a_lock() -> str:
    GATES[0].reached().wait()  # in a lock
    return "ok"


async def in_an_await() -> str:
    async for _ in steps():  # in an await
        pass
    return "ok"


async def steps() -> AsyncIterator[int]:
    yield 1
    await GATES[0].event().wait()  # in a step
    yield 2


async def in_a_thread() -> str:
    return await asyncio.to_thread(in_a_lock)  # in a thread


async def in_a_blocked_loop() -> str:
    GATES[0].reached().wait()  # in a blocked loop
    return "ok"


async def in_its_children() -> str:
    await asyncio.gather(child(), child())  # in its children
    return "ok"


async def child() -> None:
    async for _ in steps():
        pass


def fastapi_app(endpoint: Callable[..., Any], *, child_task: bool = False) -> FastAPI:
    app = FastAPI()
    app.get("/slow")(endpoint)
    if child_task:  # this middleware runs the application in a task of its own
        app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    app.add_middleware(tracemw.fastapi.TraceMiddleware)
    return app


async def passing(request: Request, call_next: Any) -> Response:
    return await call_next(request)  # type: ignore[no-any-return]


def stack_at(mark: str, where: Callable[..., Any], running: Running) -> Told:
    """Return a stack that was taken at a line, of those of the one request."""
    line = (__file__, line_of(mark, where))
    stacks = told(server_span(running.spans), "tracemw.stack")
    assert line in [each.line for each in stacks]
    return next(each for each in stacks if each.line == line)


@pytest.mark.parametrize("child_task", [False, True], ids=["", "beneath a middleware with a task"])
@pytest.mark.parametrize(
    ("endpoint", "mark", "where"),
    [
        (in_a_lock, "in a lock", in_a_lock),
        (in_an_await, "in a step", steps),
        (in_a_thread, "in a lock", in_a_lock),
        (in_a_blocked_loop, "in a blocked loop", in_a_blocked_loop),
        (in_its_children, "in a step", steps),
    ],
)
def test_a_slow_fastapi_endpoint_tells_the_line_it_is_at(
    init: Init, endpoint: Callable[..., Any], mark: str, where: Callable[..., Any], child_task: bool
) -> None:
    running = init(1.0, stack_after=SOON)
    with uvicorn_serving(fastapi_app(endpoint, child_task=child_task)) as url:
        assert httpx.get(f"{url}/slow", timeout=60).text == '"ok"'
        wait_until(lambda: not served)
    stack = stack_at(mark, where, running)
    assert stack.attributes["code.function.name"] == where.__qualname__
    assert stack.attributes["tracemw.stack.after"] >= SOON
    assert f'> File "{__file__}", line {line_of(mark, where)}, in {where.__qualname__}' in stack.text
    assert '> File "starlette' not in stack.text
    assert "tracemw/" not in stack.text.replace(f"{REPOSITORY}/", "")  # a checkout may be called so
    assert len(stack.text) <= 2000


def test_the_text_shows_the_whole_chain_of_awaits(init: Init) -> None:
    running = init(1.0, stack_after=SOON)
    with uvicorn_serving(fastapi_app(in_a_thread)) as url:
        httpx.get(f"{url}/slow", timeout=60)
    text = stack_at("in a lock", in_a_lock, running).text
    awaiting = text.index(f"line {line_of('in a thread', in_a_thread)}, in in_a_thread")
    assert awaiting < text.index(f"line {line_of('in a lock', in_a_lock)}, in in_a_lock")


def test_a_slow_flask_view_tells_the_line_it_is_at(init: Init) -> None:
    running = init(1.0, stack_after=SOON)
    app = flask.Flask("slow")
    app.get("/slow")(in_a_lock)
    tracemw.flask.TraceMiddleware(app)
    with werkzeug_serving(app) as url:
        assert httpx.get(f"{url}/slow", timeout=60).text == "ok"
    stack_at("in a lock", in_a_lock, running)


def test_the_stack_is_taken_again_after_twice_the_time_and_four_times(init: Init, gate: Gate) -> None:
    gate.stacks = 3
    running = init(1.0, stack_after=SOON)
    with uvicorn_serving(fastapi_app(in_an_await)) as url:
        httpx.get(f"{url}/slow", timeout=60)
    stacks = told(server_span(running.spans), "tracemw.stack")
    assert len(stacks) >= 3
    for number, stack in enumerate(stacks):
        assert SOON * 2**number <= stack.attributes["tracemw.stack.after"]


def test_a_request_that_is_fast_has_no_stack(init: Init) -> None:
    running = init(1.0, stack_after=5.0)
    with uvicorn_serving(fastapi_app(lambda: "ok")) as url:
        httpx.get(f"{url}/slow")
    assert not told(server_span(running.spans), "tracemw.stack")


def test_a_request_that_is_sampled_out_and_kept_as_slow_has_its_stacks(init: Init) -> None:
    running = init(0.0, stack_after=SOON, keep_slow=SOON)
    with uvicorn_serving(fastapi_app(in_an_await)) as url:
        httpx.get(f"{url}/slow", timeout=60)
    assert kept_for(server_span(running.spans)) == "slow"
    stack_at("in a step", steps, running)


def test_a_response_that_has_begun_is_not_waited_for(init: Init) -> None:
    running = init(1.0, stack_after=SOON)
    begun = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/waiting":
            await in_an_await()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        await GATES[0].event().wait()
        await send({"type": "http.response.body", "body": b"ok"})

    with uvicorn_serving(tracemw.asgi.TraceMiddleware(app), lifespan="off") as url:
        streaming = threading.Thread(target=httpx.get, args=(f"{url}/streaming",))
        streaming.start()
        assert begun.wait(60)
        httpx.get(f"{url}/waiting", timeout=60)  # which is seen long after the other would have been
        streaming.join()
    stacks = sorted(len(told(span, "tracemw.stack")) for span in running.spans)
    assert stacks[0] == 0
    assert stacks[1] >= 1


def test_a_response_that_goes_on_for_long_says_so_once(init: Init) -> None:
    running = init(1.0, stack_after=10 * SOON)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(SOON)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(12):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(SOON)
        await send({"type": "http.response.body", "body": b""})

    with uvicorn_serving(tracemw.asgi.TraceMiddleware(app), lifespan="off") as url:
        httpx.get(url, timeout=60)
    (span,) = running.spans
    (streaming,) = told(span, "tracemw.streaming")
    assert SOON <= streaming.attributes["tracemw.first_byte.after"] < streaming.attributes["tracemw.stack.after"]
    assert not told(span, "tracemw.stack")


def test_without_stacks_and_blame_nobody_watches(init: Init) -> None:
    init(1.0, stack_after=None, more={"blame": False})
    assert watch.wake is None


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1.0, ValueError), ("1", TypeError), (True, TypeError)])
def test_a_time_that_is_none_is_refused(init: Init, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"stack_after(.* a number of seconds above 0, or None| takes a number)"):
        init(1.0, stack_after=value)


def test_the_watch_never_holds_all_objects_for_that_breaks_tuples_which_other_threads_fill() -> None:
    for path in Path(stacks.__file__).parent.glob("*.py"):
        assert not re.search(r"gc\.get_(?:objects|referrers)\(", path.read_text()), path
