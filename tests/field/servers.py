"""Servers as processes of their own, that export to a backend of the test."""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from backend import Backend, backend_serving
from servers import free_port, process, wait_until

TESTS = Path(__file__).parents[1]

COMMANDS: dict[str, Callable[[str, int], list[str]]] = {
    "uvicorn": lambda app, port: ["-m", "uvicorn", "--factory", app, "--port", str(port), "--log-level", "critical"],
    "hypercorn": lambda app, port: ["-m", "hypercorn", f"{app}()", "-b", f"127.0.0.1:{port}"],
    "granian": lambda app, port: ["-m", "granian", "--interface", "asgi", "--factory", app, "--port", str(port)],
    **{
        f"gunicorn {worker}": lambda app, port, worker=worker: [  # type: ignore[misc]
            *("-m", "gunicorn", f"{app}()", "-b", f"127.0.0.1:{port}", "-k", worker),
            *("--threads", "1" if worker == "sync" else "4"),
        ]
        for worker in ("sync", "gthread", "gevent")
    },
}


@dataclass
class Served:
    """A server, and what it has exported."""

    url: str
    backend: Backend

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def spans(self, name: str) -> list[Span]:
        return [span for span in self.backend.spans if span.name == name]

    def span(self, name: str) -> Span:
        """Wait for the one span of this name."""
        wait_until(lambda: self.spans(name))
        (span,) = self.spans(name)
        return span

    def raw(self, head: str) -> socket.socket:
        """Return a connection on which the head of a request was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return connection


@contextmanager
def serving(server: str, app: str, **environment: str) -> Iterator[Served]:
    """Serve what the function `app` of a module here returns, as `module:function`."""
    with backend_serving() as backend:
        port = free_port()
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "PYTHONPATH": str(TESTS),
            **environment,
        }
        url = f"http://127.0.0.1:{port}"
        with process(*COMMANDS[server](f"field.{app}", port), env=environment) as running:
            # What nobody reads would stop a server that logs errors.
            reader = threading.Thread(target=deque, args=(running.stdout, 0))
            reader.start()
            wait_until(lambda: running.poll() is not None or _answers(url))
            try:
                yield Served(url, backend)
            finally:
                running.terminate()
                reader.join(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code < 500
    except httpx.TransportError:
        return False


def reset(connection: socket.socket) -> None:
    """Close a connection as a peer that crashes does: with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
