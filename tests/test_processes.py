"""Every span that a process ends is at the backend, or in its numbers: forks, workers, threads, and all their ends."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from backend import Backend, backend_serving, bodies_from, grpc_backend_serving, nobody_serving, sockets_serving
from servers import free_port, process, wait_until
from test_bootstrap import load, run
from tracemw.spikes import Spike, add_spike

SERVING: dict[str, Callable[[], AbstractContextManager[Backend]]] = {
    "http/protobuf": backend_serving,
    "grpc": grpc_backend_serving,
}


@pytest.fixture(params=SERVING)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def backend(protocol: str) -> Iterator[Backend]:
    with SERVING[protocol]() as serving:
        yield serving


@pytest.fixture
def environment(backend: Backend, protocol: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


@pytest.fixture
def slow(environment: dict[str, str]) -> dict[str, str]:
    """An environment in which nothing is sent before the end."""
    return {**environment, "OTEL_BSP_SCHEDULE_DELAY": "60000"}


def test_forks_while_spans_are_exported_lose_none(backend: Backend, environment: dict[str, str]) -> None:
    ended = run(
        "import os, threading, tracemw\n"
        "tracing = tracemw.init('shop')\n"
        "go_on = True\n"
        "def work():\n"
        "    while go_on:\n"
        "        with tracemw.span('parent'): pass\n"
        "        gate.wait(0.0005)\n"
        "gate = threading.Event()\n"
        "threads = [threading.Thread(target=work) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "children = []\n"
        "for _ in range(20):\n"
        "    gate.wait(0.01)\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        for _ in range(5):\n"
        "            with tracemw.span('child'): pass\n"
        "        delivered = tracing.shutdown()\n"
        "        os._exit(not (delivered and tracing.stats().ended == tracing.stats().exported == 5))\n"
        "    children.append(child)\n"
        "codes = [os.waitpid(child, 0)[1] for child in children]\n"
        "go_on = False\n"
        "for thread in threads: thread.join()\n"
        "assert tracing.shutdown()\n"
        "assert not any(codes), codes\n"
        "print(tracing.stats().ended)\n",
        **environment,
        OTEL_BSP_SCHEDULE_DELAY="1",
    )
    assert ended.returncode == 0, ended.stdout
    assert Counter(backend.names) == {"parent": int(ended.stdout), "child": 100}


def test_the_worker_loads_no_module_which_a_fork_in_the_midst_would_lock_for_the_child(
    environment: dict[str, str],
) -> None:
    ended = run(
        "import sys, tracemw\n"
        "tracing = tracemw.init('shop')\n"
        "before = set(sys.modules)\n"
        "with tracemw.span('x'): pass\n"
        "assert tracing.flush()\n"
        "print(*sorted(set(sys.modules) - before))\n",
        **environment,
    )
    assert (ended.returncode, ended.stdout) == (0, "\n")


def test_a_fork_while_a_connection_is_being_closed_gives_a_child_that_works() -> None:
    taken: list[bytes] = []

    def take_one(connection: socket.socket) -> None:
        taken.append(next(bodies_from(connection)))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with sockets_serving(take_one) as url:
        ended = run(
            "import os, time, tracemw\n"
            "from tracemw._export import connection\n"
            "close, is_closed, goes_on = connection._Wire.close, False, False\n"
            "def close_slowly(self):\n"
            "    global is_closed\n"
            "    close(self)\n"
            "    is_closed = True\n"
            "    while not goes_on: time.sleep(0.01)\n"
            "connection._Wire.close = close_slowly\n"
            "tracing = tracemw.init('shop')\n"
            "with tracemw.span('parent'): pass\n"
            "while not is_closed: time.sleep(0.01)\n"
            "child = os.fork()\n"
            "goes_on = True\n"
            "if child == 0:\n"
            "    with tracemw.span('child'): pass\n"
            "    os._exit(not (tracing.shutdown() and tracing.stats().exported == tracing.stats().ended == 1))\n"
            "assert os.waitpid(child, 0)[1] == 0\n"
            "assert tracing.shutdown() and tracing.stats().exported == 1\n",
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            OTEL_BSP_SCHEDULE_DELAY="1",
        )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ["child" if b"child" in one else "parent" for one in taken] == ["parent", "child"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_child_keeps_no_connection_of_its_parent(scheme: str) -> None:
    """Not one that is in use, and not one over which the parent is still in the handshake."""
    is_connected = threading.Event()

    def say_nothing(connection: socket.socket) -> None:
        while connection.recv(65536):
            is_connected.set()

    with sockets_serving(say_nothing) as url:
        ended = run(
            "import os, tracemw\n"
            "def sockets():\n"
            "    files = [f'/proc/self/fd/{number}' for number in os.listdir('/proc/self/fd')]\n"
            "    return [one for one in files if os.path.lexists(one) and os.readlink(one).startswith('socket')]\n"
            "tracing = tracemw.init('shop')\n"
            "with tracemw.span('parent'): pass\n"
            "tracing.flush(0.5)\n"
            "assert sockets()\n"
            "child = os.fork()\n"
            "if child == 0: os._exit(len(sockets()))\n"
            "assert os.waitpid(child, 0)[1] == 0\n"
            "assert sockets()\n"
            "os._exit(0)\n",
            OTEL_EXPORTER_OTLP_ENDPOINT=url.replace("http", scheme),
        )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert is_connected.is_set()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_deliver_their_spans(
    backend: Backend, slow: dict[str, str], tmp_path: Path, method: str
) -> None:
    (tmp_path / "job.py").write_text(
        "import multiprocessing, tracemw\n"
        "def work(method):\n"
        "    if method != 'fork': tracemw.init('shop')\n"
        "    for _ in range(5):\n"
        "        with tracemw.span('child'): pass\n"
        "if __name__ == '__main__':\n"
        "    tracemw.init('shop')\n"
        "    with tracemw.span('parent'): pass\n"
        f"    context = multiprocessing.get_context('{method}')\n"
        f"    children = [context.Process(target=work, args=('{method}',)) for _ in range(3)]\n"
        "    for child in children: child.start()\n"
        "    for child in children: child.join()\n"
        "    assert [child.exitcode for child in children] == [0, 0, 0]\n"
    )
    with process("job.py", env=slow, cwd=tmp_path) as running:
        output, _ = running.communicate(timeout=60)
    assert (running.returncode, output) == (0, "")
    assert Counter(backend.names) == {"parent": 1, "child": 15}


@pytest.mark.parametrize(
    ("method", "imported"), [("fork", "before"), ("fork", "after"), ("spawn", "before"), ("forkserver", "after")]
)
def test_children_of_billiard_deliver_their_spans(
    backend: Backend, slow: dict[str, str], tmp_path: Path, method: str, imported: str
) -> None:
    (tmp_path / "job.py").write_text(
        f"{'import billiard' if imported == 'before' else ''}\n"
        "import tracemw\n"
        "def work(method):\n"
        "    if method != 'fork': tracemw.init('shop')\n"
        "    with tracemw.span('child'): pass\n"
        "if __name__ == '__main__':\n"
        "    tracemw.init('shop')\n"
        "    with tracemw.span('parent'): pass\n"
        "    import billiard\n"
        f"    context = billiard.get_context('{method}')\n"
        f"    children = [context.Process(target=work, args=('{method}',)) for _ in range(2)]\n"
        "    for child in children: child.start()\n"
        "    for child in children: child.join()\n"
        "    assert [child.exitcode for child in children] == [0, 0]\n"
    )
    with process("job.py", env=slow, cwd=tmp_path) as running:
        output, _ = running.communicate(timeout=60)
    assert (running.returncode, output) == (0, "")
    assert Counter(backend.names) == {"parent": 1, "child": 2}


@pytest.mark.parametrize("place", ["the parent", "each child"])
@pytest.mark.parametrize("library", ["multiprocessing", "billiard"])
def test_a_forked_child_delivers_its_spans_wherever_init_was_called(
    backend: Backend, slow: dict[str, str], library: str, place: str
) -> None:
    ended = run(
        f"import {library}, tracemw\n"
        f"if '{place}' == 'the parent': tracemw.init('shop')\n"
        "def work():\n"
        f"    if '{place}' != 'the parent': tracemw.init('shop')\n"
        "    with tracemw.span('child'): pass\n"
        f"child = {library}.get_context('fork').Process(target=work)\n"
        "child.start()\n"
        "child.join()\n"
        "assert child.exitcode == 0\n",
        **slow,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert backend.names == ["child"]


CELERY = (
    "import celery, sys, tracemw\n"
    "from celery.signals import worker_process_init, worker_ready\n"
    "place, tasks, tasks_of_a_child = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])\n"
    "app = celery.Celery('jobs', broker='memory://')\n"
    "app.conf.update(worker_enable_remote_control=False, worker_max_tasks_per_child=tasks_of_a_child)\n"
    "def init(**_): tracemw.init('jobs')\n"
    "init() if place == 'module' else worker_process_init.connect(init)\n"
    "@app.task(name='work')\n"
    "def work(number):\n"
    "    with tracemw.span('task'): pass\n"
    "    with open('done', 'a') as done: done.write('.')\n"
    "@worker_ready.connect\n"
    "def send(**_):\n"
    "    for number in range(tasks): work.delay(number)\n"
    "alone = ['--without-gossip', '--without-mingle', '--without-heartbeat']\n"
    "app.worker_main(['worker', '--concurrency=1', *alone])\n"
)


@pytest.mark.parametrize("place", ["module", "process"])
def test_a_process_of_celery_that_is_replaced_delivers_its_spans(tmp_path: Path, place: str) -> None:
    with backend_serving() as backend:
        slow = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        with process("-c", CELERY, place, "2", "2", env=slow, cwd=tmp_path) as running:
            wait_until(lambda: len(backend.names) == 2)
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=60)
        assert backend.names == ["task"] * 2


@pytest.mark.parametrize("place", ["module", "process"])
def test_a_process_of_celery_delivers_its_spans_when_the_worker_ends(tmp_path: Path, place: str) -> None:
    """A process that the worker began with. Celery has the kernel kill any later one with the thread that forked it."""
    done = tmp_path / "done"
    with backend_serving() as backend:
        slow = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        with process("-c", CELERY, place, "3", "100", env=slow, cwd=tmp_path) as running:
            wait_until(lambda: done.exists() and len(done.read_text()) == 3)
            assert backend.names == []
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=60)
        assert backend.names == ["task"] * 3


def test_a_child_that_is_terminated_delivers_its_spans(backend: Backend, slow: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import multiprocessing, time, tracemw\n"
        "def work(ready):\n"
        "    with tracemw.span('child'): pass\n"
        "    ready.set()\n"
        "    while True: time.sleep(0.1)\n"
        "if __name__ == '__main__':\n"
        "    tracemw.init('shop')\n"
        "    context = multiprocessing.get_context('fork')\n"
        "    ready = context.Event()\n"
        "    child = context.Process(target=work, args=(ready,))\n"
        "    child.start()\n"
        "    ready.wait()\n"
        "    child.terminate()\n"
        "    child.join()\n"
    )
    with process("job.py", env=slow, cwd=tmp_path) as running:
        output, _ = running.communicate(timeout=60)
    assert (running.returncode, output) == (0, "")
    assert backend.names == ["child"]


@pytest.mark.parametrize(
    "fault",
    [
        "import logging\n"
        "def fail(record): raise RuntimeError('a filter')\n"
        "logging.getLogger('tracemw').addFilter(fail)\n",
        "from tracemw._export.metrics_exporter import MetricsExporter\n"
        "def fail(*_, **__): raise RuntimeError('an exporter of metrics')\n"
        "MetricsExporter.shutdown = fail\n",
    ],
    ids=["log", "metrics"],
)
def test_sigterm_ends_a_process_in_which_something_raises(fault: str) -> None:
    ended = run(
        "import os, signal, time, tracemw\n"
        f"{fault}"
        "tracemw.init('shop', metrics=True)\n"
        "with tracemw.span('lost'): pass\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(10)\n"
        "except RuntimeError: pass\n"
        "print('goes on')\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
    )
    assert ended.returncode == -signal.SIGTERM, ended.stdout
    assert "goes on" not in ended.stdout


def test_no_time_is_too_long(backend: Backend, environment: dict[str, str]) -> None:
    ended = run(
        "import tracemw\n"
        "tracing = tracemw.init('shop', metrics=True)\n"
        "with tracemw.span('one'): pass\n"
        "assert tracing.flush(float('inf'))\n"
        "with tracemw.span('two'): pass\n"
        "assert tracing.shutdown(float('inf'))\n",
        **environment,
        OTEL_BSP_SCHEDULE_DELAY="99999999999999",
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert backend.names == ["one", "two"]


WITHOUT_DESCRIPTORS = (
    "import os, resource, time, tracemw\n"
    "from tracemw._export import Delivery\n"
    "Delivery.__init__.__kwdefaults__['interval'] = 0.05\n"
    "def eventually(condition, seconds=60):\n"
    "    deadline = time.monotonic() + seconds\n"
    "    while not (found := condition()) and time.monotonic() < deadline: time.sleep(0.01)\n"
    "    return found\n"
    "def exhaust():\n"
    "    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))\n"
    "    taken = []\n"
    "    try:\n"
    "        while True: taken.append(os.open('/dev/null', os.O_RDONLY))\n"
    "    except OSError: return taken\n"
    "def sent(name):\n"
    "    with tracemw.span(name): pass\n"
    "    return tracing.flush()\n"
    "def threads(): return len(os.listdir('/proc/self/task'))\n"
    "tracing = tracemw.init('shop')\n"
)


@pytest.mark.parametrize("state", ["before the first export", "between two exports"])
def test_export_without_a_descriptor_left_fails_and_goes_on_once_there_are_some(protocol: str, state: str) -> None:
    """grpc aborts the process when it starts without them, as it would whenever its last channel has been closed."""
    port = free_port()
    ended = run(
        WITHOUT_DESCRIPTORS + f"if {state!r} != 'before the first export':\n"
        "    assert not sent('nobody is there')\n"
        "    eventually(lambda: threads() <= 2, seconds=2)  # grpc's end, if it ends\n"
        "taken = exhaust()\n"
        "for number in range(5):\n"
        "    assert not sent('lost')\n"
        "    time.sleep(0.1)\n"
        "assert 'Too many open files' in tracing.stats().last_error\n"
        "for each in taken: os.close(each)\n"
        "print('goes on', flush=True)\n"
        "eventually(lambda: not sent('lost') and 'open files' not in tracing.stats().last_error)\n"
        "assert 'open files' not in tracing.stats().last_error\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_TIMEOUT="500",
    )
    assert ended.returncode == 0, ended.stdout
    assert "goes on" in ended.stdout
    assert "ulimit -n" in ended.stdout
    with SERVING[protocol]() as backend:
        ended = run(
            WITHOUT_DESCRIPTORS + f"if {state!r} != 'before the first export': assert sent('first')\n"
            "taken = exhaust()\n"
            "sent('perhaps')  # over a connection that is there\n"
            "for each in taken: os.close(each)\n"
            "assert eventually(lambda: sent('last'))\n",
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_TIMEOUT="500",
        )
        assert ended.returncode == 0, ended.stdout
        assert backend.names[-1] == "last"


def test_a_control_file_that_comes_while_no_descriptor_is_left_is_read_once_there_are_some(tmp_path: Path) -> None:
    add_spike(tmp_path / "prepared", Spike(ratio=1.0, until=time.time() + 60))
    ended = run(
        WITHOUT_DESCRIPTORS + f"folder = {str(tmp_path)!r}\n"
        "def sampled():\n"
        "    with tracemw.span('x') as span: return span.is_recording()\n"
        "taken = exhaust()\n"
        "os.rename(f'{folder}/prepared', f'{folder}/control.json')\n"
        "time.sleep(2 * 0.5)  # for two looks at it\n"
        "assert not sampled()\n"
        "for each in taken: os.close(each)\n"
        "assert eventually(sampled)\n",
        OTEL_TRACES_EXPORTER="none",
        OTEL_TRACES_SAMPLER_ARG="0",
        TRACEMW_CONTROL_FILE=str(tmp_path / "control.json"),
    )
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.count("Too many open files") == 1


def test_threads_that_outlive_the_main_thread_deliver_their_spans(backend: Backend, slow: dict[str, str]) -> None:
    ended = run(
        "import threading, time, tracemw\n"
        "tracemw.init('shop')\n"
        "def work():\n"
        "    threading.main_thread().join()\n"
        "    for _ in range(5):\n"
        "        with tracemw.span('late'): pass\n"
        "for _ in range(3): threading.Thread(target=work).start()\n",
        **slow,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert backend.names == ["late"] * 15


def test_a_span_that_ends_in_a_function_of_atexit_is_delivered(backend: Backend, slow: dict[str, str]) -> None:
    ended = run(
        "import atexit, tracemw\n"
        "tracemw.init('shop')\n"
        "def work():\n"
        "    with tracemw.span('last'): pass\n"
        "atexit.register(work)\n",
        **slow,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert backend.names == ["last"]


def test_daemon_threads_that_go_on_ending_spans_do_not_hold_up_the_end(
    backend: Backend, environment: dict[str, str]
) -> None:
    ended = run(
        "import threading, time, tracemw\n"
        "tracing = tracemw.init('shop')\n"
        "def work():\n"
        "    while True:\n"
        "        with tracemw.span('x'): pass\n"
        "        time.sleep(0.001)\n"
        "for _ in range(3): threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.3)\n"
        "began = time.monotonic()\n"
        "assert tracing.shutdown()\n"
        "assert time.monotonic() - began < 4\n"
        "print(tracing.stats().exported)\n",
        **environment,
    )
    assert ended.returncode == 0, ended.stdout
    assert len(backend.names) == int(ended.stdout)


SERVICE = (
    "import os, tracemw\n"
    "from starlette.applications import Starlette\n"
    "from starlette.responses import JSONResponse\n"
    "from starlette.routing import Route\n"
    "from tracemw.starlette import TraceMiddleware\n"
    "tracemw.init('shop')\n"
    "async def item(request): return JSONResponse(os.getpid())\n"
    "app = Starlette(routes=[Route('/items/{n}', item)])\n"
    "app.add_middleware(TraceMiddleware)\n"
)


@pytest.mark.parametrize("options", [("--workers", "2"), ("--reload",)], ids=["workers", "reload"])
def test_processes_that_uvicorn_starts_lose_no_span_to_sigterm(
    backend: Backend, slow: dict[str, str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    port = free_port()
    arguments = ("-m", "uvicorn", "--port", str(port), "--log-level", "error", *options, "service:app")
    with process(*arguments, env=slow, cwd=tmp_path) as running:
        load(port, 50)
        running.send_signal(signal.SIGTERM)
        running.wait(60)
    wait_until(lambda: len(backend.names) >= 50)
    assert backend.names == ["GET /items/{n}"] * 50


def test_a_reload_loses_no_span(backend: Backend, slow: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    port = free_port()
    arguments = ("-m", "uvicorn", "--port", str(port), "--log-level", "error", "--reload", "service:app")
    with process(*arguments, env=slow, cwd=tmp_path) as running:
        load(port, 20)
        # A change before the reloader's first look is none to it: on a busy machine, the service may be quicker.
        for number in range(4):
            (tmp_path / "service.py").write_text(SERVICE + "# changed\n" * (number + 1))
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: len(backend.names) == 20, timeout=15)
                break
        load(port, 20)
        running.send_signal(signal.SIGTERM)
        running.wait(60)
    wait_until(lambda: len(backend.names) >= 40)
    assert backend.names == ["GET /items/{n}"] * 40


def test_gunicorn_with_preload_and_workers_that_are_replaced_loses_no_span(
    backend: Backend, slow: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(
        "import os, flask, tracemw\n"
        "from tracemw.flask import TraceMiddleware\n"
        "tracemw.init('shop')\n"
        "with tracemw.span('preload'): pass\n"
        "app = flask.Flask(__name__)\n"
        "TraceMiddleware(app)\n"
        "@app.get('/items/<int:n>')\n"
        "def item(n): return str(os.getpid())\n"
    )
    (tmp_path / "gunicorn.conf.py").write_text(
        "preload_app, workers, max_requests = True, 2, 20\n"
        "def post_worker_init(worker): open('ready', 'a').write('.')\n"
    )
    port, ready = free_port(), tmp_path / "ready"
    with process("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "service:app", env=slow, cwd=tmp_path) as running:
        wait_until(lambda: ready.exists() and len(ready.read_text()) == 2)
        served = Counter(asked(port, f"/items/{number}") for number in range(100))
        replaced = sum(number == 20 for number in served.values())
        # A signal that comes before a new worker has its handlers is lost on it: gunicorn then waits for half a minute.
        wait_until(lambda: len(ready.read_text()) == 2 + replaced)
        running.send_signal(signal.SIGTERM)
        running.wait(60)
    assert replaced >= 3
    assert Counter(backend.names) == {"preload": 1, "GET /items/<int:n>": 100}


def asked(port: int, path: str) -> str:
    """Return the body of an answer; between two workers, connections wait."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as response:
        return str(response.read(), "ascii")


