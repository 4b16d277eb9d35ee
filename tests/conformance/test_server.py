"""What every server door must do, whichever protocol and framework is behind it.

The requests are made in this process, or through a server in a thread of it where time matters; `test_server_processes`
has those for which the server itself matters.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

import calls
import tracemw
from conformance import service as served
from conformance.server_doors import DOORS, Answer, ASGIDoor, Door, Headers, WSGIDoor
from conformance.service import Boom, Service
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Meters, Recorded
from servers import wait_until

BOOM = "conformance.service.Boom"
BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
LATIN = "\xff\xfe"
"""Bytes that are no UTF-8, as the latin-1 string that headers are."""


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, recorded: Recorded) -> Door:
    return DOORS[request.param]()


@pytest.fixture
def service() -> Service:
    return Service()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def exceptions(span: ReadableSpan) -> list[str]:
    return [str((event.attributes or {})["exception.type"]) for event in span.events if event.name == "exception"]


def seconds(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e9


def children(recorded: Recorded) -> list[ReadableSpan]:
    return [span for span in recorded.all if span.name.startswith("child")]


def untouched(door: Door, traced: Any, service: Service, recorded: Recorded, path: str, **asked: Any) -> Answer:
    """Ask a traced application, and assert that its answer is what it would be without the door."""
    plain = door.ask(door.application(service), path, **asked)
    recorded.clear()  # FastAPI has a telemetry of its own when there is no door
    answer = door.ask(traced, path, **asked)
    assert answer.without("x-trace-id") == plain.without("x-trace-id")
    return answer


# The span.


def test_a_request_is_one_server_span_that_continues_the_callers_trace(
    door: Door, service: Service, recorded: Recorded
) -> None:
    answer = door.ask(door.traced(service), headers=[("traceparent", TRACEPARENT)])
    span = recorded.server
    assert (answer.status, answer.body) == (200, TRACE_ID.encode())
    assert answer.header("x-trace-id") == [TRACE_ID]
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == (int(TRACE_ID, 16), int(PARENT_ID, 16))
    assert span.parent.is_remote
    assert span.status.status_code is StatusCode.UNSET
    assert recorded.all == [span]


def test_a_sampler_sees_what_is_known_of_the_request(door: Door, service: Service) -> None:
    seen: list[dict[str, Any]] = []

    class Watching(type(ALWAYS_OFF)):  # type: ignore[misc]  # the sampler's class has no public name
        def should_sample(self, *args: Any, **kwargs: Any) -> Any:
            given = kwargs.get("attributes", args[4] if len(args) > 4 else None)
            seen.append(dict(given or {}))
            return super().should_sample(*args, **kwargs)

    provider = TracerProvider(sampler=Watching(ALWAYS_OFF._decision), shutdown_on_exit=False)
    app = door.traced(service, tracer_provider=provider, capture_request_headers=["x-team"])
    door.ask(app, query=b"sig=s&q=1", headers=[("user-agent", "probe/1"), ("x-team", "shop")])
    assert seen == [
        {
            "http.request.method": "GET",
            "url.path": "/ok",
            "url.scheme": "http",
            "url.query": "sig=REDACTED&q=1",
            "server.address": "shop.example",
            "server.port": 80,
            "client.address": "192.0.2.7",
            "network.peer.address": "192.0.2.7",
            "network.peer.port": 40000,
            "user_agent.original": "probe/1",
            "network.protocol.version": "1.1",
            "http.request.header.x-team": ("shop",),
        }
    ]


@pytest.mark.parametrize(
    ("path", "template"),
    [("/order/7", "/order/{number}"), ("/shops/a/items/b", "/shops/{shop}/items/{item}")],
)
@pytest.mark.parametrize("root", ["", "/root"])
def test_the_route_is_the_whole_template_with_the_applications_root(
    door: Door, service: Service, recorded: Recorded, path: str, template: str, root: str
) -> None:
    door.needs("route")
    assert door.ask(door.traced(service), path, root=root).status == 200
    route = root + door.template(template)
    assert recorded.server.name == f"GET {route}"
    assert attributes(recorded.server)["http.route"] == route


def test_the_path_never_stands_in_for_a_route(door: Door, service: Service, recorded: Recorded) -> None:
    assert door.ask(door.traced(service), "/no/such/7").status == 404
    assert recorded.server.name == "GET"
    assert "http.route" not in attributes(recorded.server)
    assert recorded.server.status.status_code is StatusCode.UNSET


def test_an_unknown_method_is_other(door: Door, service: Service, recorded: Recorded) -> None:
    door.ask(door.traced(service), "/no/such", method="BREW")
    assert recorded.server.name == "HTTP"
    assert attributes(recorded.server)["http.request.method"] == "_OTHER"
    assert attributes(recorded.server)["http.request.method_original"] == "BREW"


def test_the_url_path_holds_the_mount_point_and_is_decoded_once(
    door: Door, service: Service, recorded: Recorded
) -> None:
    answer = door.ask(door.traced(service), "/shops/caf\u00e9/items/100%25", root="/root")
    assert answer.body.decode() == repr(["100%25", "caf\u00e9"])
    assert attributes(recorded.server)["url.path"] == "/root/shops/caf\u00e9/items/100%25"


@pytest.mark.parametrize("code", [200, 302, 404, 500, 503])
def test_only_a_status_from_500_on_is_an_error_and_its_type(
    door: Door, service: Service, recorded: Recorded, code: int
) -> None:
    assert door.ask(door.traced(service), f"/status/{code}").status == code
    span = recorded.server
    assert attributes(span)["http.response.status_code"] == code
    assert attributes(span).get("error.type") == (str(code) if code >= 500 else None)
    assert span.status.status_code is (StatusCode.ERROR if code >= 500 else StatusCode.UNSET)
    assert span.status.description is None
    assert exceptions(span) == []


def test_an_exception_that_escapes_is_recorded_once(door: Door, service: Service, recorded: Recorded) -> None:
    answer = door.ask(door.traced(service), "/boom")
    span = recorded.server
    assert answer.status == door.status_of_a_crash  # where the framework leaves it to servers, theirs is a 500, too
    assert attributes(span)["http.response.status_code"] == 500
    assert attributes(span)["error.type"] == "500"
    assert span.status.status_code is StatusCode.ERROR
    assert exceptions(span) == [BOOM]


def test_the_servers_context_is_afterwards_what_it_was(door: Door, service: Service) -> None:
    app = door.traced(service)
    paths = ("/ok", "/boom", "/broken-stream", "/stream/2", "/afterwards", "/health", "/file")
    assert [path for path in paths if not door.ask(app, path).context_kept] == []


def test_spans_of_the_application_are_children_of_the_servers(door: Door, service: Service, recorded: Recorded) -> None:
    door.ask(door.traced(service), "/child")
    ours, theirs = (recorded.named(f"child.{whose}") for whose in ("ours", "theirs"))
    assert ours.parent == recorded.server.context
    assert theirs.parent == ours.context


def test_work_after_the_last_byte_is_not_in_the_spans_time_but_in_its_trace(
    door: Door, service: Service, recorded: Recorded
) -> None:
    door.ask(door.traced(service), "/afterwards")
    work = recorded.named("child.afterwards")
    assert work.parent == recorded.server.context
    assert (recorded.server.end_time or 0) <= (work.start_time or 0)


def test_a_file_that_the_server_sends_itself_arrives_and_ends_the_span(
    door: Door, service: Service, recorded: Recorded
) -> None:
    answer = door.ask(door.traced(service), "/file")
    assert answer.body == Path(served.__file__).read_bytes()
    assert attributes(recorded.server)["http.response.status_code"] == 200
    assert recorded.server.status.status_code is StatusCode.UNSET


# Headers.


def test_a_header_of_the_applications_own_is_never_overwritten(door: Door, service: Service) -> None:
    assert door.ask(door.traced(service), "/own-header").header("x-trace-id") == ["mine"]


def test_the_response_is_otherwise_the_applications_own(door: Door, service: Service, recorded: Recorded) -> None:
    traced = door.traced(service)
    for path in (
        "/order/7",
        "/status/404",
        "/status/503",
        "/kinds",
        "/stream/2",
        "/boom",
        "/broken-stream",
        "/no/such",
    ):
        untouched(door, traced, service, recorded, path)


def test_captured_headers_are_lists_under_lower_case_names(door: Door, service: Service, recorded: Recorded) -> None:
    app = door.traced(service, capture_request_headers=["X-Team"], capture_response_headers=["X-Kind"])
    door.ask(app, "/kinds", headers=[("X-Team", "shop"), ("X-Other", "secret")])
    captured = {key: value for key, value in attributes(recorded.server).items() if ".header." in key}
    assert captured == {"http.request.header.x-team": ("shop",), "http.response.header.x-kind": ("a", "b")}


@pytest.mark.parametrize(
    "value",
    [
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "\xff",
        "",
    ],
)
def test_an_invalid_traceparent_starts_a_new_trace(
    door: Door, service: Service, recorded: Recorded, value: str
) -> None:
    assert door.ask(door.traced(service), headers=[("traceparent", value)]).status == 200
    assert recorded.server.parent is None


def test_two_traceparents_start_a_new_trace(door: Door, service: Service, recorded: Recorded) -> None:
    door.ask(door.traced(service), headers=[("traceparent", TRACEPARENT)] * 2)
    assert recorded.server.parent is None


def test_a_higher_version_is_read_by_its_first_four_fields(door: Door, service: Service, recorded: Recorded) -> None:
    door.ask(door.traced(service), headers=[("traceparent", f"cc{TRACEPARENT[2:]}-what-else")])
    assert recorded.server.context.trace_id == int(TRACE_ID, 16)


def test_several_tracestate_and_baggage_headers_are_joined_in_their_order(
    door: Door, service: Service, recorded: Recorded
) -> None:
    headers: Headers = [
        ("traceparent", TRACEPARENT),
        ("tracestate", "a=1,b=2"),
        ("tracestate", "c=3,a=4"),
        ("baggage", "tenant=acme"),
        ("baggage", "tier=gold"),
    ]
    answer = door.ask(door.traced(service), "/baggage", headers=headers)
    assert answer.body == b"{'tenant': 'acme', 'tier': 'gold'}"
    assert recorded.server.context.trace_state.to_header() == "a=1,b=2,c=3"


def test_at_a_public_edge_a_new_trace_starts_linked_to_the_callers_and_baggage_is_dropped(
    door: Door, service: Service, recorded: Recorded
) -> None:
    headers = [("traceparent", TRACEPARENT), ("baggage", "tenant=evil")]
    answer = door.ask(door.traced(service, trust_inbound=False), "/baggage", headers=headers)
    assert answer.body == b"{}"
    span = recorded.server
    assert span.parent is None
    assert span.context.trace_id != int(TRACE_ID, 16)
    (link,) = span.links
    assert (link.context.trace_id, link.context.span_id) == (int(TRACE_ID, 16), int(PARENT_ID, 16))


@pytest.mark.parametrize(
    "headers",
    [
        [
            ("forwarded", "for=6.6.6.6, for=203.0.113.7;proto=https;host=outside.example"),
            ("x-forwarded-for", "7.7.7.7"),
        ],
        [
            ("forwarded", "for=7.7.7.7;host=forged.example"),
            ("x-forwarded-for", "6.6.6.6, 203.0.113.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outside.example"),
        ],
    ],
    ids=["forwarded", "x-forwarded"],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_only_trusted_proxies_tell_of_the_original_request(
    door: Door, service: Service, recorded: Recorded, headers: Headers, trusted: bool
) -> None:
    written = "forwarded" if headers[1][1] == "7.7.7.7" else "x-forwarded-for"
    options: Any = {"trusted_proxies": ["192.0.2.0/24"] if trusted else (), "proxy_header": written}
    door.ask(door.traced(service, **options), headers=headers)
    names = ("client.address", "network.peer.address", "url.scheme", "server.address", "server.port")
    told = tuple(attributes(recorded.server)[name] for name in names)
    if trusted:
        assert told == ("203.0.113.7", "192.0.2.7", "https", "outside.example", 443)
    else:
        assert told == ("192.0.2.7", "192.0.2.7", "http", "shop.example", 80)


# 1 to 3: whatever comes, the response is the application's own.


@pytest.mark.parametrize(
    ("path", "query", "headers"),
    [
        ("/echo", b"q=\xff", []),
        ("/echo", b"q=%ff%", []),
        ("/echo", b"", [("x-name", LATIN), ("user-agent", LATIN)]),
        ("/echo", b"\\", [("x-name", "trailing\\"), ("forwarded", 'for="\\')]),
        ("/echo", b"", [("baggage", f"a={LATIN},=,;"), ("tracestate", LATIN), ("traceparent", LATIN)]),
        ("/echo", b"", [("x-forwarded-for", LATIN), ("x-forwarded-host", "["), ("x-team", LATIN)]),
        ("/order/\udcff", b"", []),
        ("/order/a\\", b"", []),
    ],
)
def test_bytes_that_are_no_utf_8_leave_the_response_untouched(
    door: Door, service: Service, recorded: Recorded, path: str, query: bytes, headers: Headers
) -> None:
    if not query.isascii():
        door.needs("raw query")
    traced = door.traced(service, trusted_proxies="*", capture_request_headers=["x-team", "x-name"])
    if "\udcff" in path and isinstance(door, ASGIDoor):
        path = path.replace("\udcff", "\ufffd")  # ASGI: path is a Unicode string, which the server has decoded
    assert untouched(door, traced, service, recorded, path, query=query, headers=headers).error is None
    assert recorded.server.kind is SpanKind.SERVER


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"host": "[::1]:8080"}, {"server.address": "::1", "server.port": 8080}),
        ({"host": "shop.example:9000"}, {"server.address": "shop.example", "server.port": 9000}),
        ({"host": None}, {"server.address": "127.0.0.1", "server.port": 8000}),
        ({"server": None}, {"server.address": "shop.example", "server.port": 80}),
        ({"server": None, "host": "["}, {"server.address": None}),
        ({"server": ("/run/shop.sock", None), "host": None}, {"server.address": "/run/shop.sock"}),
        ({"client": None}, {"client.address": None, "network.peer.address": None, "network.peer.port": None}),
    ],
    ids=["ipv6", "port", "no-host", "no-server", "no-address", "unix", "no-client"],
)
def test_missing_and_odd_addresses_leave_the_response_untouched(
    door: Door, service: Service, recorded: Recorded, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    untouched(door, door.traced(service), service, recorded, "/order/7", **asked)
    assert {name: attributes(recorded.server).get(name) for name in expected} == expected


def test_a_port_that_is_no_number_is_left_out(door: Door, service: Service, recorded: Recorded) -> None:
    door.needs("garbage port")
    assert door.ask(door.traced(service), "/order/7", server=("127.0.0.1", "80x"), host=None).error is None
    assert attributes(recorded.server)["server.address"] == "127.0.0.1"


def raising(*args: Any) -> Any:
    raise OSError("no luck today")


@pytest.mark.parametrize("option", ["skip", "span_name", "on_request", "on_response"])
def test_a_hook_that_raises_leaves_the_response_untouched(
    door: Door, service: Service, recorded: Recorded, option: str
) -> None:
    untouched(door, door.traced(service, **{option: raising}), service, recorded, "/order/7")
    assert attributes(recorded.server)["http.response.status_code"] == 200


class NoTracer(NoOpTracerProvider):
    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        raise OSError("no tracer today")


class NoSpan(NoOpTracerProvider):
    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        return type("Tracer", (), {"start_span": raising})()


@pytest.mark.parametrize("provider", [NoTracer, NoSpan])
def test_a_provider_that_raises_leaves_the_response_untouched(
    door: Door,
    service: Service,
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    provider: type[NoOpTracerProvider],
) -> None:
    monkeypatch.setattr("tracemw._otel.guard.reraise_own_faults", False)
    answer = untouched(door, door.traced(service, tracer_provider=provider()), service, recorded, "/order/7")
    assert answer.header("x-trace-id") == []


# 4 to 7: which span belongs to which request.


def test_requests_beside_each_other_never_mix_size_status_or_route(
    door: Door, recorded: Recorded, meters: Meters
) -> None:
    codes = [200, 201, 202, 404, 410, 500, 503, 504]
    service = Service(together=len(codes))
    with door.serving(door.traced(service, meter_provider=meters.provider)) as url:

        def ask(code: int) -> tuple[int, int, str]:
            headers = {"traceparent": f"00-{code:032x}-{code:016x}-01"}
            answer = httpx.get(f"{url}/meet/{code}", headers=headers)
            return answer.status_code, len(answer.content), answer.headers["x-trace-id"]

        with ThreadPoolExecutor(len(codes)) as pool:
            assert list(pool.map(ask, codes)) == [(code, code, f"{code:032x}") for code in codes]
        wait_until(lambda: len(recorded.of_kind(SpanKind.SERVER)) == len(codes))
    spans = {span.context.trace_id: span for span in recorded.of_kind(SpanKind.SERVER)}
    for code in codes:
        assert attributes(spans[code])["http.response.status_code"] == code
        assert attributes(spans[code])["url.path"] == f"/meet/{code}"
        assert attributes(spans[code]).get("error.type") == (str(code) if code >= 500 else None)
        assert recorded.named(f"meet.{code}").parent == spans[code].context
    points = meters.points("http.server.request.duration")
    assert sorted(point.attributes["http.response.status_code"] for point in points) == codes
    assert {point.count for point in points} == {1}


def test_an_active_local_span_is_not_the_parent(door: Door, service: Service, recorded: Recorded) -> None:
    app = door.traced(service)
    with tracemw.span("the server's own"):
        door.ask(app, headers=[("traceparent", TRACEPARENT)])
        assert recorded.server.parent is not None
        assert recorded.server.parent.span_id == int(PARENT_ID, 16)
        recorded.clear()
        door.ask(app)
        assert recorded.server.parent is None


def test_installed_twice_there_is_one_span(door: Door, service: Service, recorded: Recorded, meters: Meters) -> None:
    app = door.install(door.traced(service, meter_provider=meters.provider), meter_provider=meters.provider)
    assert door.ask(app, "/order/7").status == 200
    assert recorded.all == [recorded.server]
    (point,) = meters.points("http.server.request.duration")
    assert point.count == 1


def test_wrapped_from_outside_as_well_there_is_one_span_with_its_route(
    door: Door, service: Service, recorded: Recorded, meters: Meters
) -> None:
    app = door.wrap(door.traced(service, meter_provider=meters.provider), meter_provider=meters.provider)
    assert door.ask(app, "/order/7").status == 200
    assert recorded.all == [recorded.server]
    if "route" not in door.lacks:
        assert recorded.server.name == f"GET {door.template('/order/{number}')}"
    (point,) = meters.points("http.server.request.duration")
    assert point.count == 1


def test_a_traced_application_mounted_in_a_traced_one_has_one_span(
    door: Door, service: Service, recorded: Recorded, meters: Meters
) -> None:
    inner = door.traced(service, meter_provider=meters.provider)
    app = door.install(door.mounting("/inner", inner), meter_provider=meters.provider)
    assert door.ask(app, "/inner/order/7").body == b"['7']"
    assert recorded.all == [recorded.server]
    assert attributes(recorded.server)["url.path"] == "/inner/order/7"
    (point,) = meters.points("http.server.request.duration")
    assert point.count == 1


def test_a_mounted_applications_route_begins_with_its_mount(door: Door, service: Service, recorded: Recorded) -> None:
    door.needs("route")
    app = door.install(door.mounting("/inner", door.traced(service)))
    door.ask(app, "/inner/order/7")
    assert attributes(recorded.server)["http.route"] == "/inner" + door.template("/order/{number}")


@pytest.fixture
def library() -> tuple[TracerProvider, InMemorySpanExporter]:
    """The stock provider of an instrumented library, which asks a span's parent whether it is sampled."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def test_a_skipped_path_has_no_span_no_metric_and_no_orphans(
    door: Door, recorded: Recorded, meters: Meters, library: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    app = door.traced(Service(library=library[0]), meter_provider=meters.provider)
    answer = door.ask(app, "/health", headers=[("traceparent", TRACEPARENT)])
    assert (answer.status, answer.body, answer.header("x-trace-id")) == (200, b"ok", [])
    assert recorded.all == []
    assert library[1].get_finished_spans() == ()
    assert meters.points("http.server.request.duration") == []
    assert meters.points("http.server.active_requests") == []


