"""The options that say what is recorded of a request, over an ASGI and a WSGI door alike."""

from __future__ import annotations

import inspect
import logging
import pydoc
import re
from collections.abc import Callable
from typing import Any, get_type_hints

import flask
import httpx
import httpx2
import litestar
import pytest
import requests
import urllib3
from opentelemetry import baggage
from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider
from starlette.applications import Starlette

import tracemw
import tracemw.httpx
import tracemw.httpx2
from backend import backend_serving
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Meters, Recorded
from servers import process
from tracemw import asgi, starlette, wsgi
from tracemw.httpx import TraceTransport
from tracemw.requests import trace_session
from tracemw.urllib3 import trace_pool_manager

Call = Callable[..., httpx.Response]


@pytest.fixture(params=["asgi", "wsgi"])
def serve(request: pytest.FixtureRequest) -> Callable[..., Call]:
    """Make a client of a traced application: it answers with the baggage it sees, or fails at `/boom`."""

    def make(**options: Any) -> Call:
        if request.param == "asgi":
            return _asgi_client(**options)
        return _wsgi_client(**options)

    return make


def _asgi_client(**options: Any) -> Call:
    import asyncio

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/boom":
            raise ValueError("boom")
        status = int(scope["path"].removeprefix("/"))
        headers = [(b"x-kind", b"a"), (b"x-kind", b"b")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": repr(dict(baggage.get_all())).encode()})

    traced = asgi.TraceMiddleware(app, **options)

    def call(path: str, **kwargs: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(traced, client=("10.0.0.1", 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
                return await client.get(path, **kwargs)

        return asyncio.run(once())

    return call


def _wsgi_client(**options: Any) -> Call:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/boom":
            raise ValueError("boom")
        start_response(f"{environ['PATH_INFO'][1:]} X", [("X-Kind", "a"), ("X-Kind", "b")])
        return [repr(dict(baggage.get_all())).encode()]

    transport = httpx.WSGITransport(wsgi.TraceMiddleware(app, **options), remote_addr="10.0.0.1")
    client = httpx.Client(transport=transport, base_url="http://shop.example")

    def call(path: str, **kwargs: Any) -> httpx.Response:
        return client.get(path, **kwargs)

    return call


def test_captured_headers_are_lists_under_lower_case_names(serve: Callable[..., Call], recorded: Recorded) -> None:
    call = serve(capture_request_headers=["X-Team", "x-none"], capture_response_headers=("x-kind",))
    call("/200", headers={"X-Team": "shop", "X-Other": "secret"})
    attributes = dict(recorded.server.attributes or {})
    assert attributes["http.request.header.x-team"] == ("shop",)
    assert attributes["http.response.header.x-kind"] == ("a", "b")
    assert [key for key in attributes if ".header." in key and key.rpartition(".")[2] not in ("x-team", "x-kind")] == []


def test_a_captured_header_is_the_applications_and_not_the_one_that_the_door_adds(
    serve: Callable[..., Call], recorded: Recorded
) -> None:
    assert "x-trace-id" in serve(capture_response_headers=["x-trace-id"])("/200").headers
    assert [key for key in recorded.server.attributes or {} if ".header." in key] == []


@pytest.mark.parametrize("option", ["capture_request_headers", "capture_response_headers"])
def test_a_wrong_list_of_headers_is_an_error_when_constructed(serve: Callable[..., Call], option: str) -> None:
    with pytest.raises(TypeError, match=f"{option} takes several names"):
        serve(**{option: "x-team"})
    with pytest.raises(ValueError, match="headers='x team' is not accepted; use names of HTTP headers"):
        serve(**{option: ["x team"]})


def test_at_a_public_edge_a_new_trace_starts_linked_to_the_callers_and_baggage_is_dropped(
    serve: Callable[..., Call], recorded: Recorded
) -> None:
    response = serve(trust_inbound=False)("/200", headers={"traceparent": TRACEPARENT, "baggage": "tenant.id=evil"})
    span = recorded.server
    assert response.text == "{}"
    assert span.parent is None
    assert span.context.trace_id != int(TRACE_ID, 16)
    (link,) = span.links
    assert (link.context.trace_id, link.context.span_id) == (int(TRACE_ID, 16), int(PARENT_ID, 16))


def test_without_a_caller_there_is_no_link(serve: Callable[..., Call], recorded: Recorded) -> None:
    serve(trust_inbound=False)("/200", headers={"traceparent": "garbage"})
    assert recorded.server.links == ()


def test_inside_the_edge_baggage_reaches_the_application(serve: Callable[..., Call], recorded: Recorded) -> None:
    assert serve()("/200", headers={"baggage": "tenant.id=a"}).text == "{'tenant.id': 'a'}"
    assert "tenant.id" not in (recorded.server.attributes or {})


def test_trusted_proxies_tell_of_the_original_request(serve: Callable[..., Call], recorded: Recorded) -> None:
    forwarded = {"forwarded": "for=6.6.6.6, for=203.0.113.7;proto=https;host=outside.example"}
    serve(trusted_proxies=["10.0.0.0/8"], proxy_header="forwarded")("/200", headers=forwarded)
    attributes = recorded.server.attributes or {}
    assert attributes["client.address"] == "203.0.113.7"
    assert attributes["network.peer.address"] == "10.0.0.1"
    assert attributes["url.scheme"] == "https"
    assert attributes["server.address"] == "outside.example"
    assert attributes["server.port"] == 443


def test_nobody_else_does(serve: Callable[..., Call], recorded: Recorded) -> None:
    serve()("/200", headers={"forwarded": "for=203.0.113.7;proto=https;host=outside.example"})
    attributes = recorded.server.attributes or {}
    assert attributes["client.address"] == "10.0.0.1"
    assert (attributes["url.scheme"], attributes["server.address"]) == ("http", "shop.example")


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("/200", {"http.response.status_code": 200}),
        ("/404", {"http.response.status_code": 404}),
        ("/503", {"http.response.status_code": 503, "error.type": "503"}),
        ("/boom", {"http.response.status_code": 500, "error.type": "500"}),
    ],
)
def test_the_servers_duration_agrees_with_its_span(
    serve: Callable[..., Call], recorded: Recorded, meters: Meters, path: str, labels: dict[str, str | int]
) -> None:
    call = serve(meter_provider=meters.provider)
    try:
        call(path)
    except ValueError:
        assert path == "/boom"
    (point,) = meters.points("http.server.request.duration")
    span = recorded.server
    assert isinstance(point, HistogramDataPoint)
    attributes = dict(point.attributes or {})
    version = attributes.pop("network.protocol.version")
    assert version == (span.attributes or {})["network.protocol.version"]
    assert attributes == {"http.request.method": "GET", "url.scheme": "http", **labels}
    assert point.sum == pytest.approx(((span.end_time or 0) - (span.start_time or 0)) / 1e9)
    assert list(point.explicit_bounds) == [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
    assert {key: (span.attributes or {}).get(key) for key in labels} == labels
    (active,) = meters.points("http.server.active_requests")
    assert isinstance(active, NumberDataPoint)
    assert (active.value, dict(active.attributes or {})) == (0, {"http.request.method": "GET", "url.scheme": "http"})


@pytest.mark.parametrize(
    "provider",
    [TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False), NoOpTracerProvider()],
    ids=["unsampled", "none"],
)
def test_metrics_do_not_need_a_sampled_trace(serve: Callable[..., Call], meters: Meters, provider: Any) -> None:
    serve(meter_provider=meters.provider, tracer_provider=provider)("/200")
    (point,) = meters.points("http.server.request.duration")
    assert (point.count, point.attributes["http.response.status_code"]) == (1, 200)


def test_a_meter_provider_that_cannot_be_loaded_is_no_error_of_the_application() -> None:
    code = "import tracemw.asgi; tracemw.asgi.TraceMiddleware(print); print('made')"
    with process("-c", code, env={"OTEL_PYTHON_METER_PROVIDER": "bogus"}) as running:
        output, _ = running.communicate(timeout=60)
    assert (running.returncode, output.splitlines()[-1]) == (0, "made"), output


def test_a_skipped_request_is_not_measured(serve: Callable[..., Call], meters: Meters) -> None:
    serve(meter_provider=meters.provider, skip="/200")("/200")
    assert meters.points("http.server.request.duration") == []
    assert meters.points("http.server.active_requests") == []


def test_several_doors_of_a_process_make_one_stream_of_each_metric(
    serve: Callable[..., Call], meters: Meters, caplog: pytest.LogCaptureFixture
) -> None:
    serve(meter_provider=meters.provider)("/200")
    serve(meter_provider=meters.provider)("/200")
    (point,) = meters.points("http.server.request.duration")
    assert point.count == 2
    (active,) = meters.points("http.server.active_requests")
    assert active.value == 0
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_clients_duration_agrees_with_its_span(recorded: Recorded, meters: Meters) -> None:
    transport = TraceTransport(
        httpx.MockTransport(lambda request: httpx.Response(503, text="x")), meter_provider=meters.provider
    )
    with httpx.Client(transport=transport) as client:
        client.get("http://pay.example/charges/7")
    (point,) = meters.points("http.client.request.duration")
    span = recorded.client
    assert dict(point.attributes) == {
        "http.request.method": "GET",
        "server.address": "pay.example",
        "server.port": 80,
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert point.sum == pytest.approx(((span.end_time or 0) - (span.start_time or 0)) / 1e9)


def test_init_records_the_baggage_keys_it_is_told_and_exports_metrics() -> None:
    code = (
        "import httpx, tracemw\n"
        "from tracemw.wsgi import TraceMiddleware\n"
        "tracemw.init('shop', metrics=True, baggage=('tenant.id',))\n"
        "def app(environ, start_response):\n"
        "    with tracemw.span('inside'): start_response('200 OK', []); return []\n"
        "client = httpx.Client(transport=httpx.WSGITransport(TraceMiddleware(app)), base_url='http://shop')\n"
        "client.get('/', headers={'baggage': 'tenant.id=a%20b,secret=x'})\n"
        "tracemw.shutdown()\n"
    )
    with backend_serving() as backend:
        with process(
            "-W", "error", "-W", "ignore::ResourceWarning", "-c", code, env={"TEMPO_ENDPOINT": backend.url}
        ) as running:
            output, _ = running.communicate(timeout=60)
        assert (running.returncode, output) == (0, "")
        assert sorted(backend.paths) == ["/v1/metrics", "/v1/traces"]
        for span in backend.spans:
            attributes = {pair.key: pair.value.string_value for pair in span.attributes}
            assert attributes["tenant.id"] == "a b"
            assert "secret" not in attributes
        assert sorted(backend.names) == ["GET", "inside"]


def test_a_value_of_baggage_that_cannot_be_recorded_costs_that_attribute_only() -> None:
    code = (
        "import tracemw\n"
        "from opentelemetry import baggage, context\n"
        "class Unprintable:\n"
        "    def __str__(self): raise LookupError('not today')\n"
        "tracemw.init('shop', baggage=('first', 'bad', 'lone', 'long', 'last'))\n"
        "here = context.get_current()\n"
        "values = dict(first='1', bad=Unprintable(), lone='a\\ud800', long='x' * 9000, last=7)\n"
        "for key, value in values.items(): here = baggage.set_baggage(key, value, here)\n"
        "context.attach(here)\n"
        "with tracemw.span('outer'):\n"
        "    with tracemw.span('inner'): pass\n"
        "tracemw.shutdown()\n"
    )
    with backend_serving() as backend:
        with process("-W", "error", "-c", code, env={"TEMPO_ENDPOINT": backend.url}) as running:
            output, _ = running.communicate(timeout=60)
        assert running.returncode == 0, output
        assert "the value of baggage 'bad' cannot be used and is left out" in output
        assert sorted(backend.names) == ["inner", "outer"]
        for span in backend.spans:
            attributes = {pair.key: pair.value.string_value for pair in span.attributes}
            assert (attributes["first"], attributes["last"], attributes["long"]) == ("1", "7", "x" * 9000)
            assert "bad" not in attributes


PLAIN: Any = getattr(pydoc, "plaintext")  # noqa: B009  a type checker does not know it


@pytest.mark.parametrize("door", ["asgi", "wsgi", "starlette", "fastapi", "flask", "litestar", "falcon"])
def test_help_on_a_middleware_shows_every_option_with_its_default_and_what_it_does(door: str) -> None:
    pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    middleware = getattr(tracemw, door).TraceMiddleware
    parameters = inspect.signature(middleware).parameters
    options = tracemw.ServerOptions.__annotations__
    assert list(options) == [name for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY]
    shown = pydoc.render_doc(middleware, renderer=PLAIN)
    for option in options:
        assert re.search(rf"^ \|      {option}: [A-Z]", shown, re.MULTILINE), option
    assert "response_header: 'str | None' = 'x-trace-id'" in shown


@pytest.mark.parametrize("door", [asgi.TraceMiddleware, wsgi.TraceMiddleware])
def test_a_class_derived_from_a_middleware_has_the_signature_of_its_own_constructor(door: Any) -> None:
    class Ours(door):  # type: ignore[misc]
        def __init__(self, app: Any, *, tenant: str) -> None:
            super().__init__(app)

    assert list(inspect.signature(Ours).parameters) == ["app", "tenant"]


def test_a_client_s_options_are_documented_where_help_finds_them() -> None:
    shown = pydoc.render_doc(tracemw.ClientOptions, renderer=PLAIN)
    for option in tracemw.ClientOptions.__annotations__:
        assert re.search(rf"^ \|      {option}: [A-Z]", shown, re.MULTILINE), option


def test_what_hooks_get_is_documented_field_by_field() -> None:
    source = inspect.getsource(tracemw.RequestFacts)
    for field in tracemw.RequestFacts._fields:
        assert re.search(rf'^    {field}: .*\n    """', source, re.MULTILINE), field


SERVER_DOORS = ["asgi", "wsgi", "starlette", "fastapi", "flask", "litestar"]
CLIENT_DOORS: dict[str, list[Callable[..., object]]] = {
    "trace_client": [
        lambda **options: tracemw.httpx.trace_client(httpx.Client(), **options),
        lambda **options: tracemw.httpx2.trace_client(httpx2.Client(), **options),
    ],
    "TraceTransport": [tracemw.httpx.TraceTransport, tracemw.httpx2.TraceTransport],
    "AsyncTraceTransport": [tracemw.httpx.AsyncTraceTransport, tracemw.httpx2.AsyncTraceTransport],
    "trace_session": [
        lambda **options: trace_session(requests.Session(), **options),
        lambda **options: trace_session(trace_session(requests.Session()), **options),
    ],
    "trace_pool_manager": [
        lambda **options: trace_pool_manager(urllib3.PoolManager(), **options),
        lambda **options: trace_pool_manager(trace_pool_manager(urllib3.PoolManager()), **options),
    ],
}


def _make_server_door(door: str, **options: Any) -> None:
    if door == "fastapi":
        pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    app: Any = {"flask": None, "litestar": litestar.Litestar([])}.get(door, print)
    getattr(tracemw, door).TraceMiddleware(app, **options)


@pytest.mark.parametrize("door", SERVER_DOORS)
def test_a_misspelt_option_of_a_middleware_is_an_error_that_names_the_middleware_and_its_options(door: str) -> None:
    with pytest.raises(TypeError) as refused:
        _make_server_door(door, skipp="/")
    known = ", ".join(tracemw.ServerOptions.__annotations__)
    assert str(refused.value) == f"TraceMiddleware has no option 'skipp'; use one of {known}"


@pytest.mark.parametrize("door", CLIENT_DOORS)
def test_a_misspelt_option_of_a_client_door_is_an_error_that_names_what_was_called_and_its_options(door: str) -> None:
    known = ", ".join(tracemw.ClientOptions.__annotations__)
    for make in CLIENT_DOORS[door]:
        with pytest.raises(TypeError) as refused:
            make(third_partys=())
        assert str(refused.value) == f"{door} has no option 'third_partys'; use one of {known}"


def _switches(options: type) -> list[str]:
    return [name for name, kind in get_type_hints(options).items() if kind is bool]


@pytest.mark.parametrize("value", ["no", "", 0, 1, None])
def test_a_switch_of_a_door_takes_nothing_but_true_or_false(value: object) -> None:
    assert "trust_inbound" in _switches(tracemw.ServerOptions)
    for name in _switches(tracemw.ServerOptions):
        for door in SERVER_DOORS:
            with pytest.raises(TypeError, match=f"{name} takes True or False, not {value!r}"):
                _make_server_door(door, **{name: value})
    for name in _switches(tracemw.ClientOptions):
        for make in (make for makes in CLIENT_DOORS.values() for make in makes):
            with pytest.raises(TypeError, match=f"{name} takes True or False, not {value!r}"):
                make(**{name: value})


@pytest.mark.parametrize(
    ("door", "application"),
    [
        (asgi.TraceMiddleware, flask.Flask("shop")),
        (starlette.TraceMiddleware, flask.Flask("shop")),
        (asgi.TraceMiddleware, flask.Flask("shop").wsgi_app),
        (wsgi.TraceMiddleware, Starlette()),
        (asgi.TraceMiddleware, None),
        (wsgi.TraceMiddleware, "shop:app"),
    ],
)
def test_a_door_refuses_an_application_of_another_kind_and_says_which_it_takes(door: Any, application: Any) -> None:
    with pytest.raises(TypeError, match=r"TraceMiddleware takes an? (ASGI|WSGI) application"):
        door(application)


def test_a_door_takes_whatever_can_be_called_as_its_applications_are() -> None:
    class Static:
        @staticmethod
        async def __call__(scope: Any, receive: Any, send: Any) -> None:
            pass

    class Unshowable:
        def __repr__(self) -> str:
            raise ValueError("no")

    asgi.TraceMiddleware(Static())
    with pytest.raises(TypeError, match="takes a WSGI application"):
        wsgi.TraceMiddleware(Static())  # type: ignore[arg-type]  # on purpose
    with pytest.raises(TypeError, match="takes an ASGI application"):
        asgi.TraceMiddleware(Unshowable())  # type: ignore[arg-type]  # on purpose
