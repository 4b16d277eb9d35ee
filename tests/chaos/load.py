"""Load, as a program: connections that ask a service one request after another, and look at every byte of the answers.

What an answer must be is what the untraced service answers, but for `x-trace-id`, which must be there, and the time in
`date`. It takes `start`, and `stop`, on standard input, and answers the latter with a JSON object; the end of the input
is its own. `chaos.running` has its other end.
"""

from __future__ import annotations

import argparse
import json
import re
import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

_COMMANDS = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
"""Standard input, of which no line is to wait where `select` does not see it."""

_PATIENCE = 10.0
"""Seconds that an answer may take."""

_TRACE_ID = re.compile(rb"\r\nx-trace-id: ([0-9a-f]{32})(?=\r\n)", re.IGNORECASE)
_DATE = re.compile(rb"(?<=\r\ndate: )[^\r]*", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def _request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: shop.example\r\naccept: */*\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


_ITEM = _request("GET", "/items/42?currency=EUR")
REQUESTS = [
    _ITEM,
    _request("POST", "/echo", b'{"text": "' + b"0123456789" * 100 + b'"}'),
    _ITEM,
    _request("GET", "/stream"),
    _ITEM,
    _request("GET", "/teapot"),
    _ITEM,
    _request("GET", "/missing"),
]


ORDERS = _request("GET", "/orders")
"""Asked for only with `--orders`."""


def is_whole(data: bytes) -> bool:
    """Tell whether an answer has come to its end."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head + b"\r\n")
    return len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")


def without_time(answer: bytes) -> bytes:
    """Return an answer without what no two have in common."""
    return _DATE.sub(b"", answer)


@dataclass
class _Round:
    """What came of the requests between a start and a stop."""

    trace_ids: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    """When, by the monotonic clock, and how."""
    altered: list[str] = field(default_factory=list)


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.kind = 0
        self.asked = 0
        self.since = 0.0
        self.answer = b""


class Load:
    """One thread, and connections in a closed loop."""

    def __init__(self, port: int, expected: list[bytes], *, connections: int, rate: float, renew: int) -> None:
        self._port = port
        self._expected = expected
        self._number = connections
        self._interval = 1 / rate if rate else 0.0
        self._renew = renew
        self._selector = selectors.DefaultSelector()
        self._selector.register(_COMMANDS, selectors.EVENT_READ)
        self._busy: set[_Connection] = set()
        self._sent = 0
        self._round = _Round()

    def run(self) -> _Round:
        """Ask until there is something on standard input, and until the last answer is there."""
        self._round = _Round()
        idle = deque(filter(None, (self._connected() for _ in range(self._number))))
        is_over, next_at = False, time.monotonic()
        while self._busy or not is_over:
            now = time.monotonic()
            while idle and not is_over and now >= next_at:
                self._ask(idle.popleft())
                next_at = max(next_at + self._interval, now - 10 * self._interval)  # what it is behind, it makes up for
            wait = max(next_at - now, 0.0) if idle and not is_over else 0.5
            for key, _ in self._selector.select(wait):
                if key.fileobj is _COMMANDS:
                    is_over = True
                    self._selector.unregister(_COMMANDS)
                elif self._read(key.data):
                    idle.append(key.data)
                    if key.data.asked == self._renew and not is_over:
                        self._drop(idle.pop())
                        idle.extend(filter(None, (self._connected(),)))
            if late := [one for one in self._busy if now - one.since > _PATIENCE]:
                for one in late:
                    self._fail(one, "no answer")
        self._selector.register(_COMMANDS, selectors.EVENT_READ)
        for connection in idle:
            self._drop(connection)
        return self._round

    def _connected(self) -> _Connection | None:
        try:
            connection = _Connection(self._port)
        except OSError as error:
            self._round.failed.append((time.monotonic(), repr(error)))
            return None
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def _ask(self, connection: _Connection) -> None:
        connection.kind = self._sent % len(REQUESTS)
        self._sent += 1
        connection.asked += 1
        self._busy.add(connection)
        connection.since = time.monotonic()
        try:
            connection.socket.sendall(REQUESTS[connection.kind])
        except OSError as error:
            self._fail(connection, repr(error))

    def _read(self, connection: _Connection) -> bool:
        """Take what has come; tell whether the connection is idle now."""
        if connection not in self._busy:  # the server closes it
            self._fail(connection, "closed while idle")
            return False
        try:
            data = connection.socket.recv(65536)
        except OSError as error:
            self._fail(connection, repr(error))
            return False
        if not data:
            self._fail(connection, f"closed after {connection.answer!r}")
            return False
        connection.answer += data
        if not is_whole(connection.answer):
            return False
        self._round.seconds.append(time.monotonic() - connection.since)
        self._look_at(connection.answer, connection.kind)
        connection.answer = b""
        self._busy.discard(connection)
        return True

    def _look_at(self, answer: bytes, kind: int) -> None:
        trace_id = _TRACE_ID.search(answer)
        if trace_id is None or without_time(_TRACE_ID.sub(b"", answer)) != self._expected[kind]:
            self._round.altered.append(repr(answer))
        if trace_id is not None:
            self._round.trace_ids.append(trace_id[1].decode())

    def _fail(self, connection: _Connection, how: str) -> None:
        self._round.failed.append((time.monotonic(), how))
        self._busy.discard(connection)
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()


def _expected(port: int) -> list[bytes]:
    """Return what the untraced service answers, by kind of request."""
    answers = []
    for request in REQUESTS:
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
            connection.sendall(request)
            answer = b""
            while not is_whole(answer):
                data = connection.recv(65536)
                if not data:
                    raise EOFError(answer)
                answer += data
        answers.append(without_time(answer))
    return answers


def _told(made: _Round) -> dict[str, Any]:
    ordered = sorted(made.seconds)
    return {
        "trace_ids": made.trace_ids,
        "failed": made.failed,
        "altered": made.altered[:100],
        "p50": ordered[len(ordered) // 2] if ordered else None,
        "p99": ordered[int(len(ordered) * 0.99)] if ordered else None,
    }


def main() -> None:
    """Do what standard input says, until its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("reference", type=int, help="the port of the untraced service")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0, help="requests in a second; 0 is as many as there can be")
    parser.add_argument("--orders", action="store_true", help="ask for orders, too")
    parser.add_argument("--renew", type=int, default=0, help="requests to a connection; 0 is no end")
    options = vars(parser.parse_args())
    if options.pop("orders"):
        REQUESTS.append(ORDERS)
    load = Load(options.pop("port"), _expected(options.pop("reference")), **options)
    while _COMMANDS.readline():  # start
        made = load.run()
        _COMMANDS.readline()  # stop
        sys.stdout.write(json.dumps(_told(made)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
