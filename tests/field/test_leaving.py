"""Clients that leave, over real servers: a clean end is no error, and a bug is one whoever has left."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from websockets.sync.client import ClientConnection, connect

from field.servers import Served, reset, serving
from servers import wait_until

ASGI = ["uvicorn asgi", "hypercorn asgi", "granian asgi", "uvicorn layered"]
WSGI = ["gunicorn sync wsgi", "gunicorn gthread wsgi", "gunicorn gevent wsgi"]

Leave = Callable[[ClientConnection], object]


def vanish(client: ClientConnection) -> None:
    client.socket.shutdown(socket.SHUT_RDWR)


def aborting(served: Served) -> None:
    connection = served.raw("POST /upload HTTP/1.1\nHost: shop.example\nContent-Length: 9\nExpect: 100-continue")
    connection.recv(100)
    reset(connection)


def failing(served: Served) -> None:
    fail(served, "/boom")


def fail(served: Served, path: str) -> None:
    # A client that tells the end: under load, servers close connections that are kept alive at any time.
    with served.raw(f"GET {path} HTTP/1.1\nHost: shop.example\nConnection: close") as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 500")


LEAVING = [
    *(pytest.param(lambda client, code=code: client.close(code), id=str(code)) for code in (1000, 1001, 1011, 4000)),
    pytest.param(vanish, id="vanish"),
]


@pytest.fixture(scope="module")
def serving_it(request: pytest.FixtureRequest) -> Iterator[Served]:
    """One server for the tests of this module that name it."""
    server, _, app = request.param.rpartition(" ")
    with serving(server, f"leaving:{app}") as served:
        yield served


@pytest.fixture
def served(serving_it: Served) -> Served:
    serving_it.backend.requests.clear()
    return serving_it


def on(*servers: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("serving_it", servers, indirect=True, scope="module")


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def is_clean(span: Span) -> bool:
    return (
        span.status.code == Status.STATUS_CODE_UNSET
        and not span.events
        and "error.type" not in attributes(span)
        and attributes(span).get("http.response.status_code", 0) < 500
    )


@on(*ASGI, *WSGI)
@pytest.mark.parametrize("leave", LEAVING)
def test_a_websocket_that_its_client_closes_is_no_error(served: Served, leave: Leave) -> None:
    with connect(served.url.replace("http", "ws") + "/echo") as client:
        client.send("hello")
        assert client.recv() == "hello"
        leave(client)
    span = served.span("GET /echo")
    assert is_clean(span)
    assert attributes(span)["http.response.status_code"] == 101


@on(*ASGI, *WSGI)
def test_a_bug_after_the_client_has_closed_a_websocket_is_an_error(served: Served) -> None:
    with connect(served.url.replace("http", "ws") + "/broken") as client:
        client.send("go on")
        client.close()
    span = served.span("GET /broken")
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert [event.name for event in span.events] == ["exception"]


@on(*WSGI)
def test_the_end_of_a_bare_simple_websocket_is_no_error(served: Served) -> None:
    with connect(served.url.replace("http", "ws") + "/bare") as client:
        client.send("hello")
        assert client.recv() == "hello"
    assert is_clean(served.span("GET /bare"))


UPLOADS = {
    "sized": ("Content-Length: 1000000", b"x" * 1000),
    "chunked": ("Transfer-Encoding: chunked", b"a\r\n0123456789\r\n5\r\n12"),
}


def abort(served: Served, path: str, *, kind: str, how: Callable[[socket.socket], object]) -> Span:
    header, body = UPLOADS[kind]
    connection = served.raw(f"POST {path} HTTP/1.1\nHost: shop.example\n{header}\nExpect: 100-continue")
    assert connection.recv(100).startswith(b"HTTP/1.1 100")  # the request is being served
    connection.sendall(body)
    how(connection)
    return served.span(f"POST {path}")


@pytest.mark.parametrize("how", [reset, socket.socket.close])
@pytest.mark.parametrize("kind", UPLOADS)
@on(*ASGI)
def test_an_upload_that_its_client_aborts_is_no_error(served: Served, kind: str, how: Any) -> None:
    span = abort(served, "/upload", kind=kind, how=how)
    assert is_clean(span)
    assert "http.response.status_code" not in attributes(span)  # the 500 that Starlette makes of it reaches nobody


@pytest.mark.parametrize("how", [reset, socket.socket.close])
@pytest.mark.parametrize("kind", UPLOADS)
@pytest.mark.parametrize("path", ["/upload", "/raw"])
@on(*WSGI)
def test_an_upload_to_wsgi_that_its_client_aborts_is_no_error(served: Served, path: str, kind: str, how: Any) -> None:
    assert is_clean(abort(served, path, kind=kind, how=how))


@on(*ASGI)
def test_a_bug_after_the_client_has_aborted_its_upload_is_an_error(served: Served) -> None:
    span = abort(served, "/broken-upload", kind="sized", how=reset)
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.parametrize("how", [reset, socket.socket.close])
@on(*ASGI)
def test_a_stream_whose_client_hangs_up_is_no_error(served: Served, how: Any) -> None:
    connection = served.raw("GET /stream HTTP/1.1\nHost: shop.example")
    connection.recv(1000)
    how(connection)
    assert is_clean(served.span("GET /stream"))


@on(*WSGI)
def test_an_error_of_the_connection_to_another_service_is_an_error(served: Served) -> None:
    with served.raw("GET /boom/1 HTTP/1.1\nHost: shop.example\nConnection: close") as connection:
        while connection.recv(1000):
            pass
    assert served.span("GET /boom/<number>").status.code == Status.STATUS_CODE_ERROR


@pytest.mark.parametrize(("noise", "least"), [(aborting, 60), (failing, 54)])
def test_neither_aborts_nor_a_noisy_route_hide_the_errors_of_others(
    noise: Callable[[Served], None], least: int
) -> None:
    with serving("uvicorn", "leaving:unsampled") as served:
        is_over = threading.Event()

        def make_noise() -> None:
            while not is_over.is_set():
                noise(served)

        with ThreadPoolExecutor() as threads:
            noisy = [threads.submit(make_noise) for _ in range(2)]
            try:
                for number in range(60):
                    fail(served, f"/boom/{number}")
                    is_over.wait(0.06)  # so that they are fewer than a third of what is kept in a second
            finally:
                is_over.set()
            for each in noisy:
                each.result()
        wait_until(lambda: len(served.spans("GET /boom/{number}")) >= least)
        assert not served.spans("POST /upload")
