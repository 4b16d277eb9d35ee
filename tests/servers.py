"""Real servers for tests, on free ports of 127.0.0.1, stopped by the block that started them."""

from __future__ import annotations

import http.client
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from socketserver import TCPServer
from typing import Any, TypeVar

import httpx
import uvicorn
from werkzeug.serving import make_server

Answer = TypeVar("Answer")


@contextmanager
def uvicorn_serving(app: Any, **options: Any) -> Iterator[str]:
    """Serve an ASGI application from a thread of this process and give its base URL."""
    # Older versions of uvicorn would choose an implementation that warns of its own deprecation.
    options.setdefault("ws", "websockets-sansio")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2, **options)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def werkzeug_serving(app: Any) -> AbstractContextManager[str]:
    """Serve a WSGI application from threads of this process and give its base URL."""
    return socketserver_serving(make_server("127.0.0.1", 0, app, threaded=True))


@contextmanager
def socketserver_serving(server: TCPServer) -> Iterator[str]:
    """Have a server of the standard library's kind serve from a thread of this process, and give its base URL."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def process(
    *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run `python ARGUMENTS` in a process group of its own, and end it with the block."""
    running = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGTERM)
            try:
                running.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
        if running.stdout is not None:
            running.stdout.close()


# Below the ports that the system hands out, lest a connection takes one before its server does. Each process of tests
# begins somewhere else, so that no two try the same port at the same time.
_ports = itertools.count(random.randrange(10_000, 30_000))


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on, and that no other test gets."""
    for port in _ports:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError("there is always another")


def answers(url: str) -> bool:
    """Tell whether a server answers at `url`, whatever it says."""
    try:
        httpx.get(url, timeout=60, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def wait_until(condition: Any, timeout: float = 60.0) -> None:
    """Wait until `condition()` is true, at most `timeout` seconds: by default, more than any busy machine takes.

    Raises:
        TimeoutError: when it has not become so.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout} s: {condition}")
        time.sleep(0.01)


def within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """Return what `call` returns when it takes less than so many seconds.

    A busy machine holds up one call, or two; what takes too long by itself does so each time.

    Raises:
        AssertionError: when none of five calls has been so fast.
    """
    took = []
    for _ in range(5):
        began = time.monotonic()
        answer = call()
        took.append(time.monotonic() - began)
        if took[-1] < seconds:
            return answer
    raise AssertionError(f"not within {seconds} s: {took}")


def body_of(port: int, path: str) -> bytes | None:
    """What a server on this port answers to a GET; None without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except OSError:
        return None
    finally:
        connection.close()
