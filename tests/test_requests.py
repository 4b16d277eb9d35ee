"""What is particular to the door for requests; what it shares with the others is in conformance/."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import re
import select
import socket
import socketserver
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock
import trustme
import urllib3
from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from requests.adapters import HTTPAdapter
from starlette.requests import Request
from starlette.responses import Response
from urllib3.util import Retry

import tracemw
from backend import backend_serving
from conftest import Recorded
from servers import free_port, uvicorn_serving
from tracemw.requests import TraceAdapter, trace_session


class Service:
    """A real server, some of whose answers fail at first."""

    def __init__(self) -> None:
        self.url = ""
        self.traceparents: list[list[str]] = []
        self.bodies: list[bytes] = []
        self._asked: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        self.traceparents.append(request.headers.getlist("traceparent"))
        self.bodies.append(await request.body())
        self._asked[path] += 1
        if path.startswith("/busy") or (path.startswith("/flaky") and self._asked[path] <= 2):
            return Response("busy", 503)
        return Response("hello", media_type="text/plain")


@pytest.fixture(scope="module")
def _service() -> Iterator[Service]:
    service = Service()
    with uvicorn_serving(service, lifespan="off") as service.url:
        yield service


@pytest.fixture
def service(_service: Service) -> Service:
    _service.traceparents.clear()
    _service.bodies.clear()
    return _service


@pytest.fixture
def session(recorded: Recorded) -> Iterator[requests.Session]:
    with trace_session(requests.Session()) as session:
        yield session


def retrying(retries: Retry) -> requests.Session:
    session = requests.Session()
    session.mount("http://", TraceAdapter(max_retries=retries))
    return session


def of_clients(recorded: Recorded, key: str) -> list[Any]:
    return [(span.attributes or {}).get(key) for span in recorded.of_kind(SpanKind.CLIENT)]


def between(earlier: ReadableSpan, later: ReadableSpan) -> float:
    assert earlier.end_time is not None
    assert later.start_time is not None
    return (later.start_time - earlier.end_time) / 1e9


# Retries below requests.


def test_each_retry_of_a_status_is_a_span_of_its_own(service: Service, recorded: Recorded) -> None:
    with retrying(Retry(3, status_forcelist=[503])) as session, tracemw.span("order.place") as order:
        assert session.get(f"{service.url}/flaky/status").text == "hello"

    spans = recorded.of_kind(SpanKind.CLIENT)
    assert of_clients(recorded, "http.response.status_code") == [503, 503, 200]
    assert of_clients(recorded, "error.type") == ["503", "503", None]
    assert of_clients(recorded, "http.request.resend_count") == [None, 1, 2]
    assert of_clients(recorded, "network.protocol.version") == ["1.1", "1.1", "1.1"]
    assert [span.parent for span in spans] == [order.get_span_context()] * 3
    contexts = [span.context for span in spans]
    assert [[f"{context.span_id:016x}"] for context in contexts if context] == [
        [traceparent.split("-")[2] for traceparent in received] for received in service.traceparents
    ]


def test_the_last_retry_keeps_its_status_and_has_the_error_that_requests_raises(
    service: Service, recorded: Recorded
) -> None:
    with retrying(Retry(2, status_forcelist=[503])) as session, pytest.raises(requests.exceptions.RetryError):
        session.get(f"{service.url}/busy")

    assert of_clients(recorded, "http.response.status_code") == [503, 503, 503]
    assert of_clients(recorded, "error.type") == ["503", "503", "503"]
    assert [len(span.events) for span in recorded.all] == [0, 0, 1]


def test_retries_that_end_with_an_error_status_give_the_response(service: Service, recorded: Recorded) -> None:
    with retrying(Retry(1, status_forcelist=[503], raise_on_status=False)) as session:
        assert session.get(f"{service.url}/busy").status_code == 503

    assert of_clients(recorded, "error.type") == ["503", "503"]


def test_each_retry_of_a_connection_is_a_span_of_its_own(recorded: Recorded) -> None:
    with retrying(Retry(2)) as session, pytest.raises(requests.ConnectionError):
        session.get(f"http://127.0.0.1:{free_port()}/")

    assert of_clients(recorded, "error.type") == [
        "urllib3.exceptions.NewConnectionError",
        "urllib3.exceptions.NewConnectionError",
        "requests.exceptions.ConnectionError",
    ]
    assert of_clients(recorded, "http.request.resend_count") == [None, 1, 2]
    assert [len(span.events) for span in recorded.all] == [1, 1, 1]
    assert {span.status.status_code for span in recorded.all} == {StatusCode.ERROR}


@pytest.mark.parametrize("path", ["/flaky/slowly", None])
def test_the_wait_between_two_attempts_is_in_neither(service: Service, recorded: Recorded, path: str | None) -> None:
    url = service.url + path if path else f"http://127.0.0.1:{free_port()}/"
    with retrying(Retry(2, status_forcelist=[503], backoff_factor=0.15)) as session:
        try:
            session.get(url)
        except requests.ConnectionError:
            pass

    _, second, third = recorded.all
    assert between(second, third) > 0.25  # the first retry is at once, the second after twice the factor
    for event in second.events:
        assert second.end_time is not None
        assert event.timestamp <= second.end_time


def test_an_upload_is_sent_whole_on_each_retry(service: Service, recorded: Recorded) -> None:
    with retrying(Retry(3, status_forcelist=[503], allowed_methods=None)) as session:
        session.post(f"{service.url}/flaky/upload", data=b"all of it")

    assert service.bodies == [b"all of it"] * 3


def test_retries_beneath_another_instrumentation_get_no_spans(service: Service, recorded: Recorded) -> None:
    token = otel_context.attach(otel_context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True))
    try:
        with retrying(Retry(3, status_forcelist=[503])) as session:
            assert session.get(f"{service.url}/flaky/suppressed").text == "hello"
    finally:
        otel_context.detach(token)

    assert recorded.all == []
    assert service.traceparents == [[], [], []]


def test_urllib3s_own_instrumentation_beneath_is_silenced_on_each_attempt(
    service: Service, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    beneath: list[object] = []
    urlopen = urllib3.HTTPConnectionPool.urlopen

    def instrumented(*args: Any, **kwargs: Any) -> Any:
        beneath.append(otel_context.get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY))
        return urlopen(*args, **kwargs)

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", instrumented)
    with retrying(Retry(3, status_forcelist=[503])) as session:
        session.get(f"{service.url}/flaky/beneath")

    assert beneath == [True, True, True]


# Requests, responses and sessions stay what they are.


def test_the_callers_request_and_headers_are_left_as_they_were(service: Service, session: requests.Session) -> None:
    request = session.prepare_request(requests.Request("GET", service.url, headers={"X-One": "1"}))
    headers = dict(request.headers)
    response = session.send(request)

    assert dict(request.headers) == headers
    assert response.request is request
    assert len(service.traceparents[0]) == 1


def test_a_response_is_pickled_and_copied_as_a_plain_one(service: Service, session: requests.Session) -> None:
    response = session.get(service.url)
    for again in (pickle.loads(pickle.dumps(response)), copy.copy(response), copy.deepcopy(response)):
        assert type(again) is requests.Response
        assert again.text == "hello"
        assert again.status_code == 200
        assert again.request.url == response.request.url


def test_pickling_an_unread_response_reads_it_and_ends_its_span(
    service: Service, session: requests.Session, recorded: Recorded
) -> None:
    response = session.get(service.url, stream=True)
    assert recorded.all == []
    assert pickle.loads(pickle.dumps(response)).text == "hello"

    assert recorded.client.name == "GET"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda session: pickle.loads(pickle.dumps(session))])
def test_a_copied_or_pickled_session_still_traces(
    service: Service, session: requests.Session, recorded: Recorded, again: Any
) -> None:
    with again(session) as other:
        assert other.get(service.url).text == "hello"

    assert recorded.client.name == "GET"


def test_a_pickled_adapter_keeps_its_settings(recorded: Recorded) -> None:
    adapter = TraceAdapter(max_retries=3, pool_maxsize=7, pool_block=True)
    again = pickle.loads(pickle.dumps(adapter))

    assert again.max_retries.total == 3
    assert again.__getstate__().items() >= {"_pool_maxsize": 7, "_pool_block": True}.items()


def test_a_response_can_be_read_in_every_way_of_requests(
    service: Service, session: requests.Session, recorded: Recorded
) -> None:
    assert session.get(service.url).content == b"hello"
    assert b"".join(session.get(service.url, stream=True).iter_content(2)) == b"hello"
    assert list(session.get(service.url, stream=True).iter_lines()) == [b"hello"]
    assert "".join(session.get(service.url, stream=True).iter_content(2, decode_unicode=True)) == "hello"
    assert b"".join(session.get(service.url, stream=True)) == b"hello"
    read = session.get(service.url)
    assert list(read.iter_content(2)) == list(read.iter_content(2)) == [b"he", b"ll", b"o"]
    assert len(recorded.all) == 6

    unread = session.get(service.url, stream=True)
    assert list(unread.iter_content(2)) == [b"he", b"ll", b"o"]
    with pytest.raises(requests.exceptions.StreamConsumedError):
        unread.iter_content(2)
    with pytest.raises(TypeError, match="chunk_size"):
        read.iter_content("2")  # type: ignore[arg-type]


def test_reading_the_raw_body_and_closing_ends_the_span(
    service: Service, session: requests.Session, recorded: Recorded
) -> None:
    with session.get(service.url, stream=True) as response:
        assert response.raw.read() == b"hello"

    assert recorded.client.status.status_code is StatusCode.UNSET


def test_hooks_and_raise_for_status_work_as_ever(
    service: Service, session: requests.Session, recorded: Recorded
) -> None:
    heard: list[int] = []
    session.hooks["response"].append(lambda response, **options: heard.append(response.status_code))
    with pytest.raises(requests.HTTPError) as failed:
        session.get(f"{service.url}/busy").raise_for_status()

    assert heard == [503]
    assert isinstance(failed.value.response, requests.Response)
    assert list(recorded.client.events) == []


def test_an_adapter_with_a_response_class_of_its_own_keeps_it(service: Service, recorded: Recorded) -> None:
    class OwnResponse(requests.Response):
        pass

    class OwnAdapter(TraceAdapter):
        def build_response(self, req: Any, resp: Any) -> requests.Response:
            response = super().build_response(req, resp)
            response.__class__ = OwnResponse
            return response

    with requests.Session() as session:
        session.mount("http://", OwnAdapter())
        assert type(session.get(service.url)) is OwnResponse

    assert (recorded.client.attributes or {})["http.response.status_code"] == 200


def test_a_mocked_adapter_beneath_works_without_a_span(
    session: requests.Session, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    mocked = requests.Response()
    mocked.status_code = 200
    monkeypatch.setattr(HTTPAdapter, "send", lambda *args, **kwargs: mocked)

    assert session.get("http://example/") is mocked
    assert recorded.all == []


# trace_session.


def test_trace_session_returns_the_session_and_keeps_the_adapters_settings() -> None:
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(4, backoff_factor=2), pool_maxsize=7))
        session.mount("http://internal/", HTTPAdapter(max_retries=1))

        assert trace_session(session) is session

        adapter = session.get_adapter("http://example/")
        assert isinstance(adapter, TraceAdapter)
        assert (adapter.max_retries.total, adapter.max_retries.backoff_factor) == (4, 2)
        assert adapter.poolmanager.connection_pool_kw["maxsize"] == 7
        internal = session.get_adapter("http://internal/")
        assert isinstance(internal, TraceAdapter)
        assert internal.max_retries.total == 1
        assert list(session.adapters) == ["http://internal/", "https://", "http://"]


def test_trace_session_twice_is_harmless(service: Service, session: requests.Session, recorded: Recorded) -> None:
    adapters = dict(session.adapters)
    trace_session(session)

    assert dict(session.adapters) == adapters
    session.get(service.url)
    assert len(recorded.all) == 1


class Pinned(HTTPAdapter):
    """An adapter as applications write them: settings and methods of its own, and `send` with keywords only."""

    __attrs__ = [*HTTPAdapter.__attrs__, "pin"]  # noqa: RUF012  as its base class has it

    def __init__(self, pin: str) -> None:
        self.pin = pin
        self.sent: list[str] = []
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **{"source_address": ("127.0.0.1", 0), **kwargs})

    def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:  # type: ignore[override]
        vars(self).setdefault("sent", []).append(request.url or "")
        return super().send(request, **more)

    def again(self) -> Pinned:
        return type(self)(self.pin)


def test_an_adapter_of_the_applications_own_stays_the_object_that_it_is(service: Service, recorded: Recorded) -> None:
    adapter = Pinned("ab:cd")
    held = dict(vars(adapter))
    pools = adapter.poolmanager
    with requests.Session() as session:
        session.mount("http://", adapter)
        session.mount("http://internal/", adapter)
        adapters = list(session.adapters.items())
        trace_session(session)

        assert list(session.adapters.items()) == adapters
        assert session.get_adapter("http://internal/") is session.get_adapter("http://example/") is adapter
        assert held.items() <= vars(adapter).items()
        assert adapter.poolmanager is pools
        assert isinstance(adapter, Pinned)
        assert type(adapter).__qualname__ == "Pinned"
        assert session.get(service.url).text == "hello"
        assert adapter.sent == [f"{service.url}/"]
        again = adapter.again()
        assert (again.pin, again.poolmanager.connection_pool_kw["source_address"]) == ("ab:cd", ("127.0.0.1", 0))

    assert recorded.client.name == "GET"
    assert len(service.traceparents[0]) == 1


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda adapter: pickle.loads(pickle.dumps(adapter))])
def test_a_copied_or_pickled_adapter_keeps_its_class_its_settings_and_the_third_parties(
    service: Service, recorded: Recorded, again: Any
) -> None:
    with requests.Session() as session, requests.Session() as other:
        session.mount("http://", Pinned("ab:cd"))
        trace_session(session, third_parties=["127.0.0.1"])
        adapter = again(session.get_adapter("http://"))
        other.mount("http://", adapter)
        other.get(service.url)

    assert isinstance(adapter, Pinned)
    assert adapter.pin == "ab:cd"
    assert adapter.poolmanager.connection_pool_kw["source_address"] == ("127.0.0.1", 0)
    assert recorded.client.name == "GET"
    assert service.traceparents == [[]]


def test_a_pickled_session_traces_what_is_mounted_later(service: Service, recorded: Recorded) -> None:
    session = pickle.loads(pickle.dumps(trace_session(requests.Session(), third_parties=["127.0.0.1"])))
    with session:
        session.mount("http://", HTTPAdapter())
        session.get(service.url)

    assert recorded.client.name == "GET"
    assert service.traceparents == [[]]


def test_connections_that_were_open_before_are_used_and_traced(service: Service, recorded: Recorded) -> None:
    with requests.Session() as session:
        session.get(service.url)
        (pool,) = pools_of(session)
        trace_session(session)
        session.get(service.url)

        assert pools_of(session) == [pool]
        assert (pool.num_connections, pool.num_requests) == (1, 2)

    assert recorded.client.name == "GET"


def pools_of(session: requests.Session) -> list[Any]:
    adapter: Any = session.get_adapter("http://")
    return list(map(adapter.poolmanager.pools.get, adapter.poolmanager.pools.keys()))


def test_an_adapter_that_is_mounted_later_is_traced(
    service: Service, session: requests.Session, recorded: Recorded
) -> None:
    session.mount(service.url, Pinned("ab:cd"))
    session.get(service.url)

    assert recorded.client.name == "GET"
    assert list(session.adapters) == [service.url, "https://", "http://"]


def test_an_adapter_shared_by_two_sessions_is_traced_once(service: Service, recorded: Recorded) -> None:
    adapter = HTTPAdapter()
    with requests.Session() as one, requests.Session() as other:
        for session in (one, other):
            session.mount("http://", adapter)
            trace_session(session).get(service.url)

    assert len(recorded.all) == 2


def test_a_manager_that_the_adapter_makes_anew_is_traced(
    service: Service, session: requests.Session, recorded: Recorded
) -> None:
    adapter: Any = session.get_adapter(service.url)
    adapter.init_poolmanager(1, 1)
    session.get(service.url)

    assert recorded.client.name == "GET"


@pytest.mark.skipif(
    not hasattr(HTTPAdapter, "get_connection_with_tls_context"),
    reason="requests 2.32.0 and 2.32.1 have no public method by which an adapter chooses its pool",
)
def test_pools_of_an_adapters_own_are_traced(service: Service, recorded: Recorded) -> None:
    host, _, port = service.url.removeprefix("http://").partition(":")

    class OwnPools(HTTPAdapter):
        def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
            return urllib3.HTTPConnectionPool(host, int(port))

    with requests.Session() as session:
        session.mount("http://", OwnPools())
        trace_session(session).get("http://elsewhere.example/")

    assert (recorded.client.attributes or {})["server.address"] == "elsewhere.example"
    assert len(service.traceparents[0]) == 1


def test_an_adapter_that_sends_by_the_manager_itself_is_traced(service: Service, recorded: Recorded) -> None:
    class ByManager(HTTPAdapter):
        def send(self, request: Any, **more: Any) -> requests.Response:  # type: ignore[override]
            answer = self.poolmanager.urlopen(
                request.method, request.url, headers=request.headers, preload_content=False, retries=False
            )
            return self.build_response(request, answer)

    with requests.Session() as session:
        session.mount("http://", ByManager())
        assert trace_session(session).get(service.url).text == "hello"

    assert recorded.client.name == "GET"
    assert len(service.traceparents[0]) == 1


def test_each_attempt_of_an_adapter_that_tries_again_itself_is_a_span(service: Service, recorded: Recorded) -> None:
    class Persistent(HTTPAdapter):
        def send(self, request: Any, **more: Any) -> requests.Response:  # type: ignore[override]
            while (response := super().send(request, **more)).status_code == 503:
                response.close()
            return response

    with requests.Session() as session:
        session.mount("http://", Persistent())
        assert trace_session(session).get(f"{service.url}/flaky/persistent").text == "hello"

    assert of_clients(recorded, "http.response.status_code") == [503, 503, 200]
    assert of_clients(recorded, "http.request.resend_count") == [None, 1, 2]
    assert len({tuple(received) for received in service.traceparents}) == 3


def test_a_session_of_a_class_of_its_own_is_returned_as_it_is(service: Service, recorded: Recorded) -> None:
    class OwnSession(requests.Session):
        def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:
            request.headers["X-Own"] = "1"
            return super().send(request, **more)

    with trace_session(OwnSession()) as session:
        assert type(session) is OwnSession
        assert session.get(service.url).request.headers["X-Own"] == "1"

    assert recorded.client.name == "GET"


def test_an_adapter_without_connection_pools_gets_a_span_around_its_send(recorded: Recorded) -> None:
    class InMemory(requests.adapters.BaseAdapter):
        def send(self, request: Any, **more: Any) -> requests.Response:  # type: ignore[override]
            self.seen = request
            if request.url.endswith("/broken"):
                raise requests.ConnectionError("no such memory", request=request)
            response = requests.Response()
            response.status_code = 404
            response.url = request.url
            response.request = request
            response.raw = urllib3.HTTPResponse(io.BytesIO(b"nothing"), preload_content=False)
            return response

        def close(self) -> None:
            pass

    adapter = InMemory()
    with trace_session(requests.Session()) as session:
        session.mount("memory://", adapter)
        request = session.prepare_request(requests.Request("GET", "memory://there/"))
        response = session.send(request)
        assert response.text == "nothing"
        assert response.request is request
        with pytest.raises(requests.ConnectionError) as failed:
            session.get("memory://there/broken")
        assert failed.value.request is not None
        assert "traceparent" not in failed.value.request.headers

    first, second = recorded.all
    assert (first.attributes or {})["http.response.status_code"] == 404
    assert (second.attributes or {})["error.type"] == "requests.exceptions.ConnectionError"
    assert second.context is not None
    assert adapter.seen.headers["traceparent"].split("-")[2] == f"{second.context.span_id:016x}"
    assert "traceparent" not in request.headers


def test_an_adapter_without_connection_pools_has_a_generator_or_a_file_as_the_caller_gave_it(
    service: Service, recorded: Recorded
) -> None:
    class Counting(requests.adapters.BaseAdapter):
        def send(self, request: Any, **more: Any) -> requests.Response:  # type: ignore[override]
            self.body = request.body
            self.was_generator = inspect.isgenerator(request.body)
            response = requests.Response()
            response.status_code, response.url, response.request = 200, request.url, request
            response.raw = urllib3.HTTPResponse(io.BytesIO(b"".join(request.body)), preload_content=False)
            return response

        def close(self) -> None:
            pass

    adapter = Counting()
    with trace_session(requests.Session()) as session:
        session.mount("memory://", adapter)

        def upload() -> Iterator[bytes]:
            yield session.get(f"{service.url}/inner").content

        given: Any = upload()
        request = session.prepare_request(requests.Request("POST", "memory://there/", data=given))
        with tracemw.span("order.place") as order:
            assert session.send(request).content == b"hello"
        assert request.body is given
        assert adapter.was_generator
        assert [span.parent for span in recorded.of_kind(SpanKind.CLIENT)] == [order.get_span_context()] * 2

        file = io.BytesIO(b"file")
        assert session.post("memory://there/", data=file).content == b"file"
        assert adapter.body is file


def test_a_mock_that_is_mounted_answers_in_a_span_and_sees_the_trace(
    session: requests.Session, recorded: Recorded
) -> None:
    mock = requests_mock.Adapter()
    mock.register_uri("GET", "mock://there/", text="mocked")
    session.mount("mock://", mock)

    assert session.get("mock://there/").text == "mocked"
    assert mock.called_once
    assert mock.last_request is not None
    assert "traceparent" in mock.last_request.headers
    assert (recorded.client.attributes or {})["http.response.status_code"] == 200


def test_an_adapter_that_cannot_be_traced_is_left_alone_with_a_word_in_the_log(
    session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    class Slotted:
        __slots__ = ()

        def close(self) -> None:
            pass

    adapter: Any = Slotted()
    session.mount("odd://", adapter)

    found: Any = session.get_adapter("odd://x/")
    assert found is adapter
    assert type(adapter) is Slotted
    (record,) = caplog.records
    assert "Slotted alone" in record.getMessage()


def test_a_class_that_keeps_account_of_its_subclasses_hears_of_none(recorded: Recorded) -> None:
    known: list[type] = []

    class Registered(HTTPAdapter):
        def __init_subclass__(cls, *, label: str) -> None:
            known.append(cls)

    with requests.Session() as session:
        session.mount("http://", Registered())
        with suppress(requests.ConnectionError):
            trace_session(session).get(f"http://127.0.0.1:{free_port()}/")

    assert known == []
    assert recorded.client.name == "GET"


def test_what_is_no_session_is_refused() -> None:
    with pytest.raises(TypeError, match=r"takes a requests\.Session, not builtins\.dict"):
        trace_session({})  # type: ignore[type-var]


# Around it.


def test_errors_read_as_they_do_without_tracing(session: requests.Session) -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    with pytest.raises(requests.ConnectionError) as traced:
        session.get(url)
    with pytest.raises(requests.ConnectionError) as bare:
        requests.get(url, timeout=5)

    address = re.compile("0x[0-9a-f]+")  # which old urllib3 shows
    assert address.sub("", str(traced.value)) == address.sub("", str(bare.value))


def test_a_proxy_is_used_and_traced_as_the_call_that_it_is(service: Service, recorded: Recorded) -> None:
    with trace_session(requests.Session()) as session:
        session.get("http://example.test/path", proxies={"http": service.url})

    attributes = recorded.client.attributes or {}
    assert attributes["url.full"] == "http://example.test/path"
    assert attributes["server.address"] == "example.test"
    assert attributes["server.port"] == 80
    assert len(service.traceparents[0]) == 1


class Tunnel(socketserver.BaseRequestHandler):
    """A proxy that connects its client to whatever it asks for."""

    def handle(self) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += self.request.recv(4096)
        host, _, port = asked.split()[1].decode().partition(":")
        with socket.create_connection((host, int(port))) as server:
            self.request.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            while True:
                for end in select.select((self.request, server), (), ())[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    (server if end is self.request else self.request).sendall(data)


@contextmanager
def tunnelling() -> Iterator[str]:
    """Run a proxy and give its URL."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
            thread.join()


