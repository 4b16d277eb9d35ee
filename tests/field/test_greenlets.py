"""Under gevent and eventlet, patched before tracemw is imported or after, spans arrive and nothing hangs."""

from __future__ import annotations

import http.client
import signal
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from backend import Backend, backend_serving, grpc_backend_serving
from servers import free_port, process, wait_until

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()\n",
    "eventlet": "import eventlet; eventlet.monkey_patch()\n",
}
SERVICE = (
    "import flask, tracemw\n"
    "from tracemw.flask import TraceMiddleware\n"
    "tracing = tracemw.init('shop')\n"
    "with tracemw.span('start'): pass\n"
    "app = flask.Flask(__name__)\n"
    "TraceMiddleware(app)\n"
    "@app.get('/items/<int:n>')\n"
    "def item(n): return 'ok'\n"
    "@app.get('/flush')\n"
    "def flush(): return str(tracing.flush())\n"
)


@pytest.fixture(params=["http/protobuf", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def backend(protocol: str) -> Iterator[Backend]:
    with backend_serving() if protocol == "http/protobuf" else grpc_backend_serving() as serving:
        yield serving


@pytest.fixture
def environment(backend: Backend, protocol: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


NO_GREENDNS = {"EVENTLET_NO_GREENDNS": "yes"}
"""The modules for DNS that eventlet would load bring along what it cannot patch, where h2 or trio is installed."""


def run(code: str, environment: dict[str, str]) -> tuple[int, str]:
    """Run `code` in a fresh interpreter, and return its exit status and its output."""
    with process("-W", "ignore", "-c", code, env={**environment, **NO_GREENDNS}) as running:
        try:
            output, _ = running.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            pytest.fail("it hangs")
    return running.returncode, output


def asked(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def listening(port: int) -> bool:
    try:
        return asked(port, "/health") != ""
    except OSError:
        return False


# What `gunicorn -k eventlet --preload` did, as long as it had such workers.
EVENTLET = (
    "import os, signal, sys\n"
    "from service import app\n"
    "pid = os.fork()\n"
    "if pid:\n"
    "    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))\n"
    "    sys.exit(os.waitpid(pid, 0)[1])\n"
    "import eventlet, eventlet.wsgi\n"
    "eventlet.monkey_patch()\n"
    "eventlet.wsgi.server(eventlet.listen(('127.0.0.1', int(sys.argv[1]))), app, log_output=False)\n"
)
SERVERS = {
    "gunicorn": ("-m", "gunicorn", "-k", "gevent", "service:app", "--bind", "127.0.0.1:{port}"),
    "gunicorn preload": ("-m", "gunicorn", "-k", "gevent", "--preload", "service:app", "--bind", "127.0.0.1:{port}"),
    "eventlet": ("serve.py", "{port}"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_of_greenlets_answers_and_stops_and_loses_no_span(
    backend: Backend, environment: dict[str, str], tmp_path: Path, server: str
) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "serve.py").write_text(EVENTLET)
    port = free_port()
    arguments = [argument.format(port=port) for argument in SERVERS[server]]
    quick = {**environment, **NO_GREENDNS, "OTEL_BSP_SCHEDULE_DELAY": "1"}
    with process("-W", "ignore", *arguments, env=quick, cwd=tmp_path) as running:
        wait_until(lambda: listening(port))
        wait_until(lambda: backend.names == ["start"])
        for number in range(20):
            assert asked(port, f"/items/{number}") == "ok"
            # One batch after the other: the connection is used again.
            wait_until(lambda so_far=number + 1: backend.names.count("GET /items/<int:n>") == so_far)
        assert asked(port, "/flush") == "True"
        running.send_signal(signal.SIGTERM)
        running.wait(60)
    wait_until(lambda: len(backend.names) == 22)
    assert Counter(backend.names) == {"start": 1, "GET /items/<int:n>": 20, "GET /flush": 1}
    assert len(backend.requests) == 22


COUNTING = {
    "gevent": "from gevent.pywsgi import WSGIServer; WSGIServer(address, app, log=None).serve_forever()\n",
    "eventlet": "from eventlet import wsgi; wsgi.server(eventlet.listen(address), app, log_output=False)\n",
}


@pytest.mark.parametrize("patch", PATCHES)
def test_a_body_arrives_whole_through_a_server_that_counts_its_bytes(patch: str) -> None:
    port = free_port()
    code = (
        f"{PATCHES[patch]}"
        "import tracemw.wsgi\n"
        f"address = ('127.0.0.1', {port})\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'in ', b'parts']\n"
        "app = tracemw.wsgi.TraceMiddleware(app)\n"
        f"{COUNTING[patch]}"
    )
    with process("-W", "ignore", "-c", code, env=NO_GREENDNS):
        wait_until(lambda: listening(port), timeout=30)
        assert asked(port, "/") == "in parts"


@pytest.mark.parametrize("when", ["before", "after", "by gunicorn"])
def test_metrics_arrive_from_a_worker_of_greenlets_that_is_forked_after_init(tmp_path: Path, when: str) -> None:
    code = SERVICE.replace("init('shop')", "init('shop', metrics=True)").replace(
        "with tracemw.span('start'): pass\n", ""
    )
    code = {"before": PATCHES["gevent"] + code, "after": code + PATCHES["gevent"], "by gunicorn": code}[when]
    (tmp_path / "service.py").write_text(code)
    port = free_port()
    arguments = [argument.format(port=port) for argument in SERVERS["gunicorn preload"]]
    with backend_serving() as backend:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_METRIC_EXPORT_INTERVAL": "50"}
        with process("-W", "ignore", *arguments, env=environment, cwd=tmp_path) as running:
            wait_until(lambda: listening(port))
            assert asked(port, "/items/1") == "ok"
            wait_until(lambda: list(backend.requests_measured.values()) == [1])
            assert asked(port, "/items/2") == "ok"
            running.send_signal(signal.SIGTERM)
            output, _ = running.communicate(timeout=60)
        assert list(backend.requests_measured.values()) == [2]
    assert "Traceback" not in output


@pytest.mark.parametrize("patch", PATCHES)
def test_a_backend_that_hangs_with_metrics_holds_up_no_greenlet(patch: str) -> None:
    code = (
        f"{PATCHES[patch]}"
        "import time, tracemw\n"
        "tracing = tracemw.init('shop', metrics=True)\n"
        "began = last = time.monotonic()\n"
        "longest = 0\n"
        "while last < began + 1:\n"
        "    time.sleep(0.01)\n"
        "    longest, last = max(longest, time.monotonic() - last), time.monotonic()\n"
        "print(longest)\n"
        "tracing.shutdown(0.2)\n"
    )
    with backend_serving() as backend:
        backend.hang = 3.0
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_METRIC_EXPORT_INTERVAL": "50"}
        status, output = run(code, environment)
        assert backend.attempts
    assert status == 0
    assert float(output) < 2


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("when", ["before tracemw", "before init", "after init", "after a span"])
def test_a_patch_at_any_time_leaves_delivery_and_the_event_loop_alone(
    backend: Backend, environment: dict[str, str], tmp_path: Path, patch: str, when: str
) -> None:
    steps = [
        ("before tracemw", "import tracemw\n"),
        ("before init", "tracing = tracemw.init('shop')\n"),
        ("after init", "with tracemw.span('first'): pass\nassert tracing.flush()\n"),
        ("after a span", ""),
    ]
    code = "".join((PATCHES[patch] if when == at else "") + step for at, step in steps)
    spawn = "import gevent; spawn = gevent.spawn" if patch == "gevent" else "import eventlet; spawn = eventlet.spawn"
    code += (
        f"{spawn}\n"
        "import time\n"
        "ticks, waits = 0, True\n"
        "def tick():\n"
        "    global ticks\n"
        "    while waits:\n"
        "        time.sleep(0.005)\n"
        "        ticks += 1\n"
        "ticking = spawn(tick)\n"
        "for _ in range(3):\n"
        "    with tracemw.span('second'): pass\n"
        "    assert tracing.flush()\n"
        "waits = False\n"
        "assert ticks >= 3, ticks  # greenlets run while one of them flushes\n"
        "with tracemw.span('last'): pass\n"
        "assert tracing.shutdown()\n"
    )
    backend.hang = 0.1
    assert run(code, environment) == (0, "")
    assert backend.names == ["first", *["second"] * 3, "last"]


@pytest.mark.parametrize("patch", PATCHES)
def test_a_signal_in_the_midst_of_the_event_loop_delivers_and_ends_the_process(
    backend: Backend, environment: dict[str, str], patch: str
) -> None:
    code = (
        "import tracemw\n"
        "tracemw.init('shop')\n"
        f"{PATCHES[patch]}"
        "import os, signal, time\n"
        "with tracemw.span('last'): pass\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "while True: time.sleep(0.1)\n"
    )
    status, output = run(code, {**environment, "OTEL_BSP_SCHEDULE_DELAY": "60000"})
    assert (status, output) == (-signal.SIGTERM, "")
    assert backend.names == ["last"]


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_tls_and_the_control_file_do_without_the_event_loop(tmp_path: Path, patch: str, when: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    control = tmp_path / "control.json"
    with backend_serving(tls=server) as backend:
        code = (
            f"{PATCHES[patch] if when == 'before' else ''}"
            "import subprocess, sys, time, tracemw\n"
            "tracing = tracemw.init('shop', sampling=0.0)\n"
            f"{PATCHES[patch] if when == 'after' else ''}"
            "from tracemw.spikes import Spike, add_spike\n"
            "from pathlib import Path\n"
            "until = time.time() + 60\n"
            f"add_spike(Path({str(control)!r}), Spike(ratio=1.0, until=until))\n"
            "end = time.monotonic() + 10\n"
            "while not tracing.stats().queued and time.monotonic() < end:  # and never gives way to others\n"
            "    with tracemw.span('spiked'): pass\n"
            "assert tracing.shutdown()\n"
        )
        status, output = run(
            code,
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url,
                "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem"),
                "OTEL_BSP_SCHEDULE_DELAY": "60000",
                "TRACEMW_CONTROL_FILE": str(control),
            },
        )
        assert (status, output) == (0, "")
        assert set(backend.names) == {"spiked"}
