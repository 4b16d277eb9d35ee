"""The doctor, run as a command, and servers that answer what a test says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from analysis.commands import run


class Diagnosed(NamedTuple):
    """What the command has said."""

    returncode: int
    document: dict[str, Any]

    def check(self, name: str) -> dict[str, str]:
        """Return the one check of a name."""
        (found,) = [check for check in self.document["checks"] if check["name"] == name]
        return dict(found)

    def status_of(self, name: str) -> str:
        """Return the status of the one check of a name."""
        return self.check(name)["status"]

    @property
    def failures(self) -> list[str]:
        """The names of what fails."""
        return [check["name"] for check in self.document["checks"] if check["status"] == "failure"]


def diagnose(*arguments: str) -> Diagnosed:
    """Run `tracemw doctor --json`."""
    ended = run("doctor", "--json", *arguments)
    assert not ended.stderr, ended.stderr
    return Diagnosed(ended.returncode, json.loads(ended.stdout))


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Answer the head of each request with the bytes that a test gives, and close the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    head = _request(connection)
                    connection.sendall(answer(head))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _request(connection: socket.socket) -> bytes:
    """Read a request, and return its head."""
    data = b""
    while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    size = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < size and (more := connection.recv(65536)):
        body += more
    return head


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Return an answer over HTTP/1.1."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body
