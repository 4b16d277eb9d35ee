"""What every client door must do, whichever library is beneath it, against real servers."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, Span, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

import tracemw
from conformance.client_doors import DOORS, FAILURES, Answer, Door
from conftest import Meters, Recorded
from servers import free_port, uvicorn_serving
from tracemw._otel.context import current_context, skipped_context

MakeDoor = Callable[..., Door]


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, recorded: Recorded) -> Iterator[Door]:
    made = DOORS[request.param]()
    yield made
    made.close()


@pytest.fixture
def make_door(door: Door) -> Iterator[MakeDoor]:
    """Make more doors of the kind that the test runs over, with options; they are closed after it."""
    made: list[Door] = []

    def make(**options: Any) -> Door:
        made.append(type(door)(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()


# The servers.


@dataclass
class Service:
    """A real server that remembers what it was sent."""

    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    @property
    def traceparents(self) -> list[str | None]:
        return [request["headers"].get("traceparent") for request in self.seen]


@pytest.fixture(scope="module")
def _service() -> Iterator[Service]:
    service = Service()

    def remembering(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def remember(request: Request) -> Response:
            service.seen.append(
                {
                    "method": request.method,
                    "headers": dict(request.headers),
                    "raw": [name for name, _ in request.headers.raw],
                    "body": await request.body(),
                }
            )
            return await endpoint(request)

        return remember

    async def answer(request: Request) -> Response:
        return Response("hello")

    async def status(request: Request) -> Response:
        return Response("answered", request.path_params["code"])

    async def redirect(request: Request) -> Response:
        left = request.path_params["left"]
        return RedirectResponse(f"/redirect/{left - 1}" if left > 1 else "/", 302)

    async def hop(request: Request) -> Response:
        target = request.query_params["via"].split(" ")
        rest = urlencode({"via": " ".join(target[1:])}) if len(target) > 1 else ""
        return RedirectResponse(target[0] + ("?" + rest if rest else ""), 307)

    async def challenge(request: Request) -> Response:
        if "authorization" in request.headers:
            return Response("welcome")
        return Response(status_code=401, headers={"www-authenticate": 'Digest realm="r", nonce="n", qop="auth"'})

    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"chunk"
                await asyncio.sleep(0.05)

        return StreamingResponse(body())

    methods = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "BREW"]
    app = Starlette(
        routes=[
            Route(path, remembering(endpoint), methods=methods)
            for path, endpoint in (
                ("/", answer),
                ("/status/{code:int}", status),
                ("/redirect/{left:int}", redirect),
                ("/hop", hop),
                ("/challenge", challenge),
                ("/stream", stream),
            )
        ]
    )
    with uvicorn_serving(app) as service.url:
        yield service


@pytest.fixture
def service(_service: Service) -> Service:
    _service.seen.clear()
    return _service


def _receive_head(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received and (more := connection.recv(65536)):
        received += more
    return received


@contextmanager
def raw_server(talk: Callable[[socket.socket], object]) -> Iterator[str]:
    """Serve each connection by `talk`, which gets it once a request's headers have arrived, and give the base URL."""
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                if not stopped.is_set():
                    _receive_head(connection)
                    talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stopped.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang(connection: socket.socket) -> None:
    connection.recv(1)  # until the client has gone