@pytest.mark.parametrize(
    "skip", ["/order/7", "/order/*", lambda facts: facts.method == "GET"], ids=["path", "glob", "predicate"]
)
def test_a_path_a_glob_or_a_predicate_is_skipped(door: Door, service: Service, recorded: Recorded, skip: Any) -> None:
    assert door.ask(door.traced(service, skip=skip), "/order/7").status == 200
    assert recorded.all == []


# 8 and 9: streams.


def active(meters: Meters) -> int:
    return sum(point.value for point in meters.points("http.server.active_requests"))


def test_a_stream_lasts_until_its_last_byte(door: Door, service: Service, recorded: Recorded, meters: Meters) -> None:
    with door.serving(door.traced(service, meter_provider=meters.provider)) as url:
        with httpx.stream("GET", f"{url}/gated") as response:
            chunks = response.iter_raw()
            assert next(chunks) == b"first"
            time.sleep(0.1)
            assert recorded.all == []
            assert active(meters) == 1
            assert meters.points("http.server.request.duration") == []
            service.gate.set()
            assert b"".join(chunks) == b"last"
        wait_until(lambda: active(meters) == 0 and recorded.of_kind(SpanKind.SERVER))
    span = recorded.server
    assert recorded.named("child.streamed").parent == span.context
    (point,) = meters.points("http.server.request.duration")
    assert point.sum == pytest.approx(seconds(span))
    assert seconds(span) > 0.1


