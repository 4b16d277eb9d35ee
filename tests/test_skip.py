"""Skipped requests: which they are, and that nothing inside them is traced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
from opentelemetry import propagate, trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import tracemw
from calls import WSGIServer, ask
from conftest import TRACEPARENT, Recorded
from tracemw import asgi, wsgi
from tracemw._http.facts import RequestFacts
from tracemw._http.request import ServerRequest
from tracemw._http.settings import ServerSettings
from tracemw._http.skip import DEFAULT_PATHS, SkipRule
from tracemw.httpx import AsyncTraceTransport, TraceTransport
from tracemw.requests import TraceAdapter


class NoHeaders:
    def get(self, name: str, /) -> list[str]:
        return []

    def keys(self) -> list[str]:
        return []


class Asked(ServerRequest):
    """A request of which the rule asks what it needs to know."""

    def __init__(self, path: str, method: str = "GET") -> None:
        self.settings = ServerSettings()
        self.path, self.method, self.mounts = path, method, ()

    def read(self) -> RequestFacts:
        return RequestFacts(method=self.method, path=self.path, query="", scheme="http", headers=NoHeaders())


async def test_a_skipped_request_has_a_current_span_that_can_be_shown() -> None:
    shown = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        span = trace.get_current_span()
        shown.append((repr(span), span.get_span_context()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    await ask(asgi.TraceMiddleware(app), "/health")
    ((text, context),) = shown
    assert text == f"NonRecordingSpan({context!r})"


class TestWhatIsSkipped:
    @pytest.mark.parametrize("path", sorted(DEFAULT_PATHS))
    def test_is_what_probes_and_scrapers_ask_for_by_default(self, path: str) -> None:
        assert SkipRule().matches(Asked(path))
        assert SkipRule("/more").matches(Asked(f"{path}/"))

    @pytest.mark.parametrize("path", ["/", "/healthy", "/health/check", "/api/health", "/Health", "//health", ""])
    def test_is_nothing_that_only_looks_similar(self, path: str) -> None:
        assert not SkipRule().matches(Asked(path))

    @pytest.mark.parametrize(
        ("rule", "path", "skipped"),
        [
            ("/internal", "/internal", True),
            ("/internal", "/internal/", True),
            ("/internal", "/internal/x", False),
            ("/internal/", "/internal", False),
            ("/static/*", "/static/a/b.css", True),
            ("/static/*", "/statics", False),
            ("*.css", "/a/b.css", True),
            ("*/health", "/api/v1/health", True),
            ("/v?/ping", "/v2/ping", True),
            ("/v[12]/ping", "/v3/ping", False),
            ("/a.b*", "/aXb", False),
            ("/line*", "/line\nbreak", True),
        ],
    )
    def test_are_paths_and_globs(self, rule: str, path: str, skipped: bool) -> None:
        assert SkipRule(rule).matches(Asked(path)) is skipped
        assert SkipRule(["/other", rule]).matches(Asked(path)) is skipped

    def test_are_requests_that_a_predicate_picks(self) -> None:
        rule = SkipRule(["/internal", lambda request: request.method == "OPTIONS"])
        assert rule.matches(Asked("/", "OPTIONS"))
        assert rule.matches(Asked("/internal"))
        assert rule.matches(Asked("/health"))
        assert not rule.matches(Asked("/"))

    def test_is_nothing_at_all_with_none(self) -> None:
        assert not any(SkipRule(None).matches(Asked(path)) for path in DEFAULT_PATHS)

    def test_is_not_what_a_raising_predicate_is_asked_about(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(request: RequestFacts) -> bool:
            raise RuntimeError("predicate")

        rule = SkipRule([broken, lambda request: request.path == "/other"])
        assert not rule.matches(Asked("/"))
        assert rule.matches(Asked("/other"))
        assert "skip=" in caplog.text

    @pytest.mark.parametrize("rule", ["health", "", "http://shop.example/health", ["/fine", "bad"]])
    def test_has_to_be_a_rule_that_can_match(self, rule: Any) -> None:
        with pytest.raises(ValueError, match="starts with '/'"):
            SkipRule(rule)

    @pytest.mark.parametrize("rule", [7, [7], [None], b"/health", True])
    def test_has_to_be_a_path_a_glob_or_a_predicate(self, rule: Any) -> None:
        with pytest.raises(TypeError, match="skip takes paths"):
            SkipRule(rule)


@pytest.fixture
def stock() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    """A provider that, like the SDK's default, follows its parent's decision."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    yield provider, memory
    provider.shutdown()


