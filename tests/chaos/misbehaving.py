"""A backend that misbehaves, as a program: it must not share an interpreter with what is measured.

Each of its ports serves OTLP over HTTP, or HTTPS, and has one of `FAULTS` at a time. It takes commands on standard
input, a JSON object a line, and answers each with another; the end of the input is its own. `chaos.running` has its
other end.
"""

from __future__ import annotations

import argparse
import gzip
import json
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

HEALTHY = "healthy"

FAULTS = {
    "refused": "nobody listens, and the connections there were are closed",
    "dies": "the same, and the connections there were are reset",
    "reset": "a connection is reset in the midst of a request",
    "reset-unanswered": "a connection is reset after a request that was read",
    "hangs": "requests are read, and never answered",
    "deaf": "connections are accepted, and nothing is ever read",
    "tls-hangs": "connections are accepted, and the handshake is never answered",
    "tls-expired": "the certificate has expired",
    "drips": "one byte of an answer comes each second",
    "busy": "429",
    "busy-retry-after": "429, with Retry-After: 2",
    "unavailable": "503",
    "refuses": "400",
    "garbage": "an answer that is no HTTP",
    "garbled": "an answer that is HTTP, and its body is no OTLP",
    "partial": "an answer that rejects every third span",
}

RETRY_AFTER = 2
"""Seconds."""

_STATUS = {
    "busy": b"429 Too Many Requests",
    "busy-retry-after": b"429 Too Many Requests",
    "unavailable": b"503 Service Unavailable",
    "refuses": b"400 Bad Request",
}
_WITHOUT_CONNECTION = frozenset({"refused", "dies", "tls-hangs", "tls-expired"})
_RESET = struct.pack("ii", 1, 0)
"""`SO_LINGER`: on, no time. A socket closed so sends RST."""


class Fate(IntEnum):
    """What a span was told, the last word first to lowest: an earlier one does not undo a higher."""

    BUSY = 1
    REJECTED = 2
    UNANSWERED = 3
    ACCEPTED = 4


@dataclass
class _Noted:
    span: bytes
    fate: Fate
    accepted: int


