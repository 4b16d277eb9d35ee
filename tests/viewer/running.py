"""A viewer in a process of its own, as a user starts it, and the little that tests need to talk to it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from .samples import Spans, request

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
PATIENCE = 120  # seconds that a test waits on a busy machine
COMMAND = (sys.executable, "-m", "tracemw", "view")


class Viewer:
    """A running viewer: `url`, `process`, and an HTTP client for its API."""

    def __init__(self, process: subprocess.Popen[str], first_line: str) -> None:
        self.process = process
        self.first_line = first_line
        self.url = re.findall(r"http://\S+", first_line)[0]
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=60)

    def send(self, *spans: Spans) -> httpx.Response:
        return self.http.post("/v1/traces", content=request(*spans).SerializeToString(), headers=PROTOBUF)

    def get(self, path: str, **parameters: str | int) -> Any:
        response = self.http.get(path, params=parameters)
        assert response.status_code == 200, response.text
        return response.json()

    def found(self, **parameters: str | int) -> list[str]:
        """The ids of the traces that Tempo's search finds, in its order."""
        return [trace["traceID"].zfill(32) for trace in self.get("/api/search", **parameters)["traces"]]

    def stop(self) -> int:
        self.http.close()
        self.process.terminate()
        return self.process.wait(60)


@contextmanager
def viewer(
    *arguments: str, command: tuple[str, ...] = (*COMMAND, "--port", "0"), stderr: int | None = None
) -> Iterator[Viewer]:
    """Run ``tracemw view`` on a free port until the block ends."""
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        assert process.stdout is not None
        running = Viewer(process, process.stdout.readline())
        try:
            yield running
        finally:
            running.stop()


_WITH_ALLOWANCE = """
from tracemw.viewer.allowance import Allowance
from tracemw.viewer.serve import serve
serve(host="127.0.0.1", port=0, announce=lambda line: print(line, flush=True), allowance=Allowance(**{!r}))
"""


def with_allowance(**seconds: float) -> tuple[str, ...]:
    """The command of a viewer with other limits than the usual ones."""
    return (sys.executable, "-c", _WITH_ALLOWANCE.format(seconds))


def connect(viewer: Viewer, sent: bytes = b"", *, room: int | None = None) -> socket.socket:
    """A connection that has sent some bytes, with so much ``room`` for what comes back."""
    host, port = viewer.url.removeprefix("http://").split(":")
    connection = socket.socket()
    if room is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    connection.settimeout(PATIENCE)
    connection.connect((host, int(port)))
    connection.sendall(sent)
    return connection


def head(length: int) -> bytes:
    """The head of a trace request."""
    return (
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )
