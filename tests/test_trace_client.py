"""What is particular to the two doors for httpx and httpx2 together: `trace_client`, and what each door refuses."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import httpx2
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import tracemw.httpx
import tracemw.httpx2
from conftest import Recorded
from servers import uvicorn_serving

with warnings.catch_warnings(action="ignore"):  # an older Starlette, or one without httpx2, has something to say
    from starlette.testclient import TestClient


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    async def home(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.headers.get("traceparent", ""))

    with uvicorn_serving(Starlette(routes=[Route("/", home)])) as url:
        yield url


BOTH = pytest.mark.parametrize(
    ("library", "door", "other", "name"),
    [(httpx, tracemw.httpx, httpx2, "httpx"), (httpx2, tracemw.httpx2, httpx, "httpx2")],
    ids=["httpx", "httpx2"],
)


# What a door refuses, and what it names instead.


@BOTH
def test_a_transport_that_is_none_of_the_doors_is_refused_by_name(
    library: Any, door: Any, other: Any, name: str
) -> None:
    elsewhere = other.__name__
    for given, says in (
        (other.HTTPTransport(), f"not {elsewhere}.HTTPTransport; that is for tracemw.{elsewhere}.TraceTransport"),
        (other.MockTransport(print), f"that is for tracemw.{elsewhere}."),
        (library.AsyncHTTPTransport(), f"that is for tracemw.{name}.AsyncTraceTransport"),
        (library.HTTPTransport, f"not the class {name}.HTTPTransport; pass an instance"),
        (library.Client(), f"not {name}.Client"),
        (7, "not builtins.int"),
    ):
        with pytest.raises(TypeError) as refused:
            door.TraceTransport(given)
        assert str(refused.value).startswith(f"tracemw.{name}.TraceTransport takes a {name}.BaseTransport")
        assert says in str(refused.value)
    with pytest.raises(TypeError, match=rf"that is for tracemw\.{name}\.TraceTransport"):
        door.AsyncTraceTransport(library.HTTPTransport())
    with pytest.raises(TypeError, match=rf"that is for tracemw\.{elsewhere}\.AsyncTraceTransport"):
        door.AsyncTraceTransport(other.AsyncHTTPTransport())


@BOTH
def test_a_client_that_is_none_of_the_doors_is_refused_by_name(library: Any, door: Any, other: Any, name: str) -> None:
    elsewhere = other.__name__
    for given, says in (
        (other.Client(), f"not {elsewhere}.Client; that is for tracemw.{elsewhere}.trace_client"),
        (other.AsyncClient(), f"that is for tracemw.{elsewhere}.trace_client"),
        (library.Client, f"not the class {name}.Client; pass an instance"),
        (library.HTTPTransport(), f"not {name}.HTTPTransport"),
    ):
        with pytest.raises(TypeError) as refused:
            door.trace_client(given)
        assert says in str(refused.value)


@BOTH
def test_a_request_of_the_other_library_is_refused_by_name(
    library: Any, door: Any, other: Any, name: str, url: str, recorded: Recorded
) -> None:
    elsewhere = other.__name__
    says = rf"takes a {name}\.Request, not {elsewhere}\.Request; that is for tracemw\.{elsewhere}\."
    with other.Client(transport=door.TraceTransport()) as client, pytest.raises(TypeError, match=says):
        client.get(url)

    async def call() -> None:
        async with other.AsyncClient(transport=door.AsyncTraceTransport()) as client:
            await client.get(url)

    with pytest.raises(TypeError, match=says):
        asyncio.run(call())
    assert recorded.all == []


@BOTH
def test_nothing_of_a_client_is_changed_when_it_is_refused(library: Any, door: Any, other: Any, name: str) -> None:
    client = library.Client(mounts={"all://": other.HTTPTransport()})
    before = client._transport, dict(client._mounts)
    with pytest.raises(TypeError):
        door.trace_client(client)
    with pytest.raises(TypeError, match="nonsense"):
        door.trace_client(client, nonsense=1)
    assert (client._transport, client._mounts) == before


@BOTH
def test_a_transport_of_no_librarys_class_is_taken_as_the_client_takes_it(
    library: Any, door: Any, other: Any, name: str, recorded: Recorded
) -> None:
    class Duck:
        def handle_request(self, request: Any) -> Any:
            return library.Response(200, text=request.headers["traceparent"])

        def close(self) -> None:
            pass

    client = door.trace_client(library.Client(transport=Duck()))
    assert client.get("http://duck/").text.startswith("00-")
    client.close()
    assert recorded.client.name == "GET"


@BOTH
def test_the_span_of_a_response_that_is_not_the_librarys_ends(
    library: Any, door: Any, other: Any, name: str, recorded: Recorded
) -> None:
    class Lent(library.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            return other.Response(200, stream=other.ByteStream(b"lent"))

    response = door.TraceTransport(Lent()).handle_request(library.Request("GET", "http://lent/"))
    assert list(response.stream) == [b"lent"]
    assert recorded.client.status.status_code is StatusCode.UNSET


# What a client keeps.


@BOTH
def test_a_client_is_traced_once_by_whatever_traces_it(
    library: Any, door: Any, other: Any, name: str, url: str, recorded: Recorded
) -> None:
    with library.Client(transport=door.TraceTransport()) as client:
        for _ in range(2):
            assert door.trace_client(client) is client
        transport = client._transport
        client.get(url)
        assert client._transport is transport

    assert recorded.client.name == "GET"


@BOTH
def test_options_that_are_given_later_hold_and_the_others_stay(
    library: Any, door: Any, other: Any, name: str, url: str, recorded: Recorded
) -> None:
    with door.trace_client(library.Client(), third_parties=["127.0.0.1"]) as client:
        door.trace_client(client)
        assert client.get(url).text == ""
        door.trace_client(client, third_parties=["elsewhere.example"])
        assert client.get(url).text.startswith("00-")

    assert len(recorded.all) == 2


@BOTH
def test_what_else_a_transport_can_do_is_there_as_before(library: Any, door: Any, other: Any, name: str) -> None:
    class Own(library.HTTPTransport):  # type: ignore[misc]
        def connections(self) -> int:
            return len(self._pool.connections)

    client = door.trace_client(library.Client(transport=Own()))
    assert client._transport.connections() == 0
    assert not hasattr(client._transport, "handle_async_request")
    with pytest.raises(AttributeError, match="nothing"):
        _ = client._transport.nothing


@BOTH
def test_none_among_the_mounts_stays_none_and_one_transport_stays_one(
    library: Any, door: Any, other: Any, name: str
) -> None:
    closed: list[object] = []

    class Own(library.HTTPTransport):  # type: ignore[misc]
        def close(self) -> None:
            closed.append(self)
            super().close()

    transport = Own()
    client = library.Client(transport=transport, mounts={"http://a": None, "http://b": transport})
    patterns = list(client._mounts)
    door.trace_client(client)
    assert list(client._mounts) == patterns
    assert [mounted is client._transport for mounted in client._mounts.values() if mounted is not None] == [True]
    assert sum(mounted is None for mounted in client._mounts.values()) == 1
    client.close()
    assert closed == [transport, transport]


# Starlette's test client, which is a client of one of the two.


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.headers["traceparent"])
    await websocket.close()


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.headers["traceparent"])


async def failing(request: Request) -> PlainTextResponse:
    raise LookupError("the application's own")


def test_starlettes_test_client_is_a_client_as_any_other(recorded: Recorded) -> None:
    door = tracemw.httpx2 if issubclass(TestClient, httpx2.Client) else tracemw.httpx
    routes = [Route("/", home), Route("/failing", failing), WebSocketRoute("/socket", socket)]
    traced: Any = door
    with traced.trace_client(TestClient(Starlette(routes=routes))) as client:
        assert type(client) is TestClient
        assert client.get("/").text.startswith("00-")
        with pytest.raises(LookupError, match="the application's own"):
            client.get("/failing")
        with client.websocket_connect("/socket") as connection:
            assert connection.receive_text().startswith("00-")

    spans = recorded.of_kind(SpanKind.CLIENT)
    assert [span.status.status_code for span in spans] == [StatusCode.UNSET, StatusCode.ERROR, StatusCode.UNSET]


async def test_closing_an_asynchronous_body_midway_closes_what_is_beneath_as_without_tracing(
    recorded: Recorded,
) -> None:
    did: list[str] = []

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"some"
        finally:
            did.append("closed")

    def client() -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=httpx2.MockTransport(lambda request: httpx2.Response(200, content=chunks()))
        )

    for made in (client(), tracemw.httpx2.trace_client(client())):
        async with made, made.stream("GET", "http://example/") as response:
            body: Any = response.aiter_raw()
            assert await anext(body) == b"some"
            await body.aclose()
            did.append("closed the body")
    assert did[: len(did) // 2] == did[len(did) // 2 :]
    assert recorded.client.status.status_code is StatusCode.UNSET
