"""A kept span says what it would say if it were sampled."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.trace import Link, SpanContext, Status, StatusCode
from werkzeug.middleware.proxy_fix import ProxyFix

import calls
import tracemw
import tracemw.asgi
from backend import Backend
from conformance.server_doors import DOORS, ASGIDoor, Door
from conformance.service import Service
from conftest import PARENT_ID, TRACE_ID
from recording.local_traces import Init, Spans, answer, attributes, failing, kept_for
from tracemw._otel import guard


def comparable(spans: Spans) -> list[Any]:
    """All that two recordings of the same request have in common, and nothing of when and by which ids."""
    names = {span.span_id: span.name for span in spans}
    return sorted(
        (
            span.name,
            span.kind,
            sorted((key, repr(value)) for key, value in attributes(span).items() if key != "tracemw.kept"),
            [(event.name, sorted(map(str, event.attributes))) for event in span.events],
            [(link.trace_id, link.span_id, sorted(map(str, link.attributes))) for link in span.links],
            (span.status.code, span.status.message),
            (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count),
            names.get(span.parent_span_id, span.parent_span_id.hex()),
        )
        for span in spans
    )


def both_ways(init: Init, backend: Backend, work: Callable[[], object], **more: Any) -> tuple[Spans, Spans]:
    """Do the same sampled, and unsampled and kept."""
    found: list[Spans] = []
    for sampling in ({"ratio": 1.0}, {"ratio": 0.0, "keep_slow": 0.0}):
        running = init(**sampling, **more)
        before = len(backend.spans)
        work()
        found.append(running.spans[before:])
    sampled, kept = found
    assert all(kept_for(span) is None for span in sampled)
    assert all(kept_for(span) in ("error", "slow", "manual") for span in kept)
    assert len({kept_for(span) for span in kept}) == 1
    assert comparable(kept) == comparable(sampled)
    return sampled, kept


PATHS = [
    "/ok",
    "/child",
    "/order/7",
    "/shops/3/items/7",
    "/status/204",
    "/status/404",
    "/status/503",
    "/nowhere",
    "/boom",
    "/broken-stream",
    "/stream/2",
    "/baggage",
    "/kinds",
    "/own-header",
    "/file",
]

HEADERS = [
    ("user-agent", "curl/8"),
    ("x-team", "a"),
    ("x-forwarded-for", "198.51.100.7"),
    ("x-forwarded-proto", "https"),
    ("baggage", "tenant.id=7"),
]


@pytest.mark.parametrize(("path", "root"), [*zip(PATHS, itertools.cycle(["", "/root"]), strict=False)])
def test_a_kept_request_says_what_a_sampled_one_says(
    door: Door, init: Init, backend: Backend, path: str, root: str
) -> None:
    def work() -> None:
        traced = door.traced(
            Service(),
            capture_request_headers=["x-team", "accept"],
            capture_response_headers=["x-kind", "content-type"],
            trusted_proxies="192.0.2.0/24",
        )
        headers = [*HEADERS, ("accept", "text/html"), ("accept", "*/*")]
        door.ask(traced, path, query=b"a=1&sig=secret", headers=headers, root=root)

    sampled, _ = both_ways(init, backend, work, more={"baggage": ("tenant.id",)})
    assert sampled


@pytest.mark.parametrize("method", ["GET", "BREW"])
@pytest.mark.parametrize("metrics", [False, True])
def test_a_kept_request_says_what_a_sampled_one_says_with_hooks_a_public_edge_and_metrics(
    door: Door, init: Init, backend: Backend, method: str, metrics: bool
) -> None:
    class Silent(otel_metrics.MeterProvider):
        def get_meter(self, *arguments: Any, **more: Any) -> otel_metrics.Meter:
            return otel_metrics.NoOpMeter("silent")

    def on_request(span: Any, facts: Any) -> None:
        span.set_attributes({"hook.request": facts.path, "url.scheme": "gopher"})

    def on_response(span: Any, facts: Any, status: int | None) -> None:
        span.set_attribute("hook.response", f"{status} {span.attributes['url.path']} {facts.headers.get('x-team')}")

    def work() -> None:
        traced = door.traced(
            Service(),
            on_request=on_request,
            on_response=on_response,
            span_name=lambda facts, route: f"{facts.method} of {route}",
            trust_inbound=False,
            **({"meter_provider": Silent()} if metrics else {}),
        )
        headers = [*HEADERS, ("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01")]
        door.ask(traced, "/order/7", method=method, headers=headers)

    sampled, _ = both_ways(init, backend, work)
    assert [attributes(span)["url.scheme"] for span in sampled] == ["gopher"]
    assert len(sampled[0].links) == 1


def rich() -> None:
    """Use a span in every way that there is."""
    tracer = trace.get_tracer("rich", "1")
    other = SpanContext(7, 8, is_remote=True)
    with tracer.start_as_current_span("first", attributes={"a": 1, "b": (1, 2)}, links=[Link(other, {"x": 1})]) as span:
        span.update_name("renamed")
        span.set_attribute("list", ["a", "b"])
        span.set_attribute("a", "again")
        span.set_attributes({"c": 1.5, "d": True, "e": b"bytes", "": "no key", "f": None})
        odd: Any = {1: "no key", "odd": object()}
        span.set_attributes(odd)
        span.add_event("event", {"g": 1})
        span.add_link(SpanContext(9, 10, is_remote=True))
        span.record_exception(ValueError("noted"))
        span.set_status(Status(StatusCode.OK))
        for number in range(20):
            span.set_attribute(f"many.{number}", "x" * number)


LIMITS = [
    {},
    {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "12"},
    {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "4"},
    {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0"},
    {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3"},
    {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "7"},
    {"OTEL_SPAN_EVENT_COUNT_LIMIT": "1", "OTEL_SPAN_LINK_COUNT_LIMIT": "1"},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_a_kept_span_says_what_a_sampled_one_says_whatever_it_is_told_and_whichever_limit_bites(
    init: Init, backend: Backend, monkeypatch: pytest.MonkeyPatch, limits: dict[str, str]
) -> None:
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    logging.disable(logging.WARNING)
    try:
        both_ways(init, backend, rich)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            span: Any = trace.get_current_span()
            span.set_attributes({"own": [1, 2], "": 1, "url.path": "/rewritten"})
            for number in range(6):
                tracemw.annotate(**{f"n.{number}": "x" * number})
            rich()
            await answer(send)

        both_ways(init, backend, lambda: asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app), query=b"a=1")))
    finally:
        logging.disable(logging.NOTSET)


def test_an_application_that_reads_the_attributes_during_the_request_finds_all_of_them(init: Init) -> None:
    init()
    seen: list[Mapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        span: Any = trace.get_current_span()
        span.set_attribute("before", 1)
        seen.append(dict(span.attributes))
        span.set_attribute("url.path", "/mine")
        span.set_attribute("after", 2)
        seen.append(dict(span.attributes))
        seen.append(json.loads(span.to_json())["attributes"])
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app), "/seven"))
    assert seen[0].items() >= {"before": 1, "url.path": "/seven", "http.request.method": "GET"}.items()
    assert seen[1] == seen[2] == {**seen[0], "url.path": "/mine", "after": 2}


@pytest.mark.parametrize("reads", [False, True])
def test_a_request_of_which_attributes_cannot_be_made_is_kept_without_them(
    init: Init, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    monkeypatch.setattr(guard, "reraise_own_faults", False)
    monkeypatch.setattr(guard, "faults", Counter())
    running = init()
    seen: list[Mapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        span: Any = trace.get_current_span()
        span.set_attribute("own", 1)
        if reads:
            seen.append(dict(span.attributes))
        await failing(scope, receive, send)

    scope = {**calls.http_scope("/x"), "client": 7}  # as from no server
    answered = asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app), scope=scope))
    assert answered.status == 500
    assert seen == [{"own": 1}] * reads
    assert running.names == ["GET", "child"]
    server = next(span for span in running.spans if span.kind == Span.SPAN_KIND_SERVER)
    assert attributes(server) == {
        "own": 1,
        "http.response.status_code": 500,
        "error.type": "500",
        "tracemw.kept": "error",
    }
    assert guard.faults == {"tracing failed in HeldSpan.settle; the request is not affected": 1}
    assert running.tracing.stats().ended == 2


# Frameworks and middleware change what the server gave; the span says what came.


class Rewriting:
    """Middleware within the door that makes the request another one, as far as the application can see."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["client"], scope["scheme"], scope["server"] = ("198.51.100.9", 1), "https", ("inner.example", 443)
        scope["query_string"], scope["http_version"], scope["method"] = b"rewritten", "9", "POST"
        scope["headers"][:] = [(b"host", b"inner.example"), (b"user-agent", b"inner"), (b"x-team", b"inner")]
        scope["root_path"], scope["path"] = "/inner", "/inner/rewritten"
        await self._app(scope, receive, send)


