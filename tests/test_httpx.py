"""What is particular to the httpx doors; what they share with the others is in conformance/."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any
from weakref import ref

import httpx
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

import tracemw
from conftest import Recorded
from servers import uvicorn_serving
from tracemw._recording import TracerProvider
from tracemw.httpx import AsyncTraceTransport, TraceTransport


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    """A traced client whose requests go to `answer`."""
    return httpx.Client(transport=TraceTransport(httpx.MockTransport(answer)), follow_redirects=True)


def redirecting(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/old":
        return httpx.Response(302, headers={"location": "/new"}, stream=httpx.ByteStream(b"moved"))
    return httpx.Response(200, stream=httpx.ByteStream(b"here"))


def resend_counts(recorded: Recorded) -> list[Any]:
    return [(span.attributes or {}).get("http.request.resend_count") for span in recorded.of_kind(SpanKind.CLIENT)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    async def answer(request: Request) -> Response:
        await request.body()
        return Response(request.headers.get("traceparent", ""))

    async def redirect(request: Request) -> Response:
        return RedirectResponse("/", 307 if request.method == "POST" else 302)

    async def slow(request: Request) -> Response:
        await asyncio.sleep(2)  # longer than a busy machine holds up a client that gives up
        return Response()

    methods = ["GET", "POST"]
    routes = [Route("/", answer, methods=methods), Route("/old", redirect, methods=methods), Route("/slow", slow)]
    with uvicorn_serving(Starlette(routes=routes)) as url:
        yield url


def test_a_url_template_names_the_span_of_its_own_url_and_of_no_redirect(recorded: Recorded) -> None:
    with answering(redirecting) as client:
        client.get("https://example/old", extensions={"url_template": "/{place}"})
    assert [(span.name, (span.attributes or {}).get("url.template")) for span in recorded.of_kind(SpanKind.CLIENT)] == [
        ("GET /{place}", "/{place}"),
        ("GET", None),
    ]


def test_the_callers_request_is_left_as_it_was(url: str, recorded: Recorded) -> None:
    with httpx.Client(transport=TraceTransport(), follow_redirects=True) as client:
        request = client.build_request("POST", f"{url}/old", content=b"body", extensions={"mine": 1})
        headers, extensions, stream = request.headers.raw, dict(request.extensions), request.stream
        response = client.send(request)

    assert response.text.startswith("00-")
    assert request.headers.raw == headers
    assert request.extensions == extensions
    assert request.stream is stream
    assert response.history[0].request is request
    assert "traceparent" not in response.request.headers
    assert resend_counts(recorded) == [None, 1]


async def test_the_callers_request_is_left_as_it_was_by_the_asynchronous_door(url: str, recorded: Recorded) -> None:
    async with httpx.AsyncClient(transport=AsyncTraceTransport(), follow_redirects=True) as client:
        request = client.build_request("POST", f"{url}/old", content=b"body")
        headers, extensions = request.headers.raw, dict(request.extensions)
        await client.send(request)

    assert request.headers.raw == headers
    assert request.extensions == extensions
    assert resend_counts(recorded) == [None, 1]


def test_one_request_sent_twice_by_the_caller_is_no_resend(recorded: Recorded) -> None:
    client = answering(redirecting)
    request = client.build_request("GET", "http://example/old")
    client.send(request)
    client.send(request)

    assert resend_counts(recorded) == [None, 1, None, 1]


def test_a_redirect_that_the_caller_follows_is_a_resend(recorded: Recorded) -> None:
    client = answering(redirecting)
    response = client.get("http://example/old", follow_redirects=False)
    assert response.next_request is not None
    assert client.send(response.next_request).text == "here"

    assert resend_counts(recorded) == [None, 1]


def uploaded_where_it_is_redirected(request: httpx.Request) -> httpx.Response:
    request.read()
    if request.url.path == "/old":
        return httpx.Response(307, headers={"location": "/new"})
    return httpx.Response(200, content=request.content)


def test_an_upload_that_a_transport_has_read_is_there_for_the_redirect(recorded: Recorded) -> None:
    client = answering(uploaded_where_it_is_redirected)
    response = client.post("http://example/old", content=iter([b"one ", b"two"]))
    assert response.text == "one two"
    assert response.history[0].request.content == b"one two"
    assert "traceparent" not in response.history[0].request.headers
    assert resend_counts(recorded) == [None, 1]


async def test_an_upload_that_an_asynchronous_transport_has_read_is_there_for_the_redirect(recorded: Recorded) -> None:
    async def upload() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    transport = AsyncTraceTransport(httpx.MockTransport(uploaded_where_it_is_redirected))
    async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
        response = await client.post("http://example/old", content=upload())
    assert response.text == "one two"
    assert resend_counts(recorded) == [None, 1]


class Echo(httpx.BaseTransport):
    """Answers with the body that it was sent, or redirects, and notes the stream."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.stream: Any = request.stream
        assert isinstance(self.stream, httpx.SyncByteStream)
        headers = {"location": "/new"} if request.url.path == "/old" else {}
        return httpx.Response(307 if headers else 200, headers=headers, content=b"".join(self.stream))