def test_an_error_after_the_headers_leaves_the_status(
    door: Door, service: Service, recorded: Recorded, meters: Meters
) -> None:
    answer = door.ask(door.traced(service, meter_provider=meters.provider), "/broken-stream")
    assert isinstance(answer.error, Boom | RuntimeError | ExceptionGroup)
    assert (answer.status, answer.body) == (200, b"first")
    span = recorded.server
    assert attributes(span)["http.response.status_code"] == 200
    assert attributes(span)["error.type"] == BOOM
    assert span.status.status_code is StatusCode.ERROR
    assert exceptions(span) == [BOOM]
    (point,) = meters.points("http.server.request.duration")
    assert (point.attributes["http.response.status_code"], point.attributes["error.type"]) == (200, BOOM)
    assert active(meters) == 0


def test_an_error_page_followed_by_its_exception_has_both_once(door: Door, recorded: Recorded) -> None:
    answer = door.ask(door.install(door.around(door.failing_page(Boom("boom")))))
    assert (answer.status, answer.body) == (500, b"page")
    assert isinstance(answer.error, Boom)
    assert attributes(recorded.server)["http.response.status_code"] == 500
    assert attributes(recorded.server)["error.type"] == "500"
    assert exceptions(recorded.server) == [BOOM]


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "foreign"])
@pytest.mark.parametrize("path", ["/boom", "/broken-stream", "a page of its own"])
def test_an_exception_is_never_later_than_the_end_of_the_span(
    door: Door, service: Service, recorded: Recorded, path: str, foreign: bool
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    options = {"tracer_provider": provider} if foreign else {}
    if path.startswith("/"):
        door.ask(door.traced(service, **options), path)
    else:
        door.ask(door.install(door.around(door.failing_page(Boom("boom"))), **options))
    spans = exporter.get_finished_spans() if foreign else recorded.all
    (span,) = [each for each in spans if each.kind is SpanKind.SERVER]
    (event,) = span.events
    assert event.name == "exception"
    assert (span.start_time or 0) <= event.timestamp <= (span.end_time or 0)


def test_an_application_that_returns_without_a_response_is_an_error(door: Door, recorded: Recorded) -> None:
    assert door.ask(door.install(door.around(door.silent()))).status is None
    assert recorded.server.status.status_code is StatusCode.ERROR
    assert attributes(recorded.server)["error.type"] == "incomplete_response"
    # ASGI servers answer with a 500; of WSGI servers, each does something else.
    assert attributes(recorded.server).get("http.response.status_code") == (500 if isinstance(door, ASGIDoor) else None)


def test_a_stream_whose_client_hangs_up_is_measured_until_then(
    door: Door, service: Service, recorded: Recorded, meters: Meters
) -> None:
    with door.serving(door.traced(service, meter_provider=meters.provider)) as url:
        with httpx.stream("GET", f"{url}/endless") as response:
            chunks = response.iter_raw()  # kept: httpx hangs up when it is let go of
            assert next(chunks)
            assert active(meters) == 1
        wait_until(lambda: active(meters) == 0 and recorded.of_kind(SpanKind.SERVER))
    (point,) = meters.points("http.server.request.duration")
    assert point.sum == pytest.approx(seconds(recorded.server))
    assert point.attributes["http.response.status_code"] == 200
    assert "error.type" not in point.attributes


# 10: metrics.


@pytest.mark.parametrize("path", ["/order/7", "/status/404", "/status/503", "/boom"])
@pytest.mark.parametrize(
    "provider",
    [None, TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False), NoOpTracerProvider()],
    ids=["sampled", "unsampled", "no-tracing"],
)
def test_metrics_are_right_route_and_status_included_whether_the_trace_is_sampled_or_not(
    door: Door, service: Service, recorded: Recorded, meters: Meters, path: str, provider: Any
) -> None:
    answer = door.ask(door.traced(service, meter_provider=meters.provider, tracer_provider=provider), path)
    (point,) = meters.points("http.server.request.duration")
    expected: dict[str, Any] = {
        "http.request.method": "GET",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
    }
    expected["http.response.status_code"] = 500 if answer.status is None else answer.status
    if expected["http.response.status_code"] >= 500:
        expected["error.type"] = str(expected["http.response.status_code"])
    if "route" not in door.lacks:
        template = {"/order/7": "/order/{number}", "/boom": "/boom"}.get(path, "/status/{code}")
        expected["http.route"] = door.template(template)
    assert dict(point.attributes) == expected
    assert point.count == 1
    assert list(point.explicit_bounds) == BOUNDARIES
    assert active(meters) == 0
    if provider is None:
        span = attributes(recorded.server)
        assert point.sum == pytest.approx(seconds(recorded.server))
        assert {name: span.get(name) for name in expected} == expected


