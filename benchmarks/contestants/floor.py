"""The floor: straight-line code for the least that any correct tracer must do.

It parses `traceparent`, makes ids, reads the clock twice, fills one dictionary of attributes, and appends one record to
a queue, which a thread encodes and posts. No provider, no options, no error handling, no sampler: nothing that a
library has to have. The floor shows what is left to gain, and is what goals are set against, since a slow machine slows
it down as well; nobody should run it.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from queue import SimpleQueue
from random import getrandbits
from struct import pack
from typing import Any
from urllib.parse import urlsplit

Attributes = dict[str, str | int]

Record = tuple[int, int, int, bytes, int, int, int, Attributes]
"""Trace id, span id, the parent's span id or 0, name, kind, start, end, attributes."""

SERVER, CLIENT = 2, 3
"""Kinds of spans, as the protocol numbers them."""

BATCH = 512

current: ContextVar[tuple[int, int]] = ContextVar("current", default=(0, 0))
"""Trace id and span id of the request that is served."""


def varint(value: int) -> bytes:
    """Return the protobuf varint of a number that is not negative."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(field: int, body: bytes) -> bytes:
    """Return a protobuf field with a length."""
    return varint(field << 3 | 2) + varint(len(body)) + body


def attribute(key: str, value: str | int) -> bytes:
    """Return a span's attribute (field 9), a KeyValue."""
    any_value = message(1, value.encode()) if isinstance(value, str) else b"\x18" + varint(value)
    return message(9, message(1, key.encode()) + message(2, any_value))


class Memo(dict[Any, bytes]):
    """The encoded attribute for each value of one key, made when it is first asked for."""

    remember = True
    """Turned off where no value comes back."""

    def __init__(self, key: str) -> None:
        # What stands before a value depends on its length alone.
        self._heads = [attribute(key, "x" * length)[: -length or None] for length in range(256)]
        self._number_heads = [attribute(key, 1 << 7 * length >> 1)[:-length] for length in range(1, 10)]

    def __missing__(self, value: str | int) -> bytes:
        if isinstance(value, int):
            number = varint(value)
            encoded = self._number_heads[len(number) - 1] + number
        else:
            text = value.encode()
            encoded = self._heads[len(text)] + text
        if self.remember:
            if len(self) >= 4096:
                self.clear()
            self[value] = encoded
        return encoded


class _Memos(dict[str, Memo]):
    def __missing__(self, key: str) -> Memo:
        memo = self[key] = Memo(key)
        return memo


_memos = _Memos()
_RESOURCE = message(1, message(1, message(1, b"service.name") + message(2, message(1, b"floor"))))
_SCOPE = message(1, message(1, b"floor"))
_LENGTHS = [varint(length) for length in range(1 << 14)]


def encode(records: Sequence[Record]) -> bytes:
    """Return the ExportTraceServiceRequest of records."""
    spans: list[bytes] = []
    lengths, memos, add = _LENGTHS, _memos, spans.append
    for trace_id, span_id, parent, name, kind, start, end, attributes in records:
        body = b"".join(
            [
                b"\x0a\x10", trace_id.to_bytes(16, "big"), b"\x12\x08", span_id.to_bytes(8, "big"),
                b"\x22\x08" + parent.to_bytes(8, "big") if parent else b"",
                b"\x2a", lengths[len(name)], name, b"\x30", lengths[kind],
                pack("<BQBQ", 0x39, start, 0x41, end),
                *[memos[key][value] for key, value in attributes.items()],
                b"\x85\x01\x01\x01\x00\x00",
            ]
        )  # fmt: skip
        add(b"\x12" + lengths[len(body)] + body)
    return message(1, _RESOURCE + message(2, _SCOPE + b"".join(spans)))


