"""Spans that are open when their process ends arrive, as errors that say why."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend import Backend, backend_serving
from servers import free_port, process, wait_until
from test_bootstrap import run

SERVICE = (
    "import os, time, flask, tracemw\n"
    "from tracemw.flask import TraceMiddleware\n"
    "tracemw.init('shop')\n"
    "app = flask.Flask(__name__)\n"
    "TraceMiddleware(app)\n"
    "@app.get('/hang')\n"
    "def hang():\n"
    "    with tracemw.span('waiting'):\n"
    "        open('hangs', 'w').write(str(os.getpid()))\n"
    "        while True:\n"
    "            if 'GTHREAD' in os.environ: time.sleep(0.01)\n"
    "@app.get('/slow')\n"
    "def slow():\n"
    "    with tracemw.span('finishing'):\n"
    "        open('hangs', 'w').write(str(os.getpid()))\n"
    "        time.sleep(1)\n"
    "    return 'ok'\n"
)


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


def attributes(span: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in span.attributes}


def ask(port: int, path: str) -> threading.Thread:
    """Ask from a thread, which does not mind when there is no answer."""

    def call() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()

    thread = threading.Thread(target=call)
    thread.start()
    return thread


def listening(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except OSError:
        return False
    else:
        return True
    finally:
        connection.close()


def accepting(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("ratio", ["1", "0"], ids=["sampled", "held"])
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_what_hangs_when_gunicorn_aborts_a_worker_is_an_error_that_names_the_signal(
    backend: Backend, tmp_path: Path, worker: str, preload: tuple[str, ...], ratio: str
) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    port, hangs = free_port(), tmp_path / "hangs"
    options = (
        "-k",
        worker,
        "--threads",
        "2" if worker == "gthread" else "1",
        "--timeout",
        "2",
        *preload,
        "--graceful-timeout",
        "1",
    )
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_TRACES_SAMPLER_ARG": ratio}
    if worker == "gthread":
        environment["GTHREAD"] = "1"
    server = ("-m", "gunicorn", *options, "--bind", f"127.0.0.1:{port}", "service:app")
    with process(*server, env=environment, cwd=tmp_path) as running:
        wait_until(lambda: listening(port))
        asking = ask(port, "/hang")
        wait_until(lambda: hangs.exists() and hangs.read_text())
        if worker == "gthread":  # whose main thread goes on telling gunicorn that all is well
            os.kill(int(hangs.read_text()), signal.SIGABRT)
        wait_until(lambda: len(backend.spans) >= 2)
        running.send_signal(signal.SIGTERM)
        running.wait(60)
        asking.join()
    spans = {span.name: span for span in backend.spans}
    assert set(spans) == {"waiting", "GET /hang"}
    assert attributes(spans["GET /hang"])["http.route"] == "/hang"
    for span in spans.values():
        assert span.status.code == span.status.STATUS_CODE_ERROR
        assert attributes(span)["error.type"] == "SIGABRT"
    events = [event for name, span in spans.items() if name != "waiting" for event in span.events]
    stacks = [event for event in events if event.name == "tracemw.stack"]
    assert stacks  # one of the end, and one of each second, two seconds and so on before
    for stack in stacks:
        at = {pair.key: pair.value.string_value or pair.value.int_value for pair in stack.attributes}
        assert (at["code.file.path"], at["code.function.name"]) == (str(tmp_path / "service.py"), "hang")
        line = SERVICE.splitlines()[int(at["code.line.number"]) - 1].strip()
        assert line.startswith(("while True", "if 'GTHREAD'"))


HANDLER = (
    "import os, time, tracemw\n"
    "tracemw.init('shop')\n"
    "async def hang(*given, **named):\n"
    "    open('hangs', 'w').write(str(os.getpid()))\n"
    "    while True: time.sleep(0.01)\n"
)
APPLICATIONS = {
    "fastapi": (
        "import fastapi\n"
        "from tracemw.fastapi import TraceMiddleware\n"
        "app, items = fastapi.FastAPI(), fastapi.APIRouter()\n"
        "@items.get('/{item}')\n"
        "async def item(item: int): await hang()\n"
        "app.include_router(items, prefix='/items')\n"
        "app.add_middleware(TraceMiddleware)\n"
    ),
    "starlette": (
        "from starlette.applications import Starlette\n"
        "from starlette.routing import Mount, Route\n"
        "from tracemw.starlette import TraceMiddleware\n"
        "app = Starlette(routes=[Mount('/items', routes=[Route('/{item}', hang)])])\n"
        "app.add_middleware(TraceMiddleware)\n"
    ),
    "litestar": (
        "import litestar\n"
        "from tracemw.litestar import TraceMiddleware\n"
        "@litestar.get('/items/{item:int}')\n"
        "async def item(item: int) -> None: await hang()\n"
        "app = litestar.Litestar([item], openapi_config=None, logging_config=None)\n"
        "TraceMiddleware(app)\n"
    ),
    "falcon": (
        "import falcon.asgi\n"
        "from tracemw.falcon import TraceMiddleware\n"
        "class Item: on_get = hang\n"
        "app = falcon.asgi.App()\n"
        "app.add_route('/items/{item}', Item())\n"
        "TraceMiddleware(app)\n"
    ),
    "bare": (
        "from tracemw.asgi import TraceMiddleware\n"
        "def named(request, route): return f'{request.method} items'\n"
        "app = TraceMiddleware(hang, span_name=named)\n"
    ),
}


@pytest.mark.parametrize("framework", APPLICATIONS)
def test_a_request_that_the_process_dies_with_has_its_name_and_its_route(
    backend: Backend, tmp_path: Path, framework: str
) -> None:
    if framework == "fastapi":
        pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    (tmp_path / "service.py").write_text(HANDLER + APPLICATIONS[framework])
    port, hangs = free_port(), tmp_path / "hangs"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}
    server = ("-m", "uvicorn", "--lifespan", "off", "--port", str(port), "service:app")
    with process(*server, env=environment, cwd=tmp_path) as running:
        wait_until(lambda: accepting(port))
        asking = ask(port, "/items/7")
        wait_until(lambda: hangs.exists() and hangs.read_text())
        running.send_signal(signal.SIGABRT)
        running.wait(60)
        asking.join()
    (span,) = backend.spans
    told = attributes(span)
    route = None if framework == "bare" else "/items/{item}"
    assert (span.name, told.get("http.route")) == (f"GET {route or 'items'}", route)
    assert told["error.type"] == "SIGABRT"


def test_at_sigterm_a_server_finishes_its_requests_and_their_spans(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    port, hangs = free_port(), tmp_path / "hangs"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}
    server = ("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "service:app")
    with process(*server, env=environment, cwd=tmp_path) as running:
        wait_until(lambda: listening(port))
        asking = ask(port, "/slow")
        wait_until(lambda: hangs.exists() and hangs.read_text())
        running.send_signal(signal.SIGTERM)
        running.wait(60)
        asking.join()
    assert sorted(backend.names) == ["GET /slow", "finishing"]
    assert not [span for span in backend.spans if "error.type" in attributes(span)]


@pytest.mark.parametrize("ratio", ["1", "0"], ids=["sampled", "held"])
@pytest.mark.parametrize(
    ("end", "error_type"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(10)", "SIGTERM"),
        ("os.kill(os.getpid(), signal.SIGABRT); time.sleep(10)", "SIGABRT"),
        ("sys.exit()", "process_exit"),
    ],
)
def test_what_is_open_at_the_end_of_a_process_is_an_error_that_names_it(
    backend: Backend, end: str, error_type: str, ratio: str
) -> None:
    ended = run(
        "import os, signal, sys, threading, time, tracemw\n"
        "from opentelemetry import trace\n"
        "tracemw.init('shop')\n"
        "started = threading.Event()\n"
        "def work():\n"
        "    with tracemw.span('outer'), tracemw.span('inner'):\n"
        "        started.set()\n"
        "        time.sleep(60)\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "started.wait()\n"
        "with tracemw.span('done'): pass\n"
        "left = trace.get_tracer('x').start_span('left open')\n"
        f"{end}\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        OTEL_TRACES_SAMPLER_ARG=ratio,
    )
    assert ended.stdout == ""
    assert ended.returncode == (0 if error_type == "process_exit" else -getattr(signal, error_type))
    told = {span.name: attributes(span).get("error.type") for span in backend.spans}
    named = dict.fromkeys(("outer", "inner", "left open"), error_type)
    assert told == (named | {"done": None} if ratio == "1" else named)


def test_a_child_ends_what_it_has_begun_and_leaves_its_parents_spans_to_the_parent(backend: Backend) -> None:
    ended = run(
        "import multiprocessing, tracemw\n"
        "from opentelemetry import trace\n"
        "tracemw.init('shop')\n"
        "def work():\n"
        "    global left\n"
        "    left = trace.get_tracer('x').start_span('left open')\n"
        "with tracemw.span('parent'):\n"
        "    child = multiprocessing.get_context('fork').Process(target=work)\n"
        "    child.start()\n"
        "    child.join()\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        PYTHONWARNINGS="ignore",
    )
    assert ended.returncode == 0, ended.stdout
    told = sorted((span.name, attributes(span).get("error.type")) for span in backend.spans)
    assert told == [("left open", "process_exit"), ("parent", None)]


def test_to_look_for_open_spans_breaks_no_tuple_that_another_thread_is_making() -> None:
    found = run(
        "import sys, threading\n"
        "from tracemw._recording import end_unfinished\n"
        "sys.setswitchinterval(1e-6)\n"
        "broken, stop = [], threading.Event()\n"
        "def build():\n"
        "    while not stop.is_set():\n"
        "        try:\n"
        "            tuple(number for number in range(1000))\n"
        "        except SystemError as error:\n"
        "            broken.append(error)\n"
        "threads = [threading.Thread(target=build) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "for _ in range(30): end_unfinished('process_exit')\n"
        "stop.set()\n"
        "for thread in threads: thread.join()\n"
        "print(broken)\n"
    )
    assert found.stdout == "[]\n"