def test_the_duration_is_recorded_while_the_span_is_current(
    door: Door, service: Service, recorded: Recorded, meters: Meters
) -> None:
    door.ask(door.traced(service, meter_provider=meters.provider))
    (point,) = meters.points("http.server.request.duration")
    (exemplar,) = point.exemplars
    assert (exemplar.trace_id, exemplar.span_id) == (
        recorded.server.context.trace_id,
        recorded.server.context.span_id,
    )


# 11: requests on one connection.


@pytest.mark.parametrize("path", ["/child", "/health"])
@pytest.mark.parametrize("sdk", [False, True], ids=["traced", "untraced"])
def test_the_context_of_a_request_that_is_over_counts_for_nothing(
    door: Door, recorded: Recorded, path: str, *, sdk: bool
) -> None:
    service = Service()
    options: Any = {"tracer_provider": NoOpTracerProvider()} if sdk else {}
    app = door.traced(service, **options)
    door.ask(app, path, headers=[("baggage", "tenant=A"), ("traceparent", TRACEPARENT)])
    assert service.context is not None
    recorded.clear()
    token = otel_context.attach(service.context)  # as a server's event loop does that has kept it
    try:
        answers = [door.ask(app, "/baggage"), door.ask(app, "/baggage", headers=[("baggage", "tier=gold")])]
        assert door.ask(app, "/ok").body != TRACE_ID.encode()
    finally:
        otel_context.detach(token)
    assert [answer.body for answer in answers] == [b"{}", b"{'tier': 'gold'}"]
    assert [span.parent for span in recorded.of_kind(SpanKind.SERVER)] == ([] if sdk else [None] * 3)