def test_a_generator_that_a_transport_has_sent_is_consumed_when_the_redirect_wants_it_again(recorded: Recorded) -> None:
    client = httpx.Client(transport=TraceTransport(Echo()), follow_redirects=True)
    with pytest.raises(httpx.StreamConsumed):
        client.post("http://example/old", content=(chunk for chunk in [b"once"]))
    assert [span.status.status_code for span in recorded.all] == [StatusCode.UNSET, StatusCode.ERROR]


class Calling(io.BytesIO):
    """A file that calls whenever it is read."""

    def __init__(self, content: bytes, call: Callable[[], Any]) -> None:
        super().__init__(content)
        self.call = call

    def read(self, size: int | None = -1) -> bytes:
        self.call()
        return super().read(size)


def test_a_transport_sees_a_form_with_files_as_what_it_is_and_the_files_call_for_the_caller(
    recorded: Recorded,
) -> None:
    transport = Echo()
    client = httpx.Client(transport=TraceTransport(transport))
    inner = answering(redirecting)
    file = Calling(b"content", lambda: inner.get("http://example/inner"))
    with tracemw.span("order.place") as order:
        request = client.build_request("POST", "http://example/", files={"file": ("name", file)})
        given, boundary = request.stream, vars(request)["stream"].boundary
        response = client.send(request)
        assert request.stream is given

    assert b"content" in response.content
    assert transport.stream.boundary == boundary
    assert isinstance(transport.stream, type(given))
    assert [span.name for span in recorded.all] == ["GET", "GET", "POST", "order.place"]
    assert [span.parent for span in recorded.all[:3]] == [order.get_span_context()] * 3


async def test_a_transport_that_closes_a_body_early_closes_the_callers_generator(recorded: Recorded) -> None:
    ended: list[str] = []

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                yield b"first"
                yield b"second"
            finally:
                ended.append("closed")

    class Refusing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, Body)
            chunks = aiter(request.stream)
            assert isinstance(chunks, AsyncGenerator)
            assert await anext(chunks) == b"first"
            await chunks.aclose()
            return httpx.Response(413)

    async with httpx.AsyncClient(transport=AsyncTraceTransport(Refusing())) as client:
        assert (await client.send(httpx.Request("POST", "http://example/", stream=Body()))).status_code == 413
    assert ended == ["closed"]


@pytest.mark.parametrize("third_parties", [(), ("example",)])
def test_the_callers_request_keeps_its_own_body(recorded: Recorded, third_parties: tuple[str, ...]) -> None:
    with httpx.Client(transport=TraceTransport(Echo(), third_parties=third_parties)) as client:
        request = client.build_request("POST", "http://example/", content=iter([b"one ", b"two"]))
        stream = request.stream
        assert client.send(request).text == "one two"
    assert request.stream is stream