def cut_short(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")


def cut_short_error(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 100\r\n\r\nonly this")


def stall_in_body(connection: socket.socket) -> None:
    cut_short(connection)
    hang(connection)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def exceptions(span: ReadableSpan) -> list[str]:
    """The types of the exception events of a span."""
    return [str((event.attributes or {})["exception.type"]) for event in span.events if event.name == "exception"]


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def traceparent_of(span: ReadableSpan) -> str:
    context = span.context
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


# What a span says.


def test_a_call_is_one_client_span_with_the_conventions_attributes(
    door: Door, service: Service, recorded: Recorded
) -> None:
    answer = door.get(f"{service.url}/?q=1#part")

    assert answer == Answer(200, b"hello")
    span = recorded.client
    assert span.name == "GET"
    assert span.parent is None
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": int(service.url.rpartition(":")[2]),
        "url.full": f"{service.url}/?q=1",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    assert recorded.all == [span]


def test_the_default_port_is_recorded_too(door: Door, recorded: Recorded) -> None:
    with suppress(*FAILURES):
        door.get("http://127.0.0.1/")

    assert attributes(recorded.client)["server.port"] == 80


def test_an_ipv6_address_is_recorded_without_its_brackets(door: Door, recorded: Recorded) -> None:
    with suppress(*FAILURES):
        door.get("http://[::1]:9/")

    assert attributes(recorded.client)["server.address"] == "::1"
    assert attributes(recorded.client)["server.port"] == 9


def test_user_names_passwords_and_signatures_do_not_get_into_the_url(
    door: Door, service: Service, recorded: Recorded
) -> None:
    door.get(f"http://joe:sesame@{service.host}/?sig=secret&q=1&X-Amz-Signature=secret")

    shown = attributes(recorded.client)["url.full"]
    assert shown == f"http://REDACTED:REDACTED@{service.host}/?sig=REDACTED&q=1&X-Amz-Signature=REDACTED"
    assert ("authorization" in service.seen[0]["headers"]) is ("credentials" not in door.lacks)


def test_an_unknown_method_is_other(door: Door, service: Service, recorded: Recorded) -> None:
    door.request("BREW", service.url)

    assert recorded.client.name == "HTTP"
    assert attributes(recorded.client)["http.request.method"] == "_OTHER"
    assert attributes(recorded.client)["http.request.method_original"] == "BREW"


@pytest.mark.parametrize("code", [204, 304, 400, 404, 500, 503])
def test_only_4xx_and_5xx_are_errors_and_the_code_is_their_type(
    door: Door, service: Service, recorded: Recorded, code: int
) -> None:
    assert door.get(f"{service.url}/status/{code}").status == code

    span = recorded.client
    assert attributes(span)["http.response.status_code"] == code
    assert attributes(span).get("error.type") == (str(code) if code >= 400 else None)
    assert span.status.status_code is (StatusCode.ERROR if code >= 400 else StatusCode.UNSET)
    assert span.status.description is None
    assert exceptions(span) == []


def test_a_head_request_ends_its_span(door: Door, service: Service, recorded: Recorded) -> None:
    assert door.request("HEAD", service.url).status == 200

    assert recorded.client.name == "HEAD"


def test_http_1_0_is_recorded_as_negotiated(door: Door, recorded: Recorded) -> None:
    with raw_server(lambda connection: connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nold")) as url:
        assert door.get(url).body == b"old"

    assert attributes(recorded.client)["network.protocol.version"] == "1.0"


# Context.


def test_the_span_is_a_child_of_the_current_one_and_the_parent_of_what_is_called(
    door: Door, service: Service, recorded: Recorded
) -> None:
    with tracemw.span("order.place") as order:
        door.get(service.url)
        assert trace.get_current_span() is order

    span = recorded.client
    assert span.parent == order.get_span_context()
    assert service.traceparents == [traceparent_of(span)]
    assert not trace.get_current_span().get_span_context().is_valid


def test_baggage_is_handed_on(door: Door, service: Service) -> None:
    token = otel_context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        door.get(service.url)
    finally:
        otel_context.detach(token)

    assert service.seen[0]["headers"]["baggage"] == "tenant=acme"


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_a_traceparent_of_the_callers_own_is_replaced_whatever_its_case(
    door: Door, service: Service, recorded: Recorded, name: str
) -> None:
    door.get(service.url, headers={name: "00-11111111111111111111111111111111-2222222222222222-01"})

    assert service.traceparents == [traceparent_of(recorded.client)]
    assert service.seen[0]["raw"].count(b"traceparent") == 1


def test_headers_reach_the_service_as_they_were_given(door: Door, service: Service) -> None:
    headers = {"X-One": "1", "Accept": "text/x"}
    door.get(service.url, headers=headers)

    assert headers == {"X-One": "1", "Accept": "text/x"}
    assert service.seen[0]["headers"]["x-one"] == "1"
    assert service.seen[0]["headers"]["accept"] == "text/x"


def test_an_unsampled_call_is_propagated_as_unsampled(
    make_door: MakeDoor, service: Service, recorded: Recorded
) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    make_door(tracer_provider=provider).get(service.url)

    (traceparent,) = service.traceparents
    assert traceparent is not None
    assert int(traceparent[-2:], 16) & TraceFlags.SAMPLED == 0


def test_without_a_provider_calls_work_and_an_active_context_is_handed_on(
    make_door: MakeDoor, service: Service, recorded: Recorded
) -> None:
    door = make_door(tracer_provider=NoOpTracerProvider())
    assert door.get(service.url).body == b"hello"
    with tracemw.span("order.place") as order:
        assert door.get(service.url).body == b"hello"
        response = door.open(f"{service.url}/stream")
        assert response.read() == b"chunk" * 3
        response.close()

    span_id = trace.format_span_id(order.get_span_context().span_id)
    assert service.traceparents[0] is None
    assert [f"-{span_id}-" in str(traceparent) for traceparent in service.traceparents[1:]] == [True, True]
    assert recorded.of_kind(SpanKind.CLIENT) == []


def test_a_provider_passed_to_the_door_gets_its_spans(
    make_door: MakeDoor, service: Service, recorded: Recorded
) -> None:
    own = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(own))
    make_door(tracer_provider=provider).get(service.url)

    assert [span.name for span in own.get_finished_spans()] == ["GET"]
    assert recorded.all == []


def test_inside_a_skipped_request_nothing_is_traced_or_handed_on(
    door: Door, service: Service, recorded: Recorded
) -> None:
    token = otel_context.attach(skipped_context(current_context()))
    try:
        door.get(service.url)
    finally:
        otel_context.detach(token)

    assert recorded.all == []
    assert service.traceparents == [None]


def test_an_exporters_own_traffic_is_never_traced(make_door: MakeDoor, service: Service) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    exported: list[str] = []

    class Exporter(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            exported.extend(span.name for span in spans)
            with ThreadPoolExecutor(1) as pool:  # the span of an asynchronous call ends in a running event loop
                pool.submit(copy_context().run, sender.request, "POST", service.url, content=b"spans").result()
            return SpanExportResult.SUCCESS

    provider.add_span_processor(SimpleSpanProcessor(Exporter()))
    sender = make_door(tracer_provider=provider)
    make_door(tracer_provider=provider).get(service.url)

    assert exported == ["GET"]
    assert [request["method"] for request in service.seen] == ["GET", "POST"]


def test_a_call_beneath_another_instrumentation_gets_no_span(door: Door, service: Service, recorded: Recorded) -> None:
    token = otel_context.attach(otel_context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True))
    try:
        assert door.get(service.url).body == b"hello"
    finally:
        otel_context.detach(token)

    assert recorded.all == []


# What baggage cannot carry costs itself only.


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bad", "\ud800"),
        ("bad", "x" * 9000),
        ("bad", Unprintable()),
        ("bad key", "1"),
        ("b\u00e4d", "1"),
        ("bad\r\nx-injected", "1"),
        ("", "1"),
        (7, "1"),
    ],
    ids=["surrogate", "too-long", "unprintable", "space", "umlaut", "line-break", "empty", "number"],
)
def test_a_member_of_baggage_that_cannot_be_handed_on_costs_itself_only(
    door: Door, service: Service, recorded: Recorded, key: Any, value: Any
) -> None:
    context = baggage.set_baggage(key, value, baggage.set_baggage("before", "1"))
    token = otel_context.attach(baggage.set_baggage("after", "r\u00fchrt \U0001f600", context))
    try:
        assert door.get(service.url).body == b"hello"
    finally:
        otel_context.detach(token)

    assert service.seen[0]["headers"]["baggage"] == "before=1,after=r%C3%BChrt%20%F0%9F%98%80"
    assert service.traceparents == [traceparent_of(recorded.client)]