def test_what_a_server_has_put_into_the_context_on_purpose_stays(door: Door, service: Service) -> None:
    key = otel_context.create_key("a server's own")
    token = otel_context.attach(baggage.set_baggage("region", "eu", otel_context.set_value(key, "there")))
    try:
        app = door.traced(service)
        assert door.ask(app, "/baggage", headers=[("baggage", "tenant=A")]).body == b"{'region': 'eu', 'tenant': 'A'}"
        door.ask(app, "/child")
    finally:
        otel_context.detach(token)
    assert service.context is not None
    assert service.context[key] == "there"


@pytest.mark.parametrize("ended", [True, False])
def test_only_a_span_of_others_that_has_not_ended_is_that_of_the_request(
    door: Door, service: Service, recorded: Recorded, *, ended: bool
) -> None:
    tracer = trace.get_tracer("another instrumentation")
    span = tracer.start_span("theirs", kind=SpanKind.SERVER)
    if ended:
        span.end()
    context = baggage.set_baggage("tenant", "A", trace.set_span_in_context(span))
    token = otel_context.attach(context)
    try:
        answer = door.ask(door.traced(service), "/baggage")
    finally:
        otel_context.detach(token)
    span_count = len(recorded.of_kind(SpanKind.SERVER))
    assert (answer.body, span_count) == ((b"{}", 2) if ended else (b"{'tenant': 'A'}", 0))