Stock = tuple[TracerProvider, InMemorySpanExporter]


class TestInsideASkippedRequest:
    async def test_nothing_is_traced(self, recorded: Recorded, stock: Stock) -> None:
        provider, memory = stock
        sent: list[httpx.Request] = []

        def backend(request: httpx.Request) -> httpx.Response:
            sent.append(request)
            return httpx.Response(200)

        @tracemw.traced
        async def business() -> None:
            tracemw.annotate(lost=True)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert tracemw.current_trace_id() is None
            assert not is_instrumentation_enabled()
            await business()
            with tracemw.span("business"), provider.get_tracer("driver").start_as_current_span("SELECT") as span:
                assert not span.is_recording()
                assert not span.get_span_context().trace_flags.sampled
            transport = httpx.MockTransport(backend)
            async with httpx.AsyncClient(transport=AsyncTraceTransport(transport)) as client:
                await client.get("http://backend/")
            with httpx.Client(transport=TraceTransport(transport)) as client:
                client.get("http://backend/", headers={"x-mine": "1"})
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})

        door = asgi.TraceMiddleware(app)
        answer = await ask(door, "/healthz", headers=[(b"traceparent", TRACEPARENT.encode())])
        assert answer.headers == []
        assert recorded.all == []
        assert memory.get_finished_spans() == ()
        assert len(sent) == 2
        assert not any("traceparent" in request.headers for request in sent)
        assert tracemw.current_trace_id() is None

    async def test_a_request_to_another_traced_application_is_skipped_too(self, recorded: Recorded) -> None:
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            with tracemw.span("inner"):
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body"})

        other = asgi.TraceMiddleware(inner)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert (await ask(other, "/deep")).status == 200
            await inner(scope, receive, send)

        await ask(asgi.TraceMiddleware(asgi.TraceMiddleware(app, skip=None)), "/health")
        assert recorded.all == []
        await ask(asgi.TraceMiddleware(app), "/shop")
        assert len(recorded.of_kind(SpanKind.SERVER)) == 2

    def test_nothing_is_traced_behind_a_wsgi_door(self, recorded: Recorded, stock: Stock) -> None:
        provider, memory = stock
        sent: list[Any] = []

        class Backend(TraceAdapter):
            def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
                sent.append(request)
                return super().send(request, *args, **kwargs)

        def app(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [])
            with tracemw.span("business"), provider.get_tracer("driver").start_as_current_span("SELECT"):
                yield b"x"
            with requests.Session() as session:
                session.mount("http://", Backend())
                with pytest.raises(requests.ConnectionError):
                    session.get("http://127.0.0.1:9/", timeout=1)

        server = WSGIServer().ask(wsgi.TraceMiddleware(app), "/metrics")
        assert (server.body, server.headers) == (b"x", [])
        assert recorded.all == []
        assert memory.get_finished_spans() == ()
        assert "traceparent" not in sent[0].headers
        assert trace.get_current_span() is trace.INVALID_SPAN

    async def test_what_others_inject_says_not_sampled(self) -> None:
        carrier: dict[str, str] = {}

        async def app(scope: Any, receive: Any, send: Any) -> None:
            propagate.inject(carrier)

        await ask(asgi.TraceMiddleware(app), "/ping")
        assert carrier["traceparent"].endswith("-00")
