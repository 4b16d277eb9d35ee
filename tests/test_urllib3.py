"""The door for urllib3, where it is not like the doors for other clients."""

from __future__ import annotations

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


def test_a_call_that_is_made_while_another_ones_body_is_sent_stays_another(
    manager: urllib3.PoolManager, recorded: Recorded, url: str
) -> None:
    def body() -> Iterator[bytes]:
        yield manager.request("GET", f"{url}/inner").data

    manager.request("POST", f"{url}/outer", body=body())
    assert recorded.client.name == "POST"
    assert (recorded.client.attributes or {})["url.full"] == f"{url}/outer"


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
