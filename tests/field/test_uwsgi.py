"""uWSGI forks in C, where no hook of Python's runs: its workers trace as if they had been started by themselves."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend import Backend, backend_serving, grpc_backend_serving
from servers import free_port, process, wait_until
from tracemw.spikes import Spike, add_spike

UWSGI = Path(sys.executable).parent / "uwsgi"

SERVICE = (
    "import logging, os, sys, time, flask, tracemw\n"
    "from tracemw.flask import TraceMiddleware\n"
    "logging.basicConfig(stream=sys.stdout)\n"
    "tracing = tracemw.init('shop')\n"
    "with tracemw.span('start'): pass\n"
    "app = flask.Flask(__name__)\n"
    "TraceMiddleware(app)\n"
    "@app.get('/items/<int:n>')\n"
    "def item(n):\n"
    "    time.sleep(0.01)\n"
    "    return str(os.getpid())\n"
)


HOOKED = (
    "import uwsgi\n"
    "calls = []\n"
    "uwsgi.after_req_hook = lambda: calls.append(1)\n" + SERVICE + "tracing.shutdown()\n"
    "tracing = tracemw.init('shop')\n"
    "@app.get('/calls')\n"
    "def hooked(): return f'{os.getpid()} {len(calls)}'\n"
)
"""A service that has a hook of its own after each request, and calls `init` twice."""


@contextmanager
def serving(
    folder: Path, environment: dict[str, str], *options: str, service: str = SERVICE
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run uWSGI with two workers, and give the process and its port."""
    (folder / "service.py").write_text(service)
    port = free_port()
    arguments = ("--http-socket", f"127.0.0.1:{port}", "--module", "service:app", "--disable-logging", *options)
    call = f"import os, sys; os.execv({str(UWSGI)!r}, ['uwsgi', *sys.argv[1:]])"
    two = ("--master", "--processes", "2", "--die-on-term")
    with process("-c", call, *arguments, *two, env=environment, cwd=folder) as running:
        wait_until(lambda: listening(port))
        yield running, port


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


def workers_of(port: int) -> Counter[str]:
    """Ask until both workers have answered several times; return how often each has."""
    workers: Counter[str] = Counter()

    def have_answered() -> bool:  # several at a time, of which one worker alone would not have all
        workers.update(threads.map(lambda _: asked(port, "/items/1"), range(4)))
        return len(workers) == 2 and min(workers.values()) >= 5

    with ThreadPoolExecutor(4) as threads:
        wait_until(have_answered)
    return workers


