"""An interrupt between any two steps of a client door leaves nothing behind, as in `test_interrupts`."""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
import requests
import urllib3
from opentelemetry import context as otel_context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

import tracemw
import tracemw.httpx
import tracemw.requests
import tracemw.urllib3
from calls import in_a_thread
from interrupting import Interrupter
from tracemw._recording import FlightRecorder, TracerProvider
from tracemw._urllib3.attempts import attempts_under_way


def httpx_sync(provider: TracerProvider) -> Callable[[], None]:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=b"ok"))
    client = tracemw.httpx.trace_client(httpx.Client(transport=transport), tracer_provider=provider)

    def run() -> None:
        client.get("http://shop/")

    return run


def httpx_async(provider: TracerProvider) -> Callable[[], None]:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=b"ok"))
    client = tracemw.httpx.trace_client(httpx.AsyncClient(transport=transport), tracer_provider=provider)

    def run() -> None:  # by hand: a KeyboardInterrupt would take an event loop along
        try:
            client.get("http://shop/").send(None)
        except StopIteration:
            pass

    return run


def httpx_upload(provider: TracerProvider) -> Callable[[], None]:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=request.content))
    client = tracemw.httpx.trace_client(httpx.Client(transport=transport), tracer_provider=provider)

    def run() -> None:
        client.post("http://shop/", content=iter([b"one ", b"two"]))

    return run


def urllib3_upload(provider: TracerProvider) -> Callable[[], None]:
    class Connection(urllib3.connection.HTTPConnection):
        def connect(self) -> None:
            pass

        def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
            raise urllib3.exceptions.ProtocolError(b"".join(body))

    manager = tracemw.urllib3.trace_pool_manager(urllib3.PoolManager(retries=False), tracer_provider=provider)
    manager.connection_from_url("http://shop/").ConnectionCls = Connection

    def run() -> None:
        with suppress(urllib3.exceptions.HTTPError):
            manager.request("POST", "http://shop/", body=iter([b"one ", b"two"]))

    return run


class Adapter(requests.adapters.BaseAdapter):
    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.request, response.url, response.raw = (
            200,
            request,
            "http://shop/",
            io.BytesIO(b"ok"),
        )
        return response

    def close(self) -> None:
        pass


def requests_adapter(provider: TracerProvider) -> Callable[[], None]:
    session = requests.Session()
    session.mount("http://", Adapter())
    tracemw.requests.trace_session(session, tracer_provider=provider)

    def run() -> None:
        session.get("http://shop/")

    return run


def requests_refused(provider: TracerProvider) -> Callable[[], None]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    session = tracemw.requests.trace_session(requests.Session(), tracer_provider=provider)

    def run() -> None:
        with suppress(requests.ConnectionError):
            session.get(url)

    return run


def urllib3_refused(provider: TracerProvider) -> Callable[[], None]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    manager = tracemw.urllib3.trace_pool_manager(urllib3.PoolManager(retries=False), tracer_provider=provider)

    def run() -> None:
        with suppress(urllib3.exceptions.HTTPError):
            manager.request("GET", url)

    return run


BY_HAND = pytest.mark.skipif(httpx.__version__.startswith("0.27."), reason="httpx 0.27 wants a real event loop")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "unsampled"])
@pytest.mark.parametrize(
    "case",
    [
        httpx_sync,
        httpx_upload,
        pytest.param(httpx_async, marks=BY_HAND),
        requests_adapter,
        requests_refused,
        urllib3_refused,
        urllib3_upload,
    ],
)
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="newer Pythons trace too few instructions to tell anything")
@in_a_thread
def test_an_interrupt_between_any_two_steps_of_a_call_leaves_no_context(
    case: Callable[[TracerProvider], Callable[[], None]], sampler: Any
) -> None:
    recorder = FlightRecorder(lambda span: None, is_on=True, slow=5, rate=100)
    call = case(TracerProvider(sampler, Resource({}), shutdown_on_exit=False, recorder=recorder))
    call()
    with Interrupter() as counting:
        call()
    before = otel_context.get_current()
    interrupted = 0
    for at in counting.steps[:: 1 + len(counting.steps) // 700]:
        with Interrupter(at) as interrupter:
            try:
                call()
            except KeyboardInterrupt:
                interrupted += 1
        assert (interrupter.where, otel_context.get_current()) == (interrupter.where, before)
        assert (interrupter.where, attempts_under_way.get()) == (interrupter.where, None)
        assert min(recorder.books.held, recorder.books.fragments) >= 0
    assert interrupted > 50