@pytest.mark.parametrize("kind", [name for name, kind in DOORS.items() if issubclass(kind, ASGIDoor)])
def test_a_scope_that_is_changed_within_the_door_changes_nothing_of_what_the_span_says(
    init: Init, backend: Backend, kind: str
) -> None:
    door = DOORS[kind]()
    assert isinstance(door, ASGIDoor)

    def work() -> None:
        app = door.wrap(Rewriting(door.application(Service())), capture_request_headers=["x-team"])
        door.ask(app, "/order/7", query=b"a=1", headers=[("x-team", "outer")])

    _, (kept,) = both_ways(init, backend, work)
    said = attributes(kept)
    assert (said["url.path"], said["url.query"], said["url.scheme"]) == ("/order/7", "a=1", "http")
    assert (said["client.address"], said["server.address"]) == ("192.0.2.7", "shop.example")
    assert said["http.request.header.x-team"] == ["outer"]


def litestar_app() -> Any:
    from litestar import Litestar

    return Litestar([], openapi_config=None, logging_config=None)


def quart_app() -> Any:
    from quart import Quart

    return Quart("shop")


@pytest.mark.parametrize("make", [litestar_app, quart_app])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_scope_that_is_changed_around_another_framework_changes_nothing_of_what_the_span_says(
    init: Init, backend: Backend, make: Callable[[], Any], kind: str
) -> None:
    inner = Rewriting(make())

    async def kept_app(scope: Any, receive: Any, send: Any) -> None:
        tracemw.keep("a connection is never slow")
        await inner(scope, receive, send)

    async def request(scope: Any) -> None:
        incoming = [{"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}]

        is_over = asyncio.Event()

        async def receive() -> Any:
            if incoming:
                return incoming.pop(0)
            await is_over.wait()
            return {"type": f"{kind}.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] != "http.response.start" and not message.get("more_body"):
                is_over.set()

        await tracemw.asgi.TraceMiddleware(kept_app)(scope, receive, send)

    scheme = {"http": "http", "websocket": "ws"}[kind]

    def work() -> None:
        scope = calls.http_scope("/order/7", query=b"a=1", headers=[(b"user-agent", b"outer")])
        asyncio.run(request({**scope, "type": kind, "scheme": scheme, "subprotocols": []}))

    _, (kept,) = both_ways(init, backend, work)
    said = attributes(kept)
    assert (said["url.path"], said["url.query"], said["url.scheme"]) == ("/order/7", "a=1", scheme)
    assert (said["client.address"], said["server.address"]) == ("192.0.2.7", "shop.example")
    assert (said["user_agent.original"], said["network.protocol.version"]) == ("outer", "1.1")


@pytest.mark.parametrize("kind", ["wsgi", "flask"])
def test_an_environ_that_is_changed_within_the_door_changes_nothing_of_what_the_span_says(
    init: Init, backend: Backend, kind: str
) -> None:
    door = DOORS[kind]()

    def work() -> None:
        inner = ProxyFix(door.application(Service()), x_for=1, x_proto=1, x_host=1, x_prefix=1)
        headers = [*HEADERS, ("x-forwarded-host", "inner.example"), ("x-forwarded-prefix", "/inner")]
        door.ask(door.wrap(inner), "/order/7", headers=headers)

    _, (kept,) = both_ways(init, backend, work)
    said = attributes(kept)
    assert (said["url.path"], said["url.scheme"]) == ("/order/7", "http")
    assert (said["client.address"], said["server.address"]) == ("192.0.2.7", "shop.example")