def test_a_challenge_and_a_redirect_count_together(recorded: Recorded) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "authorization" not in request.headers:
            return httpx.Response(401, headers={"www-authenticate": 'Digest realm="r", nonce="n", qop="auth"'})
        return redirecting(request)

    client = answering(answer)
    client.get("http://example/old", auth=httpx.DigestAuth("joe", "sesame"))

    assert resend_counts(recorded) == [None, 1, 2]


def test_a_request_for_a_token_within_an_authentication_is_no_resend(recorded: Recorded) -> None:
    class TokenAuth(httpx.Auth):
        requires_response_body = True

        def auth_flow(self, request: httpx.Request) -> Any:
            token = yield httpx.Request("POST", "http://tokens/")
            request.headers["authorization"] = token.text
            yield request

    assert answering(redirecting).get("http://example/new", auth=TokenAuth()).text == "here"

    assert [span.name for span in recorded.all] == ["POST", "GET"]
    assert resend_counts(recorded) == [None, None]


def test_a_body_that_the_transport_has_read_already_ends_the_span(recorded: Recorded) -> None:
    answering(lambda request: httpx.Response(200, text="ready")).send(httpx.Request("GET", "http://example/"))

    assert recorded.client.name == "GET"


def test_a_response_that_is_kept_holds_no_span_that_has_ended() -> None:
    spans: list[ref[Span]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        spans.append(ref(trace.get_current_span()))
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))

    client = tracemw.httpx.trace_client(
        httpx.Client(transport=httpx.MockTransport(answer)), tracer_provider=TracerProvider(shutdown_on_exit=False)
    )
    gc.disable()  # a response is part of a cycle, and would go with it
    try:
        response = client.get("http://shop/")
        assert (response.text, spans[0]()) == ("ok", None)
    finally:
        gc.enable()


@pytest.mark.parametrize(("sent", "shown"), [(b"HTTP/2", "2"), (b"HTTP/1.1", "1.1"), (None, None)])
def test_the_protocol_version_is_the_negotiated_one(sent: bytes | None, shown: str | None, recorded: Recorded) -> None:
    extensions = {"http_version": sent} if sent else {}
    answering(lambda request: httpx.Response(200, extensions=extensions)).get("https://example/")

    assert recorded.client.attributes is not None
    assert recorded.client.attributes.get("network.protocol.version") == shown
    assert recorded.client.attributes["server.port"] == 443


def test_two_doors_one_around_the_other_make_one_span(url: str, recorded: Recorded) -> None:
    with httpx.Client(transport=TraceTransport(TraceTransport())) as client:
        client.get(url)

    assert len(recorded.all) == 1


async def test_two_asynchronous_doors_one_around_the_other_make_one_span(url: str, recorded: Recorded) -> None:
    async with httpx.AsyncClient(transport=AsyncTraceTransport(AsyncTraceTransport())) as client:
        await client.get(url)

    assert len(recorded.all) == 1


def test_the_official_instrumentation_beneath_is_silenced(recorded: Recorded) -> None:
    beneath: list[object] = []

    def answer(request: httpx.Request) -> httpx.Response:
        beneath.append(otel_context.get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY))
        return httpx.Response(200)

    answering(answer).get("http://example/")

    assert beneath == [True]
    assert otel_context.get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY) is None


def test_what_the_transport_does_beneath_is_in_the_span(recorded: Recorded) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        with tracemw.span("cache.look"):
            return httpx.Response(200)

    answering(answer).get("http://example/")

    client = recorded.client.context
    parent = recorded.named("cache.look").parent
    assert client is not None
    assert parent is not None
    assert parent.span_id == client.span_id


async def test_cancelling_a_call_leaves_its_span_unset(url: str, recorded: Recorded) -> None:
    async with httpx.AsyncClient(transport=AsyncTraceTransport()) as client:
        call = asyncio.create_task(client.get(f"{url}/slow"))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    span = recorded.client
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in (span.attributes or {})
    assert list(span.events) == []


