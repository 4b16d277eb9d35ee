"""What is kept, and why: failures, what is asked for, and no refusal by another service."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.trace import SpanKind, StatusCode

import calls
import tracemw
import tracemw.asgi
import tracemw.httpx
from conformance.server_doors import Door
from conformance.service import Service
from recording.local_traces import Init, answer, attributes, failing, kept_for, open_children, swallow
from tracemw.sampling import Rule, Sampling


def test_a_failing_request_is_kept_with_all_of_its_local_trace(door: Door, init: Init) -> None:
    running, service = init(), Service()
    service.endpoints["/fail"] = lambda incoming: (service.child(incoming), service.status(incoming))[1]
    service.endpoints["/fail/{code}"] = service.endpoints.pop("/fail")
    traced = door.traced(service)
    for _ in range(3):
        door.ask(traced, "/child")
    door.ask(traced, "/fail/500")
    spans = running.spans
    assert sorted(span.name for span in spans if span.kind != Span.SPAN_KIND_SERVER) == ["child.ours", "child.theirs"]
    assert len(spans) == 3
    assert {kept_for(span) for span in spans} == {"error"}
    assert len({span.trace_id for span in spans}) == 1
    assert {span.trace_state for span in spans} == {""}
    assert running.stats.kept == {"error": 1, "manual": 0, "slow": 0}
    assert running.stats.unsampled == 9
    assert running.holds_nothing()
    assert running.lost == {}


def test_an_exception_that_escapes_is_kept_with_its_event(door: Door, init: Init) -> None:
    running = init()
    door.ask(door.traced(Service()), "/boom")
    (span,) = running.spans
    assert kept_for(span) == "error"
    assert [event.name for event in span.events] == ["exception"]
    assert attributes(span)["error.type"] in ("500", "conformance.service.Boom")
    assert attributes(span)["url.path"] == "/boom"


def test_an_exception_that_is_swallowed_is_not_lost(door: Door, init: Init) -> None:
    running, service = init(), Service()

    def swallowing(incoming: Any) -> Any:
        swallow()
        return service.ok(incoming)

    service.endpoints["/swallow"] = swallowing
    assert door.ask(door.traced(service), "/swallow").status == 200
    spans = running.spans
    assert len(spans) == 2
    assert {kept_for(span) for span in spans} == {"error"}
    server = next(span for span in spans if span.kind == Span.SPAN_KIND_SERVER)
    assert server.status.code == 0
    assert attributes(server)["http.response.status_code"] == 200


def test_a_stream_that_breaks_is_kept(door: Door, init: Init) -> None:
    running = init()
    door.ask(door.traced(Service()), "/broken-stream")
    assert [kept_for(span) for span in running.spans] == ["error"]


@pytest.mark.parametrize("code", [200, 302, 404, 422, 429])
def test_a_request_that_does_not_fail_is_dropped(door: Door, init: Init, code: int) -> None:
    running = init()
    door.ask(door.traced(Service()), f"/status/{code}")
    assert running.spans == []
    assert running.stats.unsampled == 1


def test_a_request_is_kept_when_the_application_asks_for_it(door: Door, init: Init) -> None:
    running, service = init(), Service()

    def wanted(incoming: Any) -> Any:
        with tracemw.span("refund"):
            tracemw.keep("refund over limit")
        return service.child(incoming)

    service.endpoints["/wanted"] = wanted
    door.ask(door.traced(service), "/wanted")
    spans = {span.name: span for span in running.spans}
    assert len(spans) == 4
    assert {kept_for(span) for span in spans.values()} == {"manual"}
    assert [name for name, span in spans.items() if "tracemw.keep.reason" in attributes(span)] == ["refund"]
    assert attributes(spans["refund"])["tracemw.keep.reason"] == "refund over limit"


def test_a_failure_is_the_reason_when_there_are_others(init: Init) -> None:
    running = init(keep_slow=0.0)
    with tracemw.span("job"):
        tracemw.keep("because")
        swallow()
    assert {kept_for(span) for span in running.spans} == {"error"}
    with tracemw.span("other"):
        tracemw.keep("because")
    assert kept_for(running.spans[-1]) == "manual"


def test_a_span_without_a_request_is_a_local_trace_too(init: Init) -> None:
    running = init()
    with tracemw.span("job.fine"), tracemw.span("step"):
        pass
    with pytest.raises(ValueError, match="no"), tracemw.span("job.failed"), tracemw.span("step"):
        raise ValueError("no")
    assert running.names == ["job.failed", "step"]


def test_no_reason_keeps_anything_without_keep_errors(door: Door, init: Init) -> None:
    running, service = init(keep_errors=False, keep_slow=0.0), Service()
    seen: list[bool] = []

    def fail(incoming: Any) -> Any:
        tracemw.keep("in vain")
        seen.append(trace.get_current_span().is_recording())
        swallow()
        return service.boom(incoming)

    service.endpoints["/fail"] = fail
    door.ask(door.traced(service), "/fail")
    assert running.spans == []
    assert seen == [False]
    assert running.stats.unsampled == 2


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
def test_always_off_keeps_nothing(init: Init, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    running = init(None)
    swallow()
    assert running.spans == []


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
def test_a_ratio_of_nothing_keeps_failures(init: Init, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    running = init(None)
    swallow()
    assert [kept_for(span) for span in running.spans] == ["error"]


def test_a_sampled_trace_is_as_it_is_without_the_recorder(init: Init) -> None:
    running = init(rules=(Rule("/sampled", 1.0),))
    app = tracemw.asgi.TraceMiddleware(failing)
    for path in ("/sampled", "/unsampled"):
        asyncio.run(calls.ask(app, path))
    by_path = {attributes(span).get("url.path"): span for span in running.spans}
    assert kept_for(by_path["/sampled"]) is None
    assert by_path["/sampled"].trace_state == "ot=th:0"
    assert kept_for(by_path["/unsampled"]) == "error"
    assert running.stats.kept["error"] == 1
    assert len(running.spans) == 4


@pytest.mark.parametrize(
    ("setting", "error", "remedy"),
    [
        ({"keep_errors": "no"}, TypeError, "keep_errors takes True or False, not 'no'"),
        ({"keep_slow": "5s"}, TypeError, "keep_slow takes a number, not '5s'"),
        ({"keep_slow": True}, TypeError, "keep_slow takes a number, not True"),
        ({"keep_slow": -1}, ValueError, "keep_slow=-1 is not accepted; use a number that is 0 or more"),
        ({"keep_slow": float("inf")}, ValueError, "keep_slow=inf is not accepted"),
        ({"keep_rate": None}, TypeError, "keep_rate takes a number, not None"),
        ({"keep_rate": float("nan")}, ValueError, "keep_rate=nan is not accepted"),
    ],
)
def test_a_setting_that_cannot_be_right_is_an_error(setting: Any, error: type[Exception], remedy: str) -> None:
    with pytest.raises(error, match=remedy):
        Sampling(**setting)


@pytest.mark.parametrize("setting", [{"keep_slow": 1e308}, {"keep_rate": 1e-300}, {"keep_rate": 1e308}])
def test_a_setting_at_the_edge_works(init: Init, setting: dict[str, float]) -> None:
    running = init(**setting)
    swallow()
    assert running.names == ["swallowed"]


# A refusal by another service is no failure by itself.


def call_answered(status: int, *, old: bool = False, error: Exception | None = None) -> None:
    tracer = trace.get_tracer("a client")
    with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes={"a": 1}) as span:
        span.set_attribute("http.status_code" if old else "http.response.status_code", status)
        if error is not None:
            span.record_exception(error)
        span.set_status(StatusCode.ERROR)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("status", "is_kept"), [(400, False), (404, False), (499, False), (500, True), (399, True)])
def test_a_client_span_counts_unless_all_that_failed_was_a_refusal(
    init: Init, status: int, old: bool, is_kept: bool
) -> None:
    running = init()
    with tracemw.span("job"):
        call_answered(status, old=old)
    assert bool(running.spans) is is_kept
    call_answered(status, old=old)
    assert len(running.spans) == (3 if is_kept else 0)


def test_a_refusal_whose_body_breaks_off_is_a_failure(init: Init) -> None:
    running = init()
    with tracemw.span("job"):
        call_answered(404, error=ConnectionResetError())
    assert running.names == ["GET", "job"]


def test_a_refusal_that_the_caller_makes_an_error_of_is_kept_whole(init: Init) -> None:
    running = init()
    transport = tracemw.httpx.TraceTransport(httpx.MockTransport(lambda request: httpx.Response(404)))
    with httpx.Client(transport=transport) as client:
        with tracemw.span("job"):
            client.get("http://stock.example/7")
        assert running.spans == []
        with pytest.raises(httpx.HTTPStatusError), tracemw.span("job"):
            client.get("http://stock.example/7").raise_for_status()
    call = next(span for span in running.spans if span.kind == Span.SPAN_KIND_CLIENT)
    assert running.names == ["GET", "job"]
    assert attributes(call)["url.full"] == "http://stock.example/7"
    assert attributes(call)["http.response.status_code"] == 404


# keep().


def test_keep_finds_the_request_where_the_current_span_does_not_record(init: Init) -> None:
    running = init()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with trace.use_span(trace.INVALID_SPAN):  # as hides what a noisy library does
            tracemw.keep("refund")
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    (span,) = running.spans
    assert kept_for(span) == "manual"
    assert attributes(span)["tracemw.keep.reason"] == "refund"


def test_keep_in_a_skipped_request_keeps_nothing_around_it(init: Init) -> None:
    running = init()

    async def skipped(scope: Any, receive: Any, send: Any) -> None:
        tracemw.keep("in vain")
        await answer(send)

    inner = tracemw.asgi.TraceMiddleware(skipped)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await calls.ask(inner, "/health")  # a request of its own, that the process makes to itself
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    assert running.spans == []


def test_keep_on_a_sampled_trace_records_the_reason_and_no_more(init: Init) -> None:
    running = init(1.0)
    with tracemw.span("job"):
        tracemw.keep("because")
    (span,) = running.spans
    assert attributes(span)["tracemw.keep.reason"] == "because"
    assert kept_for(span) is None


def test_keep_does_nothing_where_no_request_is_open(init: Init) -> None:
    tracemw.keep("before any init")
    running = init()
    tracemw.keep("outside")
    root, _ = open_children()
    root.end()
    with trace.use_span(root):
        tracemw.keep("ended")
    assert running.spans == []