def is_idle(pid: str) -> bool:
    """Tell whether a worker waits for the next request."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def instances(backend: Backend) -> Counter[str]:
    return Counter(
        pair.value.string_value
        for batch in backend.resource_spans
        for scope in batch.scope_spans
        for _ in scope.spans
        for pair in batch.resource.attributes
        if pair.key == "service.instance.id"
    )


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize(
    "options",
    [("--enable-threads",), ("--threads", "2"), ("--lazy-apps", "--enable-threads"), ()],
    ids=["enable-threads", "threads", "lazy-apps", "no threads"],
)
def test_each_worker_exports_what_it_serves_as_an_instance_of_its_own(
    tmp_path: Path, protocol: str, options: tuple[str, ...]
) -> None:
    with backend_serving() if protocol == "http/protobuf" else grpc_backend_serving() as backend:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        with serving(tmp_path, environment, *options) as (running, port):
            lazily = "--lazy-apps" in options
            workers = workers_of(port)
            if options:
                wait_until(lambda: backend.names.count("GET /items/<int:n>") == sum(workers.values()))
            else:  # what is due is sent after a request
                wait_until(lambda: asked(port, "/items/1") and len(instances(backend)) == 3)
            # What uWSGI's master has recorded, one of its workers sends.
            wait_until(lambda: backend.names.count("start") == (2 if lazily else 1))
            os.killpg(running.pid, signal.SIGKILL)
            output, _ = running.communicate(timeout=60)
        assert len(instances(backend)) == (2 if lazily else 3)
        spans = [(span.trace_id, span.span_id) for span in backend.spans]
        assert len({trace_id for trace_id, _ in spans}) == len({span_id for _, span_id in spans}) == len(spans)
        assert output.count("enable-threads = true") == (not options), output


@pytest.mark.parametrize("options", [("--enable-threads",), ("--lazy-apps", "--enable-threads")], ids=["", "lazy-apps"])
def test_each_worker_exports_the_metrics_of_what_it_serves_and_ends_in_time(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with backend_serving() as backend:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_METRIC_EXPORT_INTERVAL": "50"}
        measuring = SERVICE.replace("init('shop')", "init('shop', metrics=True)").replace(
            "span('start'): pass", "stage('x'): pass"
        )
        with serving(tmp_path, environment, *options, service=measuring) as (running, port):
            workers = workers_of(port)
            wait_until(lambda: sorted(backend.requests_measured.values()) == sorted(workers.values()))
            wait_until(lambda: instances(backend) == backend.requests_measured)
            last = asked(port, "/items/1")
            wait_until(lambda: is_idle(last))
            began = time.monotonic()
            running.send_signal(signal.SIGTERM)
            running.wait(60)
        # A worker that waited for a thread of its master's would take five seconds, the whole time for a shutdown.
        assert time.monotonic() - began < 4.5
        assert sum(backend.requests_measured.values()) == sum(workers.values()) + 1


def test_metrics_are_refused_where_no_thread_would_export_them(tmp_path: Path) -> None:
    with backend_serving() as backend:
        measuring = SERVICE.replace("init('shop')", "init('shop', metrics=True)")
        with serving(tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}, service=measuring) as (running, _):
            os.killpg(running.pid, signal.SIGKILL)
            output, _ = running.communicate(timeout=60)
    assert "no metrics are exported: uWSGI runs no threads; set enable-threads = true" in output


def test_without_threads_a_hook_of_the_application_after_each_request_still_runs_once(tmp_path: Path) -> None:
    counts: dict[str, list[int]] = {}
    with backend_serving() as backend:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "1"}
        with serving(tmp_path, environment, service=HOOKED) as (running, port):
            for _ in range(20):
                pid, count = asked(port, "/calls").split()
                counts.setdefault(pid, []).append(int(count))
            wait_until(lambda: asked(port, "/calls") and backend.names.count("GET /calls") >= 20)
            os.killpg(running.pid, signal.SIGKILL)
    for of_worker in counts.values():
        assert of_worker == list(range(of_worker[0], of_worker[0] + len(of_worker)))


def test_a_spike_reaches_workers_that_were_forked_in_c(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    with backend_serving() as backend:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url,
            "OTEL_TRACES_SAMPLER_ARG": "0",
            "TRACEMW_CONTROL_FILE": str(file),
        }
        with serving(tmp_path, environment, "--enable-threads") as (running, port):
            workers_of(port)
            assert backend.names == []
            add_spike(file, Spike(ratio=1.0, until=time.time() + 60))
            wait_until(lambda: asked(port, "/items/1") and len(instances(backend)) == 2)
            os.killpg(running.pid, signal.SIGKILL)


@pytest.mark.parametrize("options", [("--enable-threads",), ()], ids=["threads", "no threads"])
def test_a_worker_that_ends_delivers_what_waits(tmp_path: Path, options: tuple[str, ...]) -> None:
    with backend_serving() as backend:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        with serving(tmp_path, environment, *options) as (running, port):
            workers = workers_of(port)
            # uWSGI runs no atexit in a worker that has not quite done with its request.
            wait_until(lambda: all(map(is_idle, workers)))
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=60)
        assert Counter(backend.names) == {"start": 1, "GET /items/<int:n>": sum(workers.values())}


def test_a_fork_in_c_in_the_midst_of_a_span_leaves_each_process_its_own() -> None:
    code = (
        "import ctypes, os, random, tracemw\n"
        "random.seed(1)  # as applications do\n"
        "tracing = tracemw.init('shop')\n"
        "from opentelemetry import trace\n"
        "before = trace.get_tracer('x').start_span('before')\n"
        "pid = ctypes.PyDLL(None).fork()\n"
        "if pid == 0: random.seed(1)\n"
        "for _ in range(3):\n"
        "    with tracemw.span('child' if pid == 0 else 'parent'): pass\n"
        "if pid: before.end()\n"
        "assert tracing.shutdown()\n"
        "assert tracing.stats().ended == tracing.stats().exported == (4 if pid else 3)\n"
        "if pid == 0: os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    with backend_serving() as backend:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        with process("-c", code, env=environment) as running:
            output, _ = running.communicate(timeout=60)
        assert (running.returncode, output) == (0, "")
        assert Counter(backend.names) == {"before": 1, "parent": 3, "child": 3}
        assert len(instances(backend)) == 2
        assert len({span.trace_id for span in backend.spans}) == 7
