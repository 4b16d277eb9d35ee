"""The watch begins with a request, sleeps while there is none, and goes on after a fork."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import tracemw.starlette
from backend import Backend
from recording.local_traces import Init
from servers import uvicorn_serving, wait_until
from tracemw._otel.served import watch
from tracemw._watch import heartbeat, watchdog
from watch.watched import Gate, told

GATES: list[Gate] = []


async def slow(request: Any) -> PlainTextResponse:
    await GATES[0].event().wait()
    return PlainTextResponse("ok")


def test_the_watch_sleeps_while_nobody_is_served_and_wakes_with_the_next_request(
    init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_LINGERS", 0.05)
    beats: list[heartbeat.Heart] = []
    beat = heartbeat.Heart._beat

    def counted(heart: heartbeat.Heart) -> None:
        beats.append(heart)
        beat(heart)

    monkeypatch.setattr(heartbeat.Heart, "_beat", counted)
    running = init(1.0, stack_after=0.05)
    app = Starlette(routes=[Route("/slow", slow)])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    with uvicorn_serving(app) as url:
        for _ in range(2):
            with Gate() as opening:
                GATES[:] = [opening]
                assert httpx.get(f"{url}/slow", timeout=60).text == "ok"
            wait_until(lambda: watch.wake is not None)
            assert beats
            assert not beats[-1]._goes_on
            wait_until(lambda: not beats[-1]._beats)
    assert [bool(told(span, "tracemw.stack")) for span in running.spans] == [True, True]


def test_after_the_shutdown_nobody_watches(init: Init) -> None:
    running = init(1.0)
    before = watch.wake, watch.blames
    running.tracing.shutdown()
    assert before[0] is not None
    assert before[1]
    assert (watch.wake, watch.blames) == (None, False)


FORKING = """
import os, time, tracemw, tracemw.wsgi
from tracemw._otel.served import served
from tracemw.sampling import Sampling

tracemw.init("shop", sampling=Sampling(ratio=1.0, stack_after=0.05))
children = []

def app(environ, start_response):
    if environ["PATH_INFO"] == "/forking":
        children.append(os.fork())
    pause = 0.001
    while pause < 1 and not any(each.notes for each in list(served)):
        time.sleep(pause := pause * 1.5)
    start_response("200 OK", [])
    return [b"ok"]

app = tracemw.wsgi.TraceMiddleware(app)

def ask(path):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "shop", "SERVER_PORT": "80"}
    list(app(environ, lambda *_: None))

ask("/before")
child = os.fork()
ask("/after" if child else "/in a child")
if not child:
    tracemw.shutdown()
    os._exit(0)
os.waitpid(child, 0)
ask("/forking")
if not children[0]:
    os._exit(0)
os.waitpid(children[0], 0)
tracemw.shutdown()
"""


def test_the_watch_goes_on_after_a_fork_in_the_parent_and_in_the_child(backend: Backend) -> None:
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "PYTHONWARNINGS": "ignore"}
    ended = subprocess.run([sys.executable, "-c", FORKING], env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.stderr, ended.returncode) == ("", 0)
    stacks = {
        pair.value.string_value: len(told(span, "tracemw.stack"))
        for span in backend.spans
        for pair in span.attributes
        if pair.key == "url.path"
    }
    assert set(stacks) == {"/before", "/after", "/in a child", "/forking"}
    assert all(stacks.values())


def test_a_task_of_another_request_is_not_mistaken_for_this_one(init: Init) -> None:
    running = init(1.0, stack_after=0.05)

    async def other(request: Any) -> PlainTextResponse:
        await asyncio.sleep(0)
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/slow", slow), Route("/other", other)])
    app.add_middleware(tracemw.starlette.TraceMiddleware)
    with uvicorn_serving(app) as url, Gate() as opening:
        GATES[:] = [opening]
        assert httpx.get(f"{url}/other", timeout=60).text == "ok"
        assert httpx.get(f"{url}/slow", timeout=60).text == "ok"
    by_name = {span.name: told(span, "tracemw.stack") for span in running.spans}
    assert not by_name["GET /other"]
    assert {event.attributes["code.function.name"] for event in by_name["GET /slow"]} == {"slow"}