# 12 and 15: the status that the client got, and responses that nobody closes.


def test_an_exception_before_the_first_byte_takes_back_the_status(
    door: Door, recorded: Recorded, meters: Meters
) -> None:
    def early(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        raise Boom("boom")

    def generated(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield from map(raising, [None])

    bare = wsgi(door, "iterable")
    for app in (early, generated):
        recorded.clear()
        answer = bare.ask(bare.install(bare.around(app), meter_provider=meters.provider))
        assert isinstance(answer.error, Boom | OSError)
        assert attributes(recorded.server)["http.response.status_code"] == 500
        assert exceptions(recorded.server) == [BOOM if isinstance(answer.error, Boom) else "OSError"]
    (point,) = meters.points("http.server.request.duration")
    assert (point.attributes["http.response.status_code"], point.attributes["error.type"]) == (500, "500")


def test_a_body_that_is_never_closed_ends_with_its_last_byte(
    door: Door, service: Service, recorded: Recorded, meters: Meters
) -> None:
    bare = wsgi(door, "iterable")

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "4")])
        yield b"ab"
        yield b"cd"

    body = bare.install(bare.around(app), meter_provider=meters.provider)(
        bare.environ(), calls.WSGIServer().start_response
    )
    chunks = iter(body)
    assert next(chunks) == b"ab"
    assert recorded.all == []
    assert next(chunks) == b"cd"
    assert recorded.server.status.status_code is StatusCode.UNSET
    assert active(meters) == 0
    body.close()
    assert len(recorded.all) == 1


@pytest.mark.parametrize("path", ["/stream/2", "/order/7", "/status/204"])
@pytest.mark.parametrize("parts", [0, 1])
def test_a_body_that_is_let_go_of_ends_at_the_time_of_its_latest_byte(
    door: Door, service: Service, recorded: Recorded, meters: Meters, path: str, parts: int
) -> None:
    bare = wsgi(door, "iterable")
    gc.collect()
    app = bare.traced(service, meter_provider=meters.provider)
    body = app(bare.environ(path), calls.WSGIServer().start_response)
    for _ in range(parts):
        next(iter(body), None)
    read = time.time_ns()
    del body
    gc.collect()
    assert recorded.server.status.status_code is StatusCode.UNSET
    assert attributes(recorded.server)["http.response.status_code"] in (200, 204)
    assert parts == 0 or (recorded.server.end_time or 0) <= read
    assert active(meters) == 0


# 16: mounted under a prefix.