def test_no_backend_and_no_end_of_a_process_costs_more_than_its_timeout(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    port = free_port()
    arguments = ("-m", "uvicorn", "--port", str(port), "service:app")
    with (
        nobody_serving() as url,
        process(*arguments, env={"OTEL_EXPORTER_OTLP_ENDPOINT": url}, cwd=tmp_path) as running,
    ):
        load(port, 5)
        began = time.monotonic()
        running.send_signal(signal.SIGTERM)
        output, _ = running.communicate(timeout=60)
        assert 4.5 < time.monotonic() - began < 9  # both the application's end and that of the process: not ten
    assert len(re.findall(r"spans do not reach", output)) <= 1, output


def test_the_end_of_a_server_and_that_of_its_process_share_their_time(tmp_path: Path) -> None:
    def never_answer(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    # Set up before the server is, tracemw has SIGTERM to handle once the server has.
    (tmp_path / "service.py").write_text(SERVICE + "import sys, uvicorn\nuvicorn.run(app, port=int(sys.argv[1]))\n")
    port = free_port()
    with (
        sockets_serving(never_answer) as url,
        process("service.py", str(port), env={"OTEL_EXPORTER_OTLP_ENDPOINT": url}, cwd=tmp_path) as running,
    ):
        load(port, 5)
        began = time.monotonic()
        running.send_signal(signal.SIGTERM)
        output, _ = running.communicate(timeout=60)
        assert 4.5 < time.monotonic() - began < 9
    assert "5 spans do not reach" in output


OBSERVED = (
    "import json, tracemw\n"
    "from opentelemetry import metrics\n"
    "from opentelemetry.sdk.metrics import MeterProvider\n"
    "from opentelemetry.sdk.metrics.export import InMemoryMetricReader\n"
    "reader = InMemoryMetricReader()\n"
    "metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))\n"
    "def observed():\n"
    "    data = reader.get_metrics_data().resource_metrics[0].scope_metrics\n"
    "    return {metric.name: [[point.attributes.get('error.type'), point.value, dict(point.attributes)]\n"
    "            for point in metric.data.data_points]\n"
    "            for scope in data if scope.scope.name == 'tracemw' for metric in scope.metrics}\n"
)
"""What a reader of metrics finds."""


def test_metrics_tell_what_becomes_of_the_spans(protocol: str) -> None:
    with SERVING[protocol]() as backend:
        ended = run(
            OBSERVED + "for service in ('first', 'second'):\n"
            "    with tracemw.init(service) as tracing:\n"
            "        for _ in range(3):\n"
            "            with tracemw.span('x'): pass\n"
            "        assert tracing.flush()\n"
            "        with tracemw.span('x'): pass\n"
            "        print(json.dumps(observed()))\n",
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_BSP_SCHEDULE_DELAY="60000",
        )
    assert ended.returncode == 0, ended.stdout
    first, second = map(json.loads, ended.stdout.splitlines())
    kind = f"otlp_{protocol.partition('/')[0]}_span_exporter"
    for seen, sent in ((first, 3), (second, 4 + 3)):
        values = {name: {error: value for error, value, _ in points} for name, points in seen.items()}
        assert values == {
            "otel.sdk.processor.span.queue.size": {None: 1},
            "otel.sdk.processor.span.queue.capacity": {None: 2048},
            "otel.sdk.processor.span.processed": {
                None: sent,
                "queue_full": 0,
                "queue_bytes": 0,
                "too_large": 0,
                "breaker_open": 0,
                "already_shutdown": 0,
                "held_spans_per_trace": 0,
                "held_traces": 0,
                "held_spans": 0,
                "held_bytes": 0,
                "keep_rate": 0,
                "late": 0,
                "abandoned": 0,
            },
            "otel.sdk.exporter.span.inflight": {None: 0},
            "otel.sdk.exporter.span.exported": {
                None: sent,
                "rejected": 0,
                "unknown": 0,
                "retries_exhausted": 0,
                "encoding": 0,
            },
            "tracemw.trace.kept": {None: 0},
            "tracemw.span.unsampled": {None: 0},
        }
        attributes = seen["otel.sdk.exporter.span.inflight"][0][2]
        assert attributes == {
            "otel.component.type": kind,
            "otel.component.name": f"{kind}/0",
            "server.address": "127.0.0.1",
            "server.port": int(backend.url.rpartition(":")[2]),
        }


def test_metrics_tell_what_is_lost_to_limits_of_bytes(protocol: str) -> None:
    with SERVING[protocol]() as backend:
        ended = run(
            OBSERVED + "import logging\n"
            "logging.disable()\n"
            "tracing = tracemw.init('shop', batch_bytes=5_000, queue_bytes=20_000)\n"
            "for size in (10, 6_000, *[4_000] * 5, 10):\n"
            "    with tracemw.span('x', text='x' * size): pass\n"
            "tracing.flush()\n"
            "stats = tracing.stats()\n"
            "print(json.dumps([observed(), dict(stats.dropped), stats.ended]))\n",
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT="100000",
        )
    assert ended.returncode == 0, ended.stdout
    seen, dropped, all_ended = json.loads(ended.stdout)
    processed = {error: count for error, count, _ in seen["otel.sdk.processor.span.processed"]}
    assert (dropped["too_large"], all_ended) == (1, 8)
    assert {cause: processed[cause] for cause in ("queue_bytes", "too_large")} == {
        cause: dropped[cause] for cause in ("queue_bytes", "too_large")
    }
    assert sum(processed.values()) == 8


def test_metrics_tell_why_spans_are_lost_and_traces_are_kept_in_the_numbers_of_stats() -> None:
    ended = run(
        OBSERVED + "import gc, logging\n"
        "from opentelemetry import trace\n"
        "from tracemw.sampling import Sampling\n"
        "logging.disable()\n"
        "tracing = tracemw.init('shop', sampling=Sampling(ratio=0.0, keep_rate=20), timeout=0.2, fold_after=0)\n"
        "def keep():\n"
        "    with tracemw.span('asked for'): tracemw.keep('to see it')\n"
        "with tracemw.span('asked for'):\n"
        "    tracemw.keep('to see it')\n"
        "    for _ in range(1001):\n"  # more than is held, and far more than is queued
        "        with tracemw.span('child'): pass\n"
        "for _ in range(5):\n"  # as often as the breaker lets anything fail
        "    keep()\n"
        "    tracing.flush()\n"
        "keep()\n"
        "left = trace.get_tracer('x').start_span('never ended')\n"
        "trace.get_tracer('x').start_span('child', trace.set_span_in_context(left)).end()\n"
        "del left\n"
        "gc.collect()\n"
        "tracing.shutdown()\n"
        "try:\n"
        "    with tracemw.span('after the end'): raise ValueError\n"
        "except ValueError: pass\n"
        "for _ in range(100): keep()\n"  # more than the rate allows
        "print(json.dumps([observed(), dict(tracing.stats().dropped), dict(tracing.stats().kept)]))\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        OTEL_BSP_MAX_QUEUE_SIZE="10",
        OTEL_BSP_SCHEDULE_DELAY="60000",
    )
    assert ended.returncode == 0, ended.stdout
    seen, dropped, kept = json.loads(ended.stdout)
    processed = {error: count for error, count, _ in seen["otel.sdk.processor.span.processed"]}
    exported = {error: count for error, count, _ in seen["otel.sdk.exporter.span.exported"]}
    told = {**processed, **exported, "shutdown": processed["already_shutdown"]}
    assert {cause: told[cause] for cause in dropped} == dropped
    never = {"encoding", "queue_bytes", "too_large", "held_traces", "held_spans", "held_bytes", "late"}
    assert {cause for cause, count in dropped.items() if not count} == never
    assert processed[None] == exported["retries_exhausted"]  # what was tried
    assert {at["tracemw.kept"]: count for _, count, at in seen["tracemw.trace.kept"]} == kept
    assert (kept["error"], kept["slow"], kept["manual"] > 5) == (1, 0, True)
    components = {error: at["otel.component.name"] for error, _, at in seen["otel.sdk.processor.span.processed"]}
    assert components["queue_full"] == "batching_span_processor/0"
    assert components["keep_rate"] == "tracemw._recording.FlightRecorder/0"


def test_metrics_tell_what_was_not_sampled_and_which_keys_were_redacted() -> None:
    with backend_serving() as backend:
        ended = run(
            OBSERVED + "for ratio in (1.0, 0.0):\n"
            "    with tracemw.init('shop', sampling=ratio, environment='production'):\n"
            "        for _ in range(3):\n"
            "            with tracemw.span('x', plate='HH-AB 12', card='x'): pass\n"
            "print(json.dumps(observed()))\n",
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
            TRACEMW_ALLOW="",
        )
    assert ended.returncode == 0, ended.stdout
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert [point[1:] for point in seen["tracemw.span.unsampled"]] == [[3, {}]]
    redacted = {at["tracemw.redacted.key"]: count for _, count, at in seen["tracemw.value.redacted"]}
    assert redacted == {"plate": 3, "card": 3}


def test_what_spans_of_one_backend_have_come_to_is_not_that_of_the_next() -> None:
    with backend_serving() as first, backend_serving() as second:
        ended = run(
            OBSERVED + "import sys\n"
            f"for endpoint in ({first.url!r}, {second.url!r}, {first.url!r}):\n"
            "    with tracemw.init('shop', endpoint=endpoint):\n"
            "        with tracemw.span('x'): pass\n"
            "print(json.dumps(observed()))\n"
        )
    assert ended.returncode == 0, ended.stdout
    points = json.loads(ended.stdout)["otel.sdk.exporter.span.exported"]
    told = {at["server.port"]: count for error, count, at in points if error is None}
    assert told == {int(backend.url.rpartition(":")[2]): len(backend.spans) for backend in (first, second)}
    assert sorted(told.values()) == [1, 2]


def test_a_forked_child_counts_its_own_spans_in_metrics_too() -> None:
    with backend_serving() as backend:
        ended = run(
            OBSERVED + "import os\n"
            "for service in ('first', 'second'):\n"
            "    with tracemw.init(service):\n"
            "        with tracemw.span('x'): pass\n"
            "tracing = tracemw.init('third')\n"
            "pid = os.fork()\n"
            "if pid: os.waitpid(pid, 0)\n"
            "with tracemw.span('x'): pass\n"
            "tracing.flush()\n"
            "print(json.dumps(observed()['otel.sdk.exporter.span.exported'][0][1]))\n",
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        )
    assert (ended.returncode, ended.stdout) == (0, "1\n3\n")