@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
def test_a_propagator_that_raises_costs_its_own_headers_only(
    door: Door, service: Service, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    class Broken(TextMapPropagator):
        fields: ClassVar[set[str]] = set()

        def extract(self, *args: Any, **kwargs: Any) -> Any:
            raise LookupError("no extraction")

        def inject(self, carrier: Any, *args: Any, **kwargs: Any) -> None:
            raise LookupError("no injection")

    class Careless(Broken):
        def inject(self, carrier: Any, *args: Any, **kwargs: Any) -> None:
            carrier.update({"x-fine": "1", "x-lines": "1\r\nx-injected: 1", "x-number": 1, "x name": "1"})

    parts = [Broken(), Careless(), W3CBaggagePropagator(), TraceContextTextMapPropagator()]
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", CompositePropagator(parts[::order]))
    token = otel_context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        assert door.get(service.url).body == b"hello"
    finally:
        otel_context.detach(token)

    assert service.traceparents == [traceparent_of(recorded.client)]
    assert service.seen[0]["headers"]["baggage"] == "tenant=acme"
    assert [name for name in service.seen[0]["headers"] if name.startswith("x-")] == ["x-fine"]


# Third parties.


def told(service: Service) -> list[tuple[bool, bool]]:
    """Of each request that has arrived, whether it has brought the trace context, and baggage."""
    return [("traceparent" in seen["headers"], "baggage" in seen["headers"]) for seen in service.seen]


@pytest.mark.parametrize(
    ("pattern", "is_third"),
    [
        ("127.0.0.1", True),
        ("127.*:{port}", True),
        ("127.0.0.1:1", False),
    ],
)
def test_a_third_party_is_called_in_a_span_and_told_nothing(
    make_door: MakeDoor, service: Service, recorded: Recorded, pattern: str, is_third: bool
) -> None:
    door = make_door(third_parties=("api.stripe.com", pattern.format(port=service.url.rpartition(":")[2])))
    token = otel_context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        with tracemw.span("order.place") as order:
            door.get(service.url)
    finally:
        otel_context.detach(token)

    assert told(service) == [(not is_third, not is_third)]
    assert recorded.client.parent == order.get_span_context()


def test_the_name_of_a_third_party_counts_in_upper_and_lower_case(make_door: MakeDoor, service: Service) -> None:
    door = make_door(third_parties=["LocalHost"])
    door.get(service.url.replace("127.0.0.1", "LOCALHOST"))

    assert told(service) == [(False, False)]


def test_a_redirect_to_a_third_party_and_back_tells_each_what_is_its_own(
    make_door: MakeDoor, service: Service, recorded: Recorded
) -> None:
    ours, theirs = service.url, service.url.replace("127.0.0.1", "localhost")
    door = make_door(third_parties=["localhost"])
    token = otel_context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        via = urlencode({"via": f"{theirs}/hop {ours}/hop {theirs}/hop {ours}/"})
        door.get(f"{ours}/hop?{via}")
    finally:
        otel_context.detach(token)

    spans = recorded.of_kind(SpanKind.CLIENT)
    assert told(service) == [(True, True), (False, False)] * 2 + [(True, True)]
    assert service.traceparents[::2] == [traceparent_of(span) for span in spans[::2]]


def test_a_third_party_is_told_nothing_without_a_provider_too(make_door: MakeDoor, service: Service) -> None:
    door = make_door(tracer_provider=NoOpTracerProvider(), third_parties=["127.0.0.1"])
    with tracemw.span("order.place"):
        door.get(service.url)

    assert told(service) == [(False, False)]


@pytest.mark.parametrize(("given", "error"), [("api.stripe.com", TypeError), (["https://api.stripe.com"], ValueError)])
def test_what_cannot_be_third_parties_is_refused(make_door: MakeDoor, given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"third_parties.*'api\.stripe\.com'"):
        make_door(third_parties=given)


# Several attempts.


def test_each_redirect_is_a_span_of_its_own_with_a_traceparent_of_its_own(
    door: Door, service: Service, recorded: Recorded
) -> None:
    with tracemw.span("order.place") as order:
        assert door.get(f"{service.url}/redirect/2").body == b"hello"

    spans = recorded.of_kind(SpanKind.CLIENT)
    assert [attributes(span)["http.response.status_code"] for span in spans] == [302, 302, 200]
    assert [attributes(span)["url.full"] for span in spans] == [
        f"{service.url}/redirect/2",
        f"{service.url}/redirect/1",
        f"{service.url}/",
    ]
    assert service.traceparents == [traceparent_of(span) for span in spans]
    assert [span.parent for span in spans] == [order.get_span_context()] * 3


def test_each_round_trip_of_an_authentication_is_a_span_of_its_own(
    door: Door, service: Service, recorded: Recorded
) -> None:
    door.needs("challenges")
    assert door.get(f"{service.url}/challenge", digest=("joe", "sesame")).body == b"welcome"

    spans = recorded.of_kind(SpanKind.CLIENT)
    assert [attributes(span)["http.response.status_code"] for span in spans] == [401, 200]
    assert service.traceparents == [traceparent_of(span) for span in spans]


def test_attempts_are_counted_for_each_call_anew(door: Door, service: Service, recorded: Recorded) -> None:
    door.needs("resends")
    for path, counts in (("redirect/2", [None, 1, 2]), ("challenge", [None, 1]), ("redirect/1", [None, 1])):
        if path == "challenge" and "challenges" in door.lacks:
            continue
        recorded.clear()
        door.get(f"{service.url}/{path}", digest=("joe", "sesame") if path == "challenge" else None)
        assert [attributes(span).get("http.request.resend_count") for span in recorded.all] == counts


def test_each_retry_is_a_span_of_its_own(make_door: MakeDoor, service: Service, recorded: Recorded) -> None:
    door = make_door()
    door.needs("retries")
    door.retry(503, times=2)
    with tracemw.span("order.place") as order:
        assert door.get(f"{service.url}/status/503").status == 503

    spans = recorded.of_kind(SpanKind.CLIENT)
    assert service.traceparents == [traceparent_of(span) for span in spans]
    assert [attributes(span).get("http.request.resend_count") for span in spans] == [None, 1, 2]
    assert [attributes(span)["error.type"] for span in spans] == ["503"] * 3
    assert [span.parent for span in spans] == [order.get_span_context()] * 3


# Failures.


def fails(
    door: Door, recorded: Recorded, url: str, error_type: str, *, status: int | None = None, **options: Any
) -> None:
    """Assert that a GET of `url` fails, with one ERROR span that has one exception event, both of this type."""
    with pytest.raises(FAILURES) as failed:
        door.get(url, **options)

    assert f"{type(failed.value).__module__}.{type(failed.value).__qualname__}" == error_type
    span = recorded.client
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == error_type
    assert attributes(span).get("http.response.status_code") == status
    assert exceptions(span) == [error_type]


def test_a_refused_connection_is_an_error(door: Door, recorded: Recorded) -> None:
    fails(door, recorded, f"http://127.0.0.1:{free_port()}/", door.connect_error)


SECRETS = ("sesame", "s3cret", "t0ken", "joe")
SIGNED = "?X-Amz-Signature=s3cret&page=1&%73ig=s3cret'(%2F&X-Amz-Security-Token=t0ken"


def everything_said(span: ReadableSpan) -> str:
    """All the texts of a span."""
    return repr([span.name, span.status.description, span.attributes, [event.attributes for event in span.events]])


@tracemw.traced("order.place")
def charge(door: Door, url: str) -> None:
    try:
        door.get(url, timeout=0.2)
    except FAILURES as error:
        raise LookupError(f"could not charge by {url}: {error!r}") from error


@pytest.mark.parametrize(
    ("scheme", "failure"),
    [("http", "refused"), ("https", "refused"), ("https", "garbage"), ("http", "hanging"), ("http", "cut_short")],
)
def test_no_span_says_in_an_exception_what_its_url_does_not_say(
    door: Door, recorded: Recorded, scheme: str, failure: str
) -> None:
    talk = {
        "garbage": lambda connection: connection.sendall(b"220 ready\r\n\r\n"),
        "hanging": hang,
        "cut_short": cut_short,
        "refused": reset,
    }
    with raw_server(talk[failure]) as url:
        host = url.removeprefix("http://") if failure != "refused" else f"127.0.0.1:{free_port()}"
        called = f"{scheme}://joe:sesame@{host}/charges{SIGNED}"
        with pytest.raises(LookupError):
            charge(door, called)

    client, order = recorded.client, recorded.named("order.place")
    assert client.status.status_code is order.status.status_code is StatusCode.ERROR
    for span in (client, order):
        assert [secret for secret in SECRETS if secret in everything_said(span)] == []
    assert "REDACTED:REDACTED@" in str(order.status.description)
    assert "X-Amz-Signature=REDACTED&page=1&" in str(order.status.description)


def test_a_failed_tls_handshake_is_an_error(door: Door, service: Service, recorded: Recorded) -> None:
    fails(door, recorded, f"https://{service.host}/", door.tls_error)


def test_an_answer_that_does_not_come_in_time_is_an_error(door: Door, recorded: Recorded) -> None:
    with raw_server(hang) as url:
        fails(door, recorded, url, door.read_timeout, timeout=door.reading_for(0.1))

    assert 0.1 <= seconds(recorded.client) < 5


def test_a_connection_that_is_reset_is_an_error(door: Door, recorded: Recorded) -> None:
    with raw_server(reset) as url:
        fails(door, recorded, url, door.disconnected)


def test_an_answer_that_is_not_http_is_an_error(door: Door, recorded: Recorded) -> None:
    with raw_server(lambda connection: connection.sendall(b"220 ftp.example.com ready\r\n\r\n")) as url:
        fails(door, recorded, url, door.garbage)


def test_a_body_that_is_cut_short_is_an_error_that_keeps_its_status(door: Door, recorded: Recorded) -> None:
    with raw_server(cut_short) as url:
        fails(door, recorded, url, door.cut_short, status=200)


def test_the_type_of_a_5xx_whose_body_is_cut_short_is_its_status(door: Door, recorded: Recorded) -> None:
    with raw_server(cut_short_error) as url, pytest.raises(FAILURES):
        door.get(url)

    assert attributes(recorded.client)["error.type"] == "502"
    assert exceptions(recorded.client) == [door.cut_short]


def test_a_body_that_stalls_is_an_error(door: Door, recorded: Recorded) -> None:
    with raw_server(stall_in_body) as url, pytest.raises(FAILURES):
        door.get(url, timeout=door.reading_for(0.5))

    span = recorded.client
    assert attributes(span)["http.response.status_code"] == 200
    assert attributes(span)["error.type"] in (door.read_timeout, "requests.exceptions.ConnectionError")
    assert len(exceptions(span)) == 1


def test_an_exception_out_of_the_callers_upload_goes_through_and_is_recorded(door: Door, recorded: Recorded) -> None:
    error = LookupError("no more to send")

    def upload() -> Iterator[bytes]:
        yield b"some"
        with tracemw.stage("upload"):
            raise error

    with pytest.raises(LookupError) as failed, raw_server(hang) as url, tracemw.span("order.place"):
        door.request("POST", url, content=door.upload(upload()))

    assert failed.value is error
    assert attributes(recorded.client)["error.type"] == "LookupError"
    assert attributes(recorded.client)["error.stage"] == "upload"


def test_a_call_that_is_deliberately_given_up_is_no_error(door: Door, recorded: Recorded) -> None:
    arrived = threading.Event()
    times: list[int] = []

    def note_and_hang(connection: socket.socket) -> None:
        times.append(time.time_ns())
        arrived.set()
        hang(connection)

    with raw_server(note_and_hang) as url:
        door.interrupt(url, arrived)

    span = recorded.client
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(span)
    assert exceptions(span) == []
    assert (span.start_time or 0) < times[0] < (span.end_time or 0)


# Bodies.


def test_a_span_lasts_until_the_body_has_been_read(door: Door, service: Service, recorded: Recorded) -> None:
    response = door.open(f"{service.url}/stream")
    assert recorded.all == []
    assert response.read() == b"chunk" * 3
    response.close()

    assert seconds(recorded.client) > 0.1


def test_a_span_ends_when_the_body_has_been_read_though_nobody_closes_it(
    door: Door, service: Service, recorded: Recorded
) -> None:
    response = door.open(f"{service.url}/stream")
    response.read()

    assert attributes(recorded.client)["http.response.status_code"] == 200


def test_a_span_ends_when_its_unread_response_is_closed_and_only_once(
    door: Door, service: Service, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    response = door.open(f"{service.url}/stream")
    response.close()
    span = recorded.client
    response.close()

    assert recorded.all == [span]
    assert span.status.status_code is StatusCode.UNSET
    assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []


def test_a_span_ends_when_a_partly_read_response_is_closed(door: Door, service: Service, recorded: Recorded) -> None:
    response = door.open(f"{service.url}/stream")
    assert response.read_some() == b"chunk"
    response.close()

    assert recorded.client.status.status_code is StatusCode.UNSET


def test_a_body_that_breaks_while_it_is_streamed_is_an_error(door: Door, recorded: Recorded) -> None:
    with raw_server(cut_short) as url:
        response = door.open(url)
        with pytest.raises(FAILURES):
            response.read()
        response.close()

    assert attributes(recorded.client)["error.type"] == door.cut_short
    assert exceptions(recorded.client) == [door.cut_short]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_abandoned_response_ends_with_the_time_of_its_headers(
    door: Door, service: Service, recorded: Recorded
) -> None:
    response = door.open(f"{service.url}/stream")
    opened = time.time_ns()
    del response
    gc.collect()

    assert attributes(recorded.client)["http.response.status_code"] == 200
    assert (recorded.client.end_time or 0) <= opened


def test_an_upload_from_a_generator_is_sent_once_and_whole(door: Door, service: Service, recorded: Recorded) -> None:
    door.request("POST", service.url, content=door.upload([b"first,", b"second"]))

    assert service.seen[0]["body"] == b"first,second"
    assert service.seen[0]["headers"]["transfer-encoding"] == "chunked"
    assert recorded.client.name == "POST"


def relayed(recorded: Recorded, order: Span) -> list[ReadableSpan]:
    """Return the spans of the calls that a relay has made, after a look at who their parents are."""
    calls = [span for span in recorded.of_kind(SpanKind.CLIENT) if span.name == "GET"]
    parts = [span for span in recorded.all if span.name.startswith("part.")]
    assert [part.parent for part in parts] == [order.get_span_context()] * len(parts)
    assert [call.parent for call in calls[::2]] == [part.context for part in parts]
    assert [call.parent for call in calls[1::2]] == [order.get_span_context()] * len(parts)
    return calls


def test_a_call_that_an_uploads_own_code_makes_is_the_callers_and_has_its_own_span(
    door: Door, service: Service, recorded: Recorded
) -> None:
    relay = door.relay(f"{service.url}/?first", f"{service.url}/?second")
    upload = aiter(relay) if hasattr(relay, "__aiter__") else iter(relay)
    with tracemw.span("order.place") as order:
        door.request("POST", service.url, content=upload)
        assert trace.get_current_span() is order

    calls = relayed(recorded, order)
    (outer,) = [span for span in recorded.of_kind(SpanKind.CLIENT) if span.name == "POST"]
    assert outer.parent == order.get_span_context()
    assert service.seen[-1]["body"] == b"in,hellohello" * 2
    assert service.traceparents == [traceparent_of(span) for span in [*calls, outer]]


def test_an_upload_that_is_sent_again_makes_its_calls_again_and_each_has_its_span(
    door: Door, service: Service, recorded: Recorded
) -> None:
    via = urlencode({"via": f"{service.url}/"})
    with tracemw.span("order.place") as order:
        door.request("PUT", f"{service.url}/hop?{via}", content=door.relay(service.url))

    calls = relayed(recorded, order)
    outer = [span for span in recorded.of_kind(SpanKind.CLIENT) if span.name == "PUT"]
    assert [span.parent for span in outer] == [order.get_span_context()] * 2
    assert [seen["body"] for seen in service.seen if seen["method"] == "PUT"] == [b"in,hellohello"] * 2
    in_order = [*calls[:2], outer[0], *calls[2:], outer[1]]
    assert service.traceparents == [traceparent_of(span) for span in in_order]


def test_an_upload_that_is_retried_makes_its_calls_again_and_each_has_its_span(
    make_door: MakeDoor, service: Service, recorded: Recorded
) -> None:
    door = make_door()
    door.needs("retries")
    door.retry(503, times=1)
    with tracemw.span("order.place") as order:
        door.request("PUT", f"{service.url}/status/503", content=door.relay(service.url))

    calls = relayed(recorded, order)
    outer = [span for span in recorded.of_kind(SpanKind.CLIENT) if span.name == "PUT"]
    assert [attributes(span).get("http.request.resend_count") for span in outer] == [None, 1]
    assert [seen["body"] for seen in service.seen if seen["method"] == "PUT"] == [b"in,hellohello"] * 2
    in_order = [*calls[:2], outer[0], *calls[2:], outer[1]]
    assert service.traceparents == [traceparent_of(span) for span in in_order]


# Metrics.


@pytest.mark.parametrize("code", [200, 404, 503])
@pytest.mark.parametrize(
    "provider",
    [None, TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False), NoOpTracerProvider()],
    ids=["sampled", "unsampled", "no-tracing"],
)
def test_the_duration_agrees_with_the_span_and_does_not_need_one(
    make_door: MakeDoor, service: Service, recorded: Recorded, meters: Meters, code: int, provider: Any
) -> None:
    make_door(meter_provider=meters.provider, tracer_provider=provider).get(f"{service.url}/status/{code}")

    (point,) = meters.points("http.client.request.duration")
    expected = {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": int(service.url.rpartition(":")[2]),
        "network.protocol.version": "1.1",
        "http.response.status_code": code,
        **({"error.type": str(code)} if code >= 400 else {}),
    }
    assert dict(point.attributes) == expected
    assert point.count == 1
    if provider is None:
        assert point.sum == pytest.approx(seconds(recorded.client))
        (exemplar,) = point.exemplars
        assert exemplar.span_id == recorded.client.context.span_id


def test_a_failed_call_is_measured_with_its_error(make_door: MakeDoor, recorded: Recorded, meters: Meters) -> None:
    door = make_door(meter_provider=meters.provider)
    fails(door, recorded, f"http://127.0.0.1:{free_port()}/", door.connect_error)

    (point,) = meters.points("http.client.request.duration")
    assert point.attributes["error.type"] == door.connect_error
    assert "http.response.status_code" not in point.attributes


# Use.


def test_concurrent_calls_keep_their_parents_apart(make_door: MakeDoor, service: Service, recorded: Recorded) -> None:
    def calls(number: int) -> tuple[int, int]:
        door = make_door()
        with tracemw.span(f"task.{number}") as current:
            for _ in range(3):
                door.get(service.url)
        return number, current.get_span_context().span_id

    with ThreadPoolExecutor(4) as pool:
        parents = dict(pool.map(calls, range(8)))

    counts = dict.fromkeys(parents, 0)
    for span in recorded.of_kind(SpanKind.CLIENT):
        assert span.parent is not None
        counts[next(number for number, parent in parents.items() if parent == span.parent.span_id)] += 1
    assert set(counts.values()) == {3}


def test_calls_leave_nothing_in_the_log_and_no_context_behind(
    door: Door, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "opentelemetry")
    before = otel_context.get_current()
    door.get(f"{service.url}/redirect/1")
    door.open(f"{service.url}/stream").close()
    with suppress(*FAILURES):
        door.get(f"http://127.0.0.1:{free_port()}/")

    assert otel_context.get_current() is before
    assert [record for record in caplog.records if record.name.startswith(("opentelemetry", "tracemw"))] == []


def test_a_tracer_that_fails_does_not_fail_the_call(
    make_door: MakeDoor, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(NoOpTracerProvider):
        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            raise OSError("no tracer today")

    monkeypatch.setattr("tracemw._otel.guard.reraise_own_faults", False)

    assert make_door(tracer_provider=Broken()).get(service.url).body == b"hello"


def test_an_unknown_option_is_refused(make_door: MakeDoor) -> None:
    with pytest.raises(TypeError, match="tracer_provder"):
        make_door(tracer_provder=None)
