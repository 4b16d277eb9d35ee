"""The floor: what the same attributes cost when all of it is written out by hand, for one shape of request.

No provider, no options, no error handling, no sampler: nothing that a library has to have. It shows what is left to
gain, not what anybody should run.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from contextvars import ContextVar
from queue import SimpleQueue
from random import getrandbits
from struct import pack
from typing import Any
from urllib.parse import urlsplit

Record = tuple[int, int, int, int, str, str, str, str, int, str, int, str, int]
"""Trace id, span id, start, end, method, path, query, host, port, peer, peer's port, user agent, status."""

BATCH = 512

_current: ContextVar[object] = ContextVar("current", default=None)


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


_method = Memo("http.request.method")
_path = Memo("url.path")
_query = Memo("url.query")
_host = Memo("server.address")
_port = Memo("server.port")
_peer = Memo("network.peer.address")
_client = Memo("client.address")
_peer_port = Memo("network.peer.port")
_agent = Memo("user_agent.original")
_status = Memo("http.response.status_code")
_CONSTANT = attribute("url.scheme", "http") + attribute("network.protocol.version", "1.1")
_RESOURCE = message(1, message(1, message(1, b"service.name") + message(2, message(1, b"floor"))))
_SCOPE = message(1, message(1, b"floor"))
_LENGTHS = [varint(length) for length in range(1 << 14)]


def encode(records: Sequence[Record]) -> bytes:
    """Return the ExportTraceServiceRequest of records of this one shape."""
    spans: list[bytes] = []
    lengths, add = _LENGTHS, spans.append
    for trace_id, span_id, start, end, method, path, query, host, port, peer, peer_port, agent, status in records:
        name = method.encode()
        body = b"".join(
            (
                b"\x0a\x10", trace_id.to_bytes(16, "big"), b"\x12\x08", span_id.to_bytes(8, "big"),
                b"\x2a", lengths[len(name)], name, b"\x30\x02",
                pack("<BQBQ", 0x39, start, 0x41, end),
                _method[method], _path[path], _CONSTANT, _query[query], _host[host], _port[port], _peer[peer],
                _peer_port[peer_port], _client[peer], _agent[agent], _status[status],
                b"\x85\x01\x01\x01\x00\x00",
            )
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
        trace_id = 0
        for key, value in scope["headers"]:
            if key == b"host":
                host = value.decode("latin-1")
            elif key == b"user-agent":
                agent = value.decode("latin-1")
            elif key == b"traceparent":
                trace_id = int(value[3:35], 16)
        trace_id = trace_id or getrandbits(128)
        span_id = getrandbits(64)
        start = time.time_ns()
        status = 0

        async def noted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-trace-id", b"%032x" % trace_id))
            await send(message)

        token = _current.set((trace_id, span_id))
        try:
            await self.app(scope, receive, noted)
        finally:
            _current.reset(token)
        peer, peer_port = scope["client"]
        name, _, port = host.partition(":")
        delivery = self._delivery
        delivery.records.append(
            (
                trace_id, span_id, start, time.time_ns(), scope["method"], scope["path"],
                scope["query_string"].decode("latin-1"), name, int(port) if port else 80, peer, peer_port, agent,
                status,
            )
        )  # fmt: skip
        if len(delivery.records) >= BATCH:
            delivery.full()
