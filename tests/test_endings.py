"""The end of a process delivers what is queued, however the process ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import Backend, backend_serving
from servers import free_port, process, wait_until
from test_bootstrap import load, run


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a traced Flask service in `service.py`."""
    (tmp_path / "service.py").write_text(
        "import flask, tracemw\n"
        "from tracemw.flask import TraceMiddleware\n"
        "tracemw.init('shop')\n"
        "app = flask.Flask(__name__)\n"
        "TraceMiddleware(app)\n"
        "@app.get('/items/<int:n>')\n"
        "def item(n): return 'ok'\n"
    )
    return tmp_path


def test_sigterm_delivers_what_is_queued_and_ends_the_process_by_that_signal(backend: Backend) -> None:
    code = (
        "import time, tracemw\n"
        "tracemw.init('shop')\n"
        "for n in range(100):\n"
        "    with tracemw.span(str(n)): pass\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.1)\n"  # a signal just before a sleep does not cut it short
    )
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with process("-c", code, env=environment) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == -signal.SIGTERM
    assert len(backend.names) == 100


def test_a_sigterm_while_the_process_ends_lets_it_deliver_first(backend: Backend) -> None:
    backend.hang = 1.0
    code = "import tracemw\ntracemw.init('shop')\nwith tracemw.span('last'): pass\n"
    with process("-c", code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
        wait_until(lambda: backend.attempts)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == -signal.SIGTERM
    assert backend.names == ["last"]


def test_a_sigterm_handler_of_the_application_stays() -> None:
    ended = run(
        "import signal, tracemw\n"
        "def mine(*_): ...\n"
        "signal.signal(signal.SIGTERM, mine)\n"
        "tracemw.init('shop')\n"
        "assert signal.getsignal(signal.SIGTERM) is mine\n"
    )
    assert (ended.returncode, ended.stdout) == (0, "")


def test_a_hanging_backend_holds_the_end_of_the_process_no_longer_than_its_timeout(backend: Backend) -> None:
    backend.hang = 30
    started = time.monotonic()
    ended = run(
        "import tracemw\ntracemw.init('shop')\nwith tracemw.span('lost'): pass\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
    )
    assert ended.returncode == 0
    assert 4.5 < time.monotonic() - started < 9


def test_a_service_under_uvicorn_loses_no_span_to_sigterm(backend: Backend) -> None:
    port = free_port()
    code = (
        "import tracemw, uvicorn\n"
        "from starlette.applications import Starlette\n"
        "from starlette.responses import PlainTextResponse\n"
        "from starlette.routing import Route\n"
        "from tracemw.starlette import TraceMiddleware\n"
        "async def home(request): return PlainTextResponse('ok')\n"
        "def make():\n"
        "    tracemw.init('shop')\n"
        "    app = Starlette(routes=[Route('/items/{n}', home)])\n"
        "    app.add_middleware(TraceMiddleware)\n"
        "    return app\n"
        f"uvicorn.run('__main__:make', factory=True, port={port}, log_level='error')\n"
    )
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with process("-c", code, env=environment) as running:
        load(port, 50)
        running.send_signal(signal.SIGTERM)
        running.wait(60)
    assert backend.names == ["GET /items/{n}"] * 50


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_service_under_gunicorn_loses_no_span_to_sigterm(
    backend: Backend, preload: tuple[str, ...], folder: Path
) -> None:
    port = free_port()
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    arguments = ("-m", "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}", *preload, "service:app")
    with process(*arguments, env=environment, cwd=folder) as running:
        load(port, 50)
        running.send_signal(signal.SIGTERM)
        running.wait(60)
    assert backend.names == ["GET /items/<int:n>"] * 50


def test_a_backend_that_dies_under_traffic_and_comes_back_changes_no_response(folder: Path) -> None:
    port, backend_port = free_port(), free_port()
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{backend_port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "500",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    arguments = ("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "service:app")
    with process(*arguments, env=environment, cwd=folder) as running:
        with backend_serving(backend_port) as first:
            load(port, 50)
            wait_until(lambda: len(first.spans) == 50)
        load(port, 50)
        with backend_serving(backend_port) as second:

            def arrive() -> bool:  # not the first ones, if the outage was long enough to open the breaker
                load(port, 10)
                return len(second.spans) >= 50

            wait_until(arrive)
            running.send_signal(signal.SIGTERM)
            output, _ = running.communicate(timeout=60)
    said = [line for line in output.splitlines() if "spans" in line]
    assert len(said) <= 2, "\n".join(said)