class Books:
    """What became of the spans that a port has received, by trace: a trace has one span in these tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: dict[bytes, _Noted] = {}
        self._strange = 0
        self.first_accepted: float | None = None
        """When, by the monotonic clock, the first spans were accepted since the fault was last changed."""

    def note(self, spans: Iterable[tuple[bytes, bytes]], fate: Fate) -> None:
        with self._lock:
            for trace, span in spans:
                noted = self._noted.setdefault(trace, _Noted(span, fate, 0))
                self._strange += noted.span != span
                noted.fate = max(noted.fate, fate)
                noted.accepted += fate is Fate.ACCEPTED
            if fate is Fate.ACCEPTED and self.first_accepted is None:
                self.first_accepted = time.monotonic()

    def take_back(self, spans: Iterable[tuple[bytes, bytes]]) -> None:
        """Note that the answer by which spans were to be accepted or rejected could not be sent."""
        with self._lock:
            for trace, _ in spans:
                self._noted[trace].fate, self._noted[trace].accepted = Fate.UNANSWERED, 0

    def told(self, *, forget: bool) -> dict[str, Any]:
        with self._lock:
            by_fate: dict[str, list[str]] = {fate.name.lower(): [] for fate in Fate}
            for trace, noted in self._noted.items():
                by_fate[noted.fate.name.lower()].append(trace.hex())
            twice = sum(noted.accepted > 1 for noted in self._noted.values())
            told = {**by_fate, "twice": twice, "strange": self._strange, "first_accepted": self.first_accepted}
            if forget:
                self._noted.clear()
        return told


class Port:
    """A port of 127.0.0.1 that stays ours, whether anybody listens or not."""

    def __init__(self, good: ssl.SSLContext | None, expired: ssl.SSLContext | None) -> None:
        self._contexts = {HEALTHY: good, "tls-expired": expired}
        self._is_secure = good is not None
        # Bound without listening, it keeps others away; whoever connects is refused.
        self._keeper = self._bound(0)
        self.number: int = self._keeper.getsockname()[1]
        self.fault = HEALTHY
        self.books = Books()
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._listen()

    def change(self, fault: str) -> None:
        """Misbehave in another way from now on."""
        self.fault = fault
        self.books.first_accepted = None
        if fault in ("refused", "dies"):
            self._stop_listening()
        elif self._listener is None:
            self._listen()
        if fault in _WITHOUT_CONNECTION:
            for connection in list(self._connections):
                try:
                    if fault == "dies":
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    # Its thread sees the end and closes it. Of TLS, too, as the plain socket that it is.
                    socket.socket.shutdown(connection, socket.SHUT_RD if fault == "dies" else socket.SHUT_RDWR)
                except OSError:  # it has ended by itself
                    pass

    def _bound(self, port: int) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("127.0.0.1", port))
        return made

    def _listen(self) -> None:
        listener = self._listener = self._bound(self.number)
        listener.listen(128)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._connections.add(connection)
        fault = self.fault
        try:
            if fault in ("refused", "dies"):  # it was accepted before
                return
            if fault in ("tls-hangs", "deaf"):
                _wait_for_end(connection)
            if self._is_secure:
                context = self._contexts.get(fault) or self._contexts[HEALTHY]
                assert context is not None
                self._connections.discard(connection)
                connection = context.wrap_socket(connection, server_side=True)
                self._connections.add(connection)
                # `change` has not seen a connection that was in its handshake.
                if self.fault != fault and self.fault in _WITHOUT_CONNECTION:
                    return
            while self._serve_request(connection):
                pass
        except (OSError, EOFError):
            pass
        finally:
            self._connections.discard(connection)
            connection.close()

    def _serve_request(self, connection: socket.socket) -> bool:
        """Serve one request; tell whether there may be others."""
        if self.fault == "deaf":
            _wait_for_end(connection)
        head, rest = _head(connection)
        fault = self.fault
        if fault == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return False
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
        body = _rest(connection, rest, int(headers["content-length"]))
        spans = _spans(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
        note = partial(self.books.note, spans)
        if fault in ("hangs", "reset-unanswered", "garbage", "drips"):
            note(Fate.UNANSWERED)
        match fault:
            case "hangs":
                _wait_for_end(connection)
            case "reset-unanswered":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return False
            case "garbage":
                connection.sendall(b"\x16\x03\x01 this is not the answer\r\n\r\n" * 10)
                return False
            case "drips":
                for byte in _answer(b"200 OK"):
                    connection.sendall(bytes([byte]))
                    time.sleep(1)
            case "busy" | "busy-retry-after" | "unavailable":
                note(Fate.BUSY)
                more = b"retry-after: %d\r\n" % RETRY_AFTER if fault == "busy-retry-after" else b""
                connection.sendall(_answer(_STATUS[fault], more=more))
            case "refuses":
                note(Fate.REJECTED)
                connection.sendall(_answer(_STATUS[fault]))
            case _:
                self._take(connection, spans, fault)
        return True

    def _take(self, connection: socket.socket, spans: list[tuple[bytes, bytes]], fault: str) -> None:
        """Accept spans, at least some, before the answer tells, so that nobody can know it sooner."""
        body = b""
        if fault == "partial":
            rejected = spans[::3]
            answer = ExportTracePartialSuccess(rejected_spans=len(rejected), error_message="every third")
            body = ExportTraceServiceResponse(partial_success=answer).SerializeToString()
            self.books.note(rejected, Fate.REJECTED)
            self.books.note((span for index, span in enumerate(spans) if index % 3), Fate.ACCEPTED)
        else:
            body = b"\xff\xfe{" * 20 if fault == "garbled" else b""
            self.books.note(spans, Fate.ACCEPTED)
        try:
            connection.sendall(_answer(b"200 OK", body))
        except OSError:
            self.books.take_back(spans)
            raise


def _head(connection: socket.socket) -> tuple[str, bytes]:
    """Read the head of a request; give it, and what has come of the body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _rest(connection: socket.socket, begun: bytes, size: int) -> bytes:
    data = bytearray(begun)
    while len(data) < size:
        data += _received(connection)
    return bytes(data)


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 18)
    if not data:
        raise EOFError
    return data


def _wait_for_end(connection: socket.socket) -> None:
    """Wait until the other side has had enough, without reading what it sends."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    poll.poll()
    raise EOFError


def _answer(status: bytes, body: bytes = b"", *, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%scontent-length: %d\r\n\r\n%s" % (status, more, len(body), body)


def _spans(body: bytes) -> list[tuple[bytes, bytes]]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        (span.trace_id, span.span_id)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _context(path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def main() -> None:
    """Do what standard input says, until its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate", help="PEM file with key and certificate, for HTTPS")
    parser.add_argument("--expired", help="the same, expired")
    arguments = parser.parse_args()
    good, expired = (_context(path) if path else None for path in (arguments.certificate, arguments.expired))
    ports: dict[int, Port] = {}
    for line in sys.stdin:
        command = json.loads(line)
        answer: dict[str, Any] = {}
        match command["do"]:
            case "open":
                port = Port(good, expired) if command["secure"] else Port(None, None)
                ports[port.number] = port
                answer = {"port": port.number}
            case "change":
                ports[command["port"]].change(command["fault"])
            case "tell":
                answer = ports[command["port"]].books.told(forget=command["forget"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