def test_a_tunnel_through_a_proxy_leaves_the_callers_headers_as_they_were(recorded: Recorded, tmp_path: Path) -> None:
    authority, tls = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with backend_serving(tls=tls) as service, tunnelling() as proxy, trace_session(requests.Session()) as session:
        request = session.prepare_request(requests.Request("POST", service.url))
        headers = dict(request.headers)
        session.send(request, proxies={"https": proxy}, verify=str(tmp_path / "ca.pem"))

    assert dict(request.headers) == headers
    assert recorded.client.context is not None
    span_id = f"{recorded.client.context.span_id:016x}"
    assert [sent["traceparent"].split("-")[2] for sent in service.headers] == [span_id]


def test_a_callers_own_traceparent_gives_way_whatever_holds_it(service: Service, session: requests.Session) -> None:
    request = session.prepare_request(requests.Request("GET", service.url))
    request.headers = {"Traceparent": "stale"}  # type: ignore[assignment]
    session.send(request)

    assert request.headers == {"Traceparent": "stale"}
    assert len(service.traceparents[0]) == 1
    assert service.traceparents[0] != ["stale"]


def test_pool_classes_of_the_managers_own_are_kept() -> None:
    class SocksPool(urllib3.HTTPConnectionPool):
        """Stands for the pools that urllib3 uses for SOCKS."""

    class Adapter(TraceAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            manager = urllib3.PoolManager()
            manager.pool_classes_by_scheme = {"http": SocksPool}
            self.proxy_manager["http://proxy"] = manager  # what proxy_manager_for finds

    adapter = Adapter()
    manager = adapter.proxy_manager_for("http://proxy")
    manager = adapter.proxy_manager_for("http://proxy")

    assert issubclass(manager.pool_classes_by_scheme["http"], SocksPool)
    assert manager.pool_classes_by_scheme["http"].__mro__.count(SocksPool) == 1


def test_the_exporters_own_traffic_is_not_traced(service: Service, session: requests.Session) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{service.url}/v1/traces", session=session)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    session.mount("http://", TraceAdapter(tracer_provider=provider))
    provider.get_tracer("test").start_span("exported").end()

    assert service.traceparents == [[]]


def test_threads_share_a_session(service: Service, session: requests.Session, recorded: Recorded) -> None:
    def call(number: int) -> str:
        return session.get(f"{service.url}/{number}").text

    with tracemw.span("order.place") as order, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(copy_context().run, call, number) for number in range(20)]
        assert {answer.result() for answer in answers} == {"hello"}

    spans = recorded.of_kind(SpanKind.CLIENT)
    assert [span.parent for span in spans] == [order.get_span_context()] * 20
    assert len({tuple(received) for received in service.traceparents}) == 20


def test_a_request_that_never_reaches_the_network_makes_no_span(session: requests.Session, recorded: Recorded) -> None:
    with pytest.raises(requests.exceptions.InvalidURL):
        session.get("http://")
    with pytest.raises(requests.exceptions.InvalidSchema):
        session.get("ftp://example/")

    assert recorded.all == []


def test_a_closed_response_does_not_end_later(service: Service, session: requests.Session, recorded: Recorded) -> None:
    response = session.get(service.url)
    ended = recorded.client.end_time
    time.sleep(0.01)
    response.close()
    del response

    assert recorded.client.end_time == ended