@pytest.mark.parametrize(
    ("skip", "path", "is_skipped"),
    [
        ((), "/health", True),
        ("/order/7", "/order/7", True),
        ("/api/order/7", "/order/7", True),
        ("/order/*", "/order/7", True),
        ("/api/*", "/order/7", True),
        ("/api/order", "/order/7", False),
        ("/apiorder/7", "/order/7", False),
        (None, "/health", False),
    ],
)
@pytest.mark.parametrize("root", ["/api", "/api/"])
def test_a_path_is_skipped_with_and_without_the_mount_point(
    door: Door, service: Service, recorded: Recorded, skip: Any, path: str, root: str, *, is_skipped: bool
) -> None:
    if root.endswith("/"):
        path = path.removeprefix("/")
    door.ask(door.traced(service, skip=skip), path, root=root)
    assert (recorded.of_kind(SpanKind.SERVER) == []) is is_skipped


def test_a_path_is_skipped_in_a_mounted_application(door: Door, service: Service, recorded: Recorded) -> None:
    app = door.mounting("/inner", door.traced(service))
    assert door.ask(app, "/inner/health").status == 200
    ours = [span for span in recorded.all if getattr(span.instrumentation_scope, "name", "") == "tracemw"]
    assert ours == []


# ASGI.


@pytest.mark.parametrize("kind", ["http", "lifespan", "telnet"])
def test_what_the_application_returns_is_what_the_server_gets(door: Door, recorded: Recorded, kind: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] == "http":
            await send(START)
            await send({"type": "http.response.body"})
        return "returned"

    bare = asgi(door, "scopes")
    scope: Any = {**calls.http_scope("/"), "type": kind}

    async def channel(*_: Any) -> Any:
        return {"type": "http.request"}

    for path in ("/", "/health"):
        traced: Any = bare.install(bare.install(app))
        assert asyncio.run(traced({**scope, "path": path}, channel, channel)) == "returned"


def test_a_scope_that_lacks_keys_is_the_applications_to_judge(
    door: Door, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body"})

    bare = asgi(door, "scopes")
    whole = calls.http_scope("/")
    for missing in (*whole, None):
        scope = {"type": "http"} if missing is None else {key: whole[key] for key in whole if key != missing}
        asyncio.run(bare.ask_scope(bare.install(bare.around(app)), scope))
    assert len(recorded.of_kind(SpanKind.SERVER)) == len(whole)  # but for one without a type
    assert caplog.records == []


def asgi(door: Door, feature: str) -> ASGIDoor:
    door.needs(feature)
    assert isinstance(door, ASGIDoor)
    return door


START = {"type": "http.response.start", "status": 200, "headers": []}


def test_announced_trailers_end_the_span(door: Door, recorded: Recorded) -> None:
    ended: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "trailers": True})
        await send({"type": "http.response.body", "body": b"x"})
        ended.append(len(recorded.all))
        await send({"type": "http.response.trailers", "headers": [], "more_trailers": True})
        ended.append(len(recorded.all))
        await send({"type": "http.response.trailers", "headers": []})
        ended.append(len(recorded.all))

    bare = asgi(door, "trailers")
    assert bare.ask(bare.install(bare.around(app))).status == 200
    assert ended == [0, 0, 1]


def test_an_application_that_returns_after_a_disconnect_is_no_error(door: Door, recorded: Recorded) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        while (await receive())["type"] != "http.disconnect":
            pass

    bare = asgi(door, "disconnect")
    asyncio.run(calls.ask(bare.install(bare.around(app))))
    assert recorded.server.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(recorded.server)


def test_a_cancellation_goes_through_and_leaves_nothing_behind(door: Door, recorded: Recorded, meters: Meters) -> None:
    started = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    bare = asgi(door, "cancellation")
    traced = bare.install(bare.around(app), meter_provider=meters.provider)

    async def cancelled() -> None:
        task = asyncio.create_task(bare.ask_scope(traced, calls.http_scope("/")))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert recorded.server.status.status_code is StatusCode.ERROR
    assert attributes(recorded.server)["error.type"] == "asyncio.exceptions.CancelledError"
    assert active(meters) == 0


def test_scopes_of_other_types_pass_untouched(door: Door, recorded: Recorded) -> None:
    seen: list[Any] = []

    async def app(*args: Any) -> None:
        seen.append(args)

    bare = asgi(door, "scopes")
    given: Any = ({"type": "telnet"}, object(), object())
    asyncio.run(bare.install(app)(*given))
    assert all(got is sent for got, sent in zip(seen[0], given, strict=True))
    assert recorded.all == []


