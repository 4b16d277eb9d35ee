"""The door for urllib3, where it is not like the doors for other clients."""

from __future__ import annotations

import io
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3

from conftest import Recorded
from servers import uvicorn_serving
from tracemw.requests import trace_session
from tracemw.urllib3 import trace_pool_manager


async def service(scope: Any, receive: Any, send: Any) -> None:
    """Answers in two parts, the second of which comes when the request's body has been read."""
    headers = [] if scope["path"] == "/chunked" else [(b"content-length", b"10")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello", "more_body": True})
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with uvicorn_serving(service, lifespan="off") as url:
        yield url


@pytest.fixture
def manager(recorded: Recorded) -> Iterator[urllib3.PoolManager]:
    with trace_pool_manager(urllib3.PoolManager()) as manager:
        yield manager


def read_in_parts(response: Any) -> bytes:
    return b"".join(iter(lambda: response.read(3), b""))


def read_what_is_there(response: Any) -> bytes:
    return b"".join(iter(response.read1, b""))


@pytest.mark.parametrize("path", ["/sized", "/chunked"])
@pytest.mark.parametrize(
    "read",
    [
        lambda response: response.read(),
        lambda response: response.data,
        lambda response: b"".join(response.stream(3)),
        lambda response: b"".join(response),
        read_in_parts,
        read_what_is_there,
    ],
)
def test_the_span_ends_with_the_last_part_of_the_body_however_it_is_read(
    manager: urllib3.PoolManager, recorded: Recorded, url: str, path: str, read: Callable[[Any], bytes]
) -> None:
    response = manager.request("GET", url + path, preload_content=False)
    assert not recorded.all
    assert read(response) == b"hellohello"
    assert (recorded.client.attributes or {})["http.response.status_code"] == 200


def test_the_span_ends_when_the_rest_of_a_body_is_thrown_away(
    manager: urllib3.PoolManager, recorded: Recorded, url: str
) -> None:
    response = manager.request("GET", url, preload_content=False)
    assert not recorded.all
    response.drain_conn()
    assert recorded.client.name == "GET"


def test_a_body_that_is_read_at_once_ends_the_span(manager: urllib3.PoolManager, recorded: Recorded, url: str) -> None:
    response = manager.request("GET", url)
    assert response.data == b"hellohello"
    assert type(response) is urllib3.HTTPResponse
    assert recorded.client.name == "GET"


def called(recorded: Recorded) -> list[tuple[str, Any]]:
    return [(span.name, (span.attributes or {})["url.full"]) for span in recorded.all]


def test_a_call_that_is_made_while_another_ones_body_is_sent_stays_another(
    manager: urllib3.PoolManager, recorded: Recorded, url: str
) -> None:
    def body() -> Iterator[bytes]:
        yield manager.request("GET", f"{url}/inner").data

    manager.request("POST", f"{url}/outer", body=body())
    assert called(recorded) == [("GET", f"{url}/inner"), ("POST", f"{url}/outer")]


def test_a_call_past_the_manager_while_a_body_is_sent_is_no_attempt_at_the_call_that_sends_it(
    manager: urllib3.PoolManager, recorded: Recorded, url: str
) -> None:
    def body() -> Iterator[bytes]:
        yield manager.connection_from_url(url).request("GET", "/inner").data

    manager.request("POST", f"{url}/outer", body=body())
    assert called(recorded) == [("POST", f"{url}/outer")]


class Calling(io.StringIO):
    """A file of text that calls whenever it is read."""

    def __init__(self, text: str, call: Callable[[], Any]) -> None:
        super().__init__(text)
        self.call = call

    def read(self, size: int | None = -1) -> str:
        self.call()
        return super().read(size)


def test_a_file_that_calls_when_it_is_read_is_sent_from_where_it_stood_on_each_attempt(
    manager: urllib3.PoolManager, recorded: Recorded
) -> None:
    bodies: list[bytes] = []

    async def refuse_once(scope: Any, receive: Any, send: Any) -> None:
        whole, more = b"", True
        while more:
            message = await receive()
            whole, more = whole + message["body"], message.get("more_body")
        if scope["method"] == "PUT":
            bodies.append(whole)
        status = 503 if len(bodies) == 1 and scope["method"] == "PUT" else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    with uvicorn_serving(refuse_once, lifespan="off") as url:
        file = Calling("read. r\u00fchrt", lambda: manager.request("GET", f"{url}/inner"))
        file.seek(6)
        retries = urllib3.Retry(1, status_forcelist=[503])
        assert manager.request("PUT", f"{url}/outer", body=file, retries=retries).status == 200

    assert bodies == ["r\u00fchrt".encode()] * 2
    inner, outer = ("GET", f"{url}/inner"), ("PUT", f"{url}/outer")
    assert called(recorded) == [inner, inner, outer] * 2


@pytest.mark.parametrize("body", ["text", b"bytes", bytearray(b"buffer"), memoryview(b"view"), array("B", b"array")])
def test_a_body_that_is_there_at_once_reaches_a_connection_as_it_is(
    manager: urllib3.PoolManager, recorded: Recorded, url: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[object] = []

    class Noting(urllib3.connection.HTTPConnection):
        def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
            taken.append(body)
            super().request(method, url, body, *args, **kwargs)

    monkeypatch.setattr(manager.connection_from_url(url), "ConnectionCls", Noting)
    manager.request("POST", url, body=body)
    assert len(taken) == 1
    assert taken[0] is body


def test_managers_stay_of_their_kind_and_take_the_options_given_last(recorded: Recorded, url: str) -> None:
    proxies = urllib3.ProxyManager(url)
    assert trace_pool_manager(proxies) is proxies
    assert isinstance(proxies, urllib3.ProxyManager)
    assert type(proxies).__name__ == "ProxyManager"
    kind = type(proxies)
    trace_pool_manager(proxies, third_parties=["shop.example"])
    assert type(proxies) is kind
    assert proxies.request("GET", "http://shop.example/").data == b"hellohello"
    assert recorded.client.name == "GET"


def test_a_session_of_requests_has_its_own_span_whatever_its_manager_is(recorded: Recorded, url: str) -> None:
    with trace_session(requests.Session()) as session:
        adapter: Any = session.get_adapter(url)
        for _ in range(2):
            assert session.get(url).text == "hellohello"
            assert recorded.client.name == "GET"
            recorded.clear()
            trace_pool_manager(adapter.poolmanager)
        assert adapter.poolmanager.request("GET", url).data == b"hellohello"
        assert recorded.client.name == "GET"


def test_what_is_no_manager_is_refused() -> None:
    with pytest.raises(TypeError, match=r"takes a urllib3\.PoolManager, not <requests"):
        trace_pool_manager(requests.Session())  # type: ignore[type-var]
