"""What every server door must do behind the servers that people deploy, where their behaviour matters.

Each server is a process of its own, whose spans arrive where `tracemw.init()` exports them.
"""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from backend import Backend, backend_serving
from conformance.server_doors import DOORS, Door
from servers import free_port, process, wait_until

BOOM = "conformance.service.Boom"
SERVERS = [(door, server) for door, kind in DOORS.items() for server in kind.servers]


@dataclass
class Running:
    """A door behind a real server."""

    door: Door
    url: str
    process: subprocess.Popen[str]
    backend: Backend

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def trace(self) -> _Trace:
        return _Trace(self.backend, secrets.token_hex(16))


@dataclass
class _Trace:
    """A caller's trace, and what arrived of it."""

    backend: Backend
    trace_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"traceparent": f"00-{self.trace_id}-00000000000000aa-01"}

    @property
    def spans(self) -> list[Span]:
        return [span for span in self.backend.spans if span.trace_id.hex() == self.trace_id]

    def server(self) -> Span:
        """The one SERVER span, when it has arrived."""
        wait_until(lambda: any(span.kind == Span.SPAN_KIND_SERVER for span in self.spans))
        (span,) = [span for span in self.spans if span.kind == Span.SPAN_KIND_SERVER]
        return span


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in span.attributes}


def seconds(span: Span) -> float:
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9


def exceptions(span: Span) -> list[str]:
    return [pair.value.string_value for event in span.events for pair in event.attributes if pair.key.endswith("type")]


class Starter:
    """Starts the servers side by side, and again one that a test has stopped."""

    def __init__(self, backend: Backend, stack: ExitStack) -> None:
        self._backend = backend
        self._stack = stack
        self._running = {pair: self._start(*pair) for pair in SERVERS}

    def __call__(self, door: str, server: str) -> Running:
        if self._running[door, server].process.poll() is not None:
            self._running[door, server] = self._start(door, server)
        running = self._running[door, server]

        def up() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(f"{running.url}/health").status_code == 200
            return False

        wait_until(up)
        return running

    def _start(self, door: str, server: str) -> Running:
        port = free_port()
        arguments = [part.format(port=port, app="conformance.served:app") for part in DOORS[door].servers[server]]
        environment = {
            "CONFORMANCE_DOOR": door,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._backend.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        running = self._stack.enter_context(process(*arguments, env=environment, cwd=Path(__file__).parents[1]))
        return Running(DOORS[door](), f"http://127.0.0.1:{port}", running, self._backend)


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    with backend_serving() as backend, ExitStack() as stack:
        yield Starter(backend, stack)


def over_every_server(test: Any) -> Any:
    ids = [f"{door}-{server}" for door, server in SERVERS]
    return pytest.mark.parametrize(("door", "server"), SERVERS, ids=ids)(test)


@over_every_server
def test_behind_a_real_server_a_request_is_one_span_that_knows_its_peer(
    starter: Starter, door: str, server: str
) -> None:
    running = starter(door, server)
    sent = running.trace()
    answer = httpx.get(f"{running.url}/order/7?q=1", headers=sent.headers)
    assert (answer.text, answer.headers["x-trace-id"]) == ("['7']", sent.trace_id)
    span = sent.server()
    known = attributes(span)
    assert (known.pop("network.peer.port"), known.pop("user_agent.original")) != ("", "")
    if "route" not in running.door.lacks:
        assert known.pop("http.route") == running.door.template("/order/{number}")
    assert known == {
        "http.request.method": "GET",
        "url.path": "/order/7",
        "url.query": "q=1",
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": running.port,
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    assert span.status.code == Status.STATUS_CODE_UNSET


@over_every_server
def test_requests_on_one_connection_are_spans_of_their_own(starter: Starter, door: str, server: str) -> None:
    running = starter(door, server)
    traces = [running.trace() for _ in range(3)]
    with httpx.Client() as client:
        for number, sent in enumerate(traces):
            client.get(f"{running.url}/order/{number}", headers=sent.headers)
    assert [attributes(sent.server())["url.path"] for sent in traces] == ["/order/0", "/order/1", "/order/2"]


@over_every_server
def test_behind_a_real_server_a_stream_lasts_until_its_last_byte(starter: Starter, door: str, server: str) -> None:
    running = starter(door, server)
    sent = running.trace()
    assert httpx.get(f"{running.url}/stream/5", headers=sent.headers).content == b"chunk" * 5
    assert 0.08 <= seconds(sent.server()) < 2


@over_every_server
def test_a_client_that_hangs_up_ends_the_span_without_an_error(starter: Starter, door: str, server: str) -> None:
    running = starter(door, server)
    sent = running.trace()
    with httpx.stream("GET", f"{running.url}/endless", headers=sent.headers) as response:
        assert next(response.iter_raw()).startswith(b"chunk")
    span = sent.server()
    assert attributes(span)["http.response.status_code"] == 200
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert exceptions(span) == []


@over_every_server
def test_behind_a_real_server_an_error_after_the_headers_leaves_the_status(
    starter: Starter, door: str, server: str
) -> None:
    running = starter(door, server)
    sent = running.trace()
    with suppress(httpx.RemoteProtocolError):
        assert httpx.get(f"{running.url}/broken-stream", headers=sent.headers).status_code == 200
    span = sent.server()
    assert attributes(span)["http.response.status_code"] == 200
    assert attributes(span)["error.type"] == BOOM
    assert exceptions(span) == [BOOM]
    assert span.status.code == Status.STATUS_CODE_ERROR


@over_every_server
def test_the_caller_of_an_application_that_fails_gets_the_servers_500(starter: Starter, door: str, server: str) -> None:
    running = starter(door, server)
    sent = running.trace()
    assert httpx.get(f"{running.url}/boom", headers=sent.headers).status_code == 500
    assert exceptions(sent.server()) == [BOOM]


@over_every_server
def test_behind_a_real_server_work_after_the_last_byte_is_in_the_trace_and_not_in_the_time(
    starter: Starter, door: str, server: str
) -> None:
    running = starter(door, server)
    sent = running.trace()
    httpx.get(f"{running.url}/afterwards", headers=sent.headers)
    server_span = sent.server()
    wait_until(lambda: len(sent.spans) == 2)
    (work,) = [span for span in sent.spans if span.name == "child.afterwards"]
    assert work.parent_span_id == server_span.span_id
    assert server_span.end_time_unix_nano <= work.start_time_unix_nano


@over_every_server
def test_bytes_that_are_no_utf_8_come_through_a_real_server(starter: Starter, door: str, server: str) -> None:
    running = starter(door, server)
    sent = running.trace()
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as connection:
        connection.sendall(
            b"GET /order/%FF%5C?q=%FF\\ HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
            b"User-Agent: \xff\r\nBaggage: \xff=\xff\r\nTraceparent: "
            + sent.headers["traceparent"].encode()
            + b"\r\n\r\n"
        )
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert attributes(sent.server())["url.path"] == "/order/\ufffd\\"


@over_every_server
def test_sigterm_in_the_middle_of_a_response_loses_neither_the_response_nor_its_span(
    starter: Starter, door: str, server: str
) -> None:
    running = starter(door, server)
    sent = running.trace()
    with httpx.stream("GET", f"{running.url}/stream/10", headers=sent.headers) as response:
        chunks = response.iter_raw()
        first = next(chunks)
        running.process.send_signal(signal.SIGTERM)
        assert first + b"".join(chunks) == b"chunk" * 10
    running.process.wait(60)
    assert attributes(sent.server())["http.response.status_code"] == 200
