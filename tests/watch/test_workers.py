"""Stacks of slow requests in the workers of gunicorn, which fork, and may run greenlets or an event loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend import Backend
from servers import body_of, free_port, process, wait_until
from watch.watched import server_span, told

SERVICE = """
import asyncio, time, flask, starlette.applications, starlette.responses, starlette.routing, tracemw
import tracemw.flask, tracemw.starlette
from tracemw._otel.served import served
from tracemw.sampling import Sampling
tracemw.init("shop", sampling=Sampling(ratio=1.0, stack_after=0.1))

def has_been_seen():
    return any(each.notes for each in list(served))

def slow():
    pause = 0.001
    while pause < 1 and not has_been_seen():
        time.sleep(pause := pause * 1.5)  # here
    return "ok"

async def slow_task(request):
    pause = 0.001
    while pause < 1 and not has_been_seen():
        await asyncio.sleep(pause := pause * 1.5)  # here in a task
    return starlette.responses.PlainTextResponse("ok")

wsgi = flask.Flask("shop")
wsgi.get("/slow")(slow)
tracemw.flask.TraceMiddleware(wsgi)
asgi = starlette.applications.Starlette(routes=[starlette.routing.Route("/slow", slow_task)])
asgi.add_middleware(tracemw.starlette.TraceMiddleware)
"""

TRIO = """
import time, starlette.applications, starlette.responses, starlette.routing, tracemw, tracemw.starlette, trio
from tracemw._otel.served import served
from tracemw.sampling import Sampling
tracemw.init("shop", sampling=Sampling(ratio=1.0, stack_after=0.1))

def has_been_seen():
    return any(each.notes for each in list(served))

async def awaiting(request):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    return starlette.responses.PlainTextResponse("ok")

async def child():
    pause = 0.001
    while pause < 1 and not has_been_seen():
        await trio.sleep(pause := pause * 1.5)  # at /awaiting

async def blocking(request):
    pause = 0.001
    while pause < 1 and not has_been_seen():
        time.sleep(pause := pause * 1.5)  # at /blocking
    return starlette.responses.PlainTextResponse("ok")

def threaded(request):
    pause = 0.001
    while pause < 1 and not has_been_seen():
        time.sleep(pause := pause * 1.5)  # at /threaded
    return starlette.responses.PlainTextResponse("ok")

def health(request):  # in a thread, so that anyio imports what the first thread needs
    return starlette.responses.PlainTextResponse("ok")

routes = [starlette.routing.Route(f"/{each.__name__}", each) for each in (awaiting, blocking, threaded, health)]
asgi = starlette.applications.Starlette(routes=routes)
asgi.add_middleware(tracemw.starlette.TraceMiddleware)
"""


@pytest.mark.parametrize(
    ("worker", "app", "mark"),
    [
        ("sync", "wsgi", "# here"),
        ("gthread", "wsgi", "# here"),
        ("gevent", "wsgi", "# here"),
        ("uvicorn_worker.UvicornWorker", "asgi", "# here in a task"),
    ],
)
def test_a_slow_request_in_a_worker_of_gunicorn_tells_the_line_it_is_at(
    backend: Backend, tmp_path: Path, worker: str, app: str, mark: str
) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    port = free_port()
    server = ("-m", "gunicorn", "-k", worker, "--threads", "2" if worker == "gthread" else "1", "--preload")
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
    command = (*server, "--bind", f"127.0.0.1:{port}", f"service:{app}")
    with process(*command, env=environment, cwd=tmp_path) as running:
        wait_until(lambda: running.poll() is not None or body_of(port, "/health") is not None)
        assert body_of(port, "/slow") == b"ok"
        wait_until(lambda: backend.spans and any(span.name == "GET /slow" for span in backend.spans))
    stacks = told(server_span([span for span in backend.spans if span.name == "GET /slow"]), "tracemw.stack")
    (line,) = [number for number, text in enumerate(SERVICE.splitlines(), 1) if text.endswith(mark)]
    assert stacks[0].line == (str(tmp_path / "service.py"), line)


def test_slow_requests_under_trio_tell_the_line_they_are_at(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(TRIO)
    port = free_port()
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
    command = ("-m", "hypercorn", "-k", "trio", "--bind", f"127.0.0.1:{port}", "service:asgi")
    paths = ("/awaiting", "/blocking", "/threaded")
    with process(*command, env=environment, cwd=tmp_path) as running:
        wait_until(lambda: running.poll() is not None or body_of(port, "/health") is not None)
        for path in paths:
            assert body_of(port, path) == b"ok"
        wait_until(lambda: {f"GET {path}" for path in paths} <= set(backend.names))
    for path in paths:
        (span,) = [span for span in backend.spans if span.name == f"GET {path}"]
        (line,) = [number for number, text in enumerate(TRIO.splitlines(), 1) if text.endswith(f"# at {path}")]
        assert told(span, "tracemw.stack")[0].line == (str(tmp_path / "service.py"), line)