def test_the_lifespan_passes_and_is_no_request(door: Door, service: Service, recorded: Recorded) -> None:
    bare = asgi(door, "lifespan")
    sent: list[str] = []
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(bare.traced(service)({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert recorded.all == []


def test_extensions_and_their_messages_pass_untouched(door: Door, recorded: Recorded) -> None:
    push = {"type": "http.response.push", "path": "/style.css", "headers": []}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["extensions"]["http.response.push"] == {}
        await send(push)
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})

    bare = asgi(door, "extensions")
    scope = calls.http_scope("/", http_version="2", extensions={"http.response.push": {}})
    answer = asyncio.run(bare.ask_scope(bare.install(bare.around(app)), scope))
    assert answer.messages[0] == push
    assert attributes(recorded.server)["network.protocol.version"] == "2"


@pytest.mark.parametrize(
    ("messages", "status", "code"),
    [
        ([{"type": "websocket.accept"}, {"type": "websocket.close", "code": 1001}], 101, 1001),
        ([{"type": "websocket.close"}], 403, None),
        (
            [
                {"type": "websocket.http.response.start", "status": 401, "headers": []},
                {"type": "websocket.http.response.body", "body": b"no"},
            ],
            401,
            None,
        ),
    ],
    ids=["accepted", "closed", "denied"],
)
def test_a_websocket_is_one_span_from_the_handshake_to_the_close_without_a_metric(
    door: Door, recorded: Recorded, meters: Meters, messages: list[Any], status: int, code: int | None
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in messages:
            await send(message)

    bare = asgi(door, "websocket")
    scope = calls.http_scope("/", type="websocket", scheme="ws", subprotocols=[], extensions={})
    scope["extensions"] = {"websocket.http.response": {}}
    traced = bare.install(bare.around(app), meter_provider=meters.provider)
    answer = asyncio.run(bare.ask_scope(traced, scope))
    assert [message["type"] for message in answer.messages] == [message["type"] for message in messages]
    assert attributes(recorded.server)["http.response.status_code"] == status
    assert attributes(recorded.server).get("websocket.close_code") == code
    assert recorded.server.status.status_code is StatusCode.UNSET
    assert meters.points("http.server.request.duration") == []


# WSGI.


def test_an_environ_that_lacks_keys_is_the_applications_to_judge(
    door: Door, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    bare = wsgi(door, "iterable")
    whole = bare.environ()
    for missing in (*whole, None):
        environ = {} if missing is None else {key: whole[key] for key in whole if key != missing}
        assert b"".join(bare.wrap(app)(environ, calls.WSGIServer().start_response)) == b"ok"
    assert len(recorded.of_kind(SpanKind.SERVER)) == len(whole) + 1
    assert caplog.records == []


def wsgi(door: Door, feature: str) -> WSGIDoor:
    door.needs(feature)
    assert isinstance(door, WSGIDoor)
    return door


def test_closing_before_the_first_chunk_closes_the_applications_body_once_and_ends_the_span(
    door: Door, service: Service, recorded: Recorded, meters: Meters
) -> None:
    bare = wsgi(door, "iterable")
    app = bare.traced(service, meter_provider=meters.provider)
    before = otel_context.get_current()
    body = app(bare.environ("/stream/3"), calls.WSGIServer().start_response)
    assert recorded.all == []
    body.close()
    assert service.closed == 1
    assert recorded.server.status.status_code is StatusCode.UNSET
    assert otel_context.get_current() is before
    assert active(meters) == 0


def test_a_body_may_be_iterated_on_any_thread(
    door: Door, service: Service, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    bare = wsgi(door, "threads")
    service.gate.set()
    body = bare.traced(service)(bare.environ("/gated"), calls.WSGIServer().start_response)
    chunks: list[bytes] = []
    steps = iter(body)
    for _ in range(2):
        thread = threading.Thread(target=lambda: chunks.append(next(steps)))
        thread.start()
        thread.join()
    assert next(steps, None) is None
    closing = threading.Thread(target=body.close)
    closing.start()
    closing.join()
    assert chunks == [b"first", b"last"]
    assert service.closed == 1
    assert recorded.named("child.streamed").parent == recorded.server.context
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_body_tells_its_length_if_the_applications_does(door: Door, recorded: Recorded) -> None:
    def sized(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"a", b"b"]

    def unsized(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"

    bare = wsgi(door, "iterable")
    bodies = [
        bare.install(bare.around(app))(bare.environ(), calls.WSGIServer().start_response) for app in (sized, unsized)
    ]
    assert [getattr(body, "__len__", lambda: None)() for body in bodies] == [2, None]
    for body in bodies:
        assert list(body)
        body.close()


def test_a_sized_body_can_be_gone_through_again_by_a_server_that_counts_its_bytes(
    door: Door, recorded: Recorded
) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"a", b"bc"]

    bare = wsgi(door, "iterable")
    traced = bare.install(bare.around(app))
    before, while_it_sends = (traced(bare.environ(), calls.WSGIServer().start_response) for _ in range(2))
    assert sum(map(len, before)) == len(b"".join(before)) == 3  # as eventlet's server does
    assert [(chunk, sum(map(len, while_it_sends))) for chunk in while_it_sends] == [(b"a", 3), (b"bc", 3)]  # gevent's
    for body in (before, while_it_sends):
        body.close()
    assert len(recorded.of_kind(SpanKind.SERVER)) == 2


def test_a_list_is_a_list_to_the_server_and_ends_with_it(door: Door, recorded: Recorded) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"a", b"bc"]

    bare = wsgi(door, "iterable")
    body = bare.install(bare.around(app))(bare.environ(), calls.WSGIServer().start_response)
    assert isinstance(body, list)
    assert b"".join(body) == b"abc"  # as granian does, which declares the length and closes nothing
    del body
    assert (recorded.server.attributes or {})["http.response.status_code"] == 200
    assert recorded.server.status.status_code is StatusCode.UNSET


def test_a_second_start_response_with_exc_info_replaces_the_status(door: Door, recorded: Recorded) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:
            raise Boom("boom")
        except Boom as error:
            start_response("503 Later", [], (Boom, error, error.__traceback__))
        return [b"later"]

    bare = wsgi(door, "restart")
    assert bare.ask(bare.install(bare.around(app))).status == 503
    assert attributes(recorded.server)["http.response.status_code"] == 503
    assert attributes(recorded.server)["error.type"] == "503"


def test_what_is_written_by_the_write_callable_is_sent(door: Door, recorded: Recorded) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(b"one")
        return [b"two"]

    bare = wsgi(door, "write")
    assert bare.ask(bare.install(bare.around(app))).body == b"onetwo"
    assert attributes(recorded.server)["http.response.status_code"] == 200