async def test_a_deadline_around_a_call_leaves_its_span_unset(url: str, recorded: Recorded) -> None:
    async with httpx.AsyncClient(transport=AsyncTraceTransport()) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.get(f"{url}/slow")

    assert recorded.client.status.status_code is StatusCode.UNSET


async def test_cancelling_while_the_body_is_read_leaves_the_span_unset(recorded: Recorded) -> None:
    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"some"
            deadline.reschedule(0)
            await asyncio.sleep(5)

    transport = AsyncTraceTransport(httpx.MockTransport(lambda request: httpx.Response(200, stream=Slow())))
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as deadline:
                await client.get("http://example/")

    span = recorded.client
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["http.response.status_code"] == 200


async def test_concurrent_calls_of_one_client_keep_their_parents_apart(url: str, recorded: Recorded) -> None:
    async with httpx.AsyncClient(transport=AsyncTraceTransport()) as client:

        async def call(number: int) -> bool:
            async with tracemw.span(f"task.{number}"):
                handed_on = (await client.get(url)).text
                trace_id = tracemw.current_trace_id()
                return trace_id is not None and trace_id in handed_on

        assert all(await asyncio.gather(*(call(number) for number in range(20))))

    assert len(recorded.of_kind(SpanKind.CLIENT)) == 20


def test_an_interrupt_leaves_the_span_unset(recorded: Recorded) -> None:
    def interrupt(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answering(interrupt).get("http://example/")

    assert recorded.client.status.status_code is StatusCode.UNSET


async def test_an_abandoned_partly_read_response_ends_its_span(recorded: Recorded) -> None:
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b"some"

    transport = AsyncTraceTransport(httpx.MockTransport(lambda request: httpx.Response(200, stream=Endless())))
    client = httpx.AsyncClient(transport=transport)
    response = await client.send(client.build_request("GET", "http://example/"), stream=True)
    chunks = response.aiter_raw()
    assert await anext(chunks) == b"some"
    del response, chunks
    gc.collect()
    for _ in range(10):  # the loop closes abandoned generators in tasks of its own
        await asyncio.sleep(0)
    gc.collect()

    assert recorded.client.status.status_code is StatusCode.UNSET


def test_an_event_hook_sees_the_callers_request_and_may_fail(recorded: Recorded) -> None:
    client = answering(redirecting)

    def hook(response: httpx.Response) -> None:
        response.read()
        raise LookupError("a hook's own")

    client.event_hooks = {"response": [hook]}
    with pytest.raises(LookupError, match="a hook's own"):
        client.get("http://example/new")

    assert recorded.client.status.status_code is StatusCode.UNSET


def test_using_the_transport_as_a_context_manager_enters_the_wrapped_one() -> None:
    did: list[str] = []

    class Inner(httpx.BaseTransport):
        def __enter__(self) -> Inner:
            did.append("entered")
            return self

        def __exit__(self, *exc_info: Any) -> None:
            did.append("left")

        def close(self) -> None:
            did.append("closed")

    transport = TraceTransport(Inner())
    with transport as entered:
        assert entered is transport
    transport.close()

    assert did == ["entered", "left", "closed"]


async def test_using_the_asynchronous_transport_as_a_context_manager_enters_the_wrapped_one() -> None:
    did: list[str] = []

    class Inner(httpx.AsyncBaseTransport):
        async def __aenter__(self) -> Inner:
            did.append("entered")
            return self

        async def __aexit__(self, *exc_info: Any) -> None:
            did.append("left")

        async def aclose(self) -> None:
            did.append("closed")

    transport = AsyncTraceTransport(Inner())
    async with transport as entered:
        assert entered is transport
    await transport.aclose()

    assert did == ["entered", "left", "closed"]


def test_the_span_is_not_current_while_the_body_is_read(recorded: Recorded) -> None:
    client = answering(redirecting)
    with client.stream("GET", "http://example/new") as response:
        assert not trace.get_current_span().get_span_context().is_valid
        for _ in response.iter_raw():
            assert not trace.get_current_span().get_span_context().is_valid