class Delivery:
    """Records that are posted in batches by a thread."""

    def __init__(self, sink: str) -> None:
        self._url = urlsplit(sink)
        self._batches: SimpleQueue[list[Record] | threading.Event] = SimpleQueue()
        self.records: list[Record] = []
        threading.Thread(target=self._work, daemon=True).start()

    def add(self, record: Record) -> None:
        """Queue a record."""
        self.records.append(record)
        if len(self.records) >= BATCH:
            self.full()

    def full(self) -> None:
        """Hand the records on."""
        batch, self.records = self.records, []
        self._batches.put(batch)

    def flush(self) -> None:
        """Wait until all records have been delivered."""
        done = threading.Event()
        self.full()
        self._batches.put(done)
        done.wait()

    def _work(self) -> None:
        connection = http.client.HTTPConnection(self._url.netloc)
        while True:
            batch = self._batches.get()
            if isinstance(batch, threading.Event):
                batch.set()
            elif batch:
                connection.request(
                    "POST", f"{self._url.path}/v1/traces", encode(batch), {"content-type": "application/x-protobuf"}
                )
                connection.getresponse().read()


_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-|$)").match


class Middleware:
    """Record what our ASGI door records, and answer with the trace id."""

    def __init__(self, app: Any, delivery: Delivery) -> None:
        self.app = app
        self._delivery = delivery

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        host = agent = ""
        trace_id = parent = 0
        for key, value in scope["headers"]:
            if key == b"host":
                host = value.decode("latin-1")
            elif key == b"user-agent":
                agent = value.decode("latin-1")
            elif key == b"traceparent":
                found = _TRACEPARENT(value)
                if found is not None:
                    trace_id, parent = int(found[1], 16), int(found[2], 16)
        if not trace_id or not parent:
            trace_id, parent = getrandbits(128), 0
        span_id = getrandbits(64)
        start = time.time_ns()
        status = 0

        async def noted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-trace-id", b"%032x" % trace_id))
            await send(message)

        token = current.set((trace_id, span_id))
        try:
            await self.app(scope, receive, noted)
        finally:
            current.reset(token)
        peer, peer_port = scope["client"]
        name, _, port = host.partition(":")
        method = scope["method"]
        attributes: Attributes = {
            "http.request.method": method,
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "url.query": scope["query_string"].decode("latin-1"),
            "server.address": name,
            "server.port": int(port) if port else 80,
            "network.peer.address": peer,
            "network.peer.port": peer_port,
            "client.address": peer,
            "user_agent.original": agent,
            "network.protocol.version": scope["http_version"],
            "http.response.status_code": status,
        }
        self._delivery.add((trace_id, span_id, parent, method.encode(), SERVER, start, time.time_ns(), attributes))


class WsgiMiddleware:
    """The same for a WSGI application."""

    def __init__(self, app: Any, delivery: Delivery) -> None:
        self.app = app
        self._delivery = delivery

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        """Serve one request."""
        trace_id = parent = 0
        if (value := environ.get("HTTP_TRACEPARENT")) is not None:
            found = _TRACEPARENT(value.encode())
            if found is not None:
                trace_id, parent = int(found[1], 16), int(found[2], 16)
        if not trace_id or not parent:
            trace_id, parent = getrandbits(128), 0
        span_id = getrandbits(64)
        start = time.time_ns()
        status = 0

        def noted(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, [*headers, ("x-trace-id", f"{trace_id:032x}")], exc_info)

        token = current.set((trace_id, span_id))
        try:
            chunks = self.app(environ, noted)
            yield from chunks
            if (close := getattr(chunks, "close", None)) is not None:
                close()
        finally:
            current.reset(token)
        name, _, port = environ["HTTP_HOST"].partition(":")
        method, peer = environ["REQUEST_METHOD"], environ["REMOTE_ADDR"]
        attributes: Attributes = {
            "http.request.method": method,
            "url.path": environ["PATH_INFO"],
            "url.scheme": environ["wsgi.url_scheme"],
            "url.query": environ["QUERY_STRING"],
            "server.address": name,
            "server.port": int(port) if port else 80,
            "network.peer.address": peer,
            "network.peer.port": int(environ["REMOTE_PORT"]),
            "client.address": peer,
            "user_agent.original": environ["HTTP_USER_AGENT"],
            "network.protocol.version": environ["SERVER_PROTOCOL"][5:],
            "http.response.status_code": status,
        }
        self._delivery.add((trace_id, span_id, parent, method.encode(), SERVER, start, time.time_ns(), attributes))
