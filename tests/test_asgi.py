"""The door for plain ASGI applications."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON, Decision, SamplingResult, StaticSampler
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

import tracemw
from calls import Answer, ask, carrying, http_scope
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Meters, Recorded
from servers import uvicorn_serving, wait_until
from tracemw import _recording as recording
from tracemw._otel import guard
from tracemw.asgi import TraceMiddleware
from tracemw.httpx import AsyncTraceTransport

Send = Callable[[Any], Awaitable[None]]


async def start(send: Send, status: int = 200, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def body(send: Send, data: bytes = b"", *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def ok(scope: Any, receive: Any, send: Send) -> None:
    await start(send)
    await body(send, b"fine")


def answering(status: int, headers: Any = ()) -> Any:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await start(send, status, headers)
        await body(send)

    return app


class TestTheSpan:
    async def test_continues_the_callers_trace(self, recorded: Recorded) -> None:
        answer = await ask(TraceMiddleware(ok), headers=carrying(TRACEPARENT))
        span = recorded.server
        assert f"{span.context.trace_id:032x}" == TRACE_ID
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == PARENT_ID
        assert span.parent.is_remote
        assert answer.header(b"x-trace-id") == TRACE_ID.encode()

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "garbage",
            f"ff-{TRACE_ID}-{PARENT_ID}-01",
            f"00-{'0' * 32}-{PARENT_ID}-01",
            f"00-{TRACE_ID}-{'0' * 16}-01",
            f"00-{TRACE_ID.upper()}-{PARENT_ID}-01",
            f"00-{TRACE_ID}-{PARENT_ID}-01-extra",
            f"00-{TRACE_ID}-{PARENT_ID}",
            f"00-{TRACE_ID}-{PARENT_ID}-0x",
            "00-\xff-\xff-01",
        ],
    )
    async def test_starts_a_new_trace_for_a_malformed_traceparent(self, recorded: Recorded, value: str) -> None:
        answer = await ask(TraceMiddleware(ok), headers=carrying(value))
        assert answer.status == 200
        assert recorded.server.parent is None
        assert f"{recorded.server.context.trace_id:032x}" != TRACE_ID

    async def test_starts_a_new_trace_for_two_traceparents(self, recorded: Recorded) -> None:
        await ask(TraceMiddleware(ok), headers=carrying(TRACEPARENT) * 2)
        assert recorded.server.parent is None

    async def test_reads_a_higher_version_by_its_first_fields(self, recorded: Recorded) -> None:
        await ask(TraceMiddleware(ok), headers=carrying(f"cc-{TRACE_ID}-{PARENT_ID}-01-later"))
        assert f"{recorded.server.context.trace_id:032x}" == TRACE_ID

    async def test_follows_the_callers_sampling_decision(self) -> None:
        memory = InMemorySpanExporter()
        provider = TracerProvider(sampler=DEFAULT_ON, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(memory))
        app = TraceMiddleware(ok, tracer_provider=provider)
        answer = await ask(app, headers=carrying(TRACEPARENT[:-2] + "00"))
        assert answer.header(b"x-trace-id") == TRACE_ID.encode()
        assert memory.get_finished_spans() == ()
        await ask(app, headers=carrying(TRACEPARENT))
        assert len(memory.get_finished_spans()) == 1

    async def test_never_has_a_local_span_as_its_parent(self, recorded: Recorded) -> None:
        with tracemw.span("local"):
            await ask(TraceMiddleware(ok), headers=carrying(TRACEPARENT))
            await ask(TraceMiddleware(ok))
        first, second = recorded.of_kind(SpanKind.SERVER)
        assert first.parent is not None
        assert f"{first.parent.span_id:016x}" == PARENT_ID
        assert second.parent is None
        assert second.context.trace_id != recorded.named("local").context.trace_id

    async def test_knows_the_request_from_its_start(self, recorded: Recorded) -> None:
        await ask(
            TraceMiddleware(ok),
            "/checkout/7",
            query=b"a=1&sig=secret",
            headers=[(b"user-agent", b"curl/8")],
        )
        assert recorded.server.name == "GET"
        assert dict(recorded.server.attributes or {}) == {
            "http.request.method": "GET",
            "url.path": "/checkout/7",
            "url.scheme": "http",
            "url.query": "a=1&sig=REDACTED",
            "server.address": "shop.example",
            "server.port": 80,
            "client.address": "192.0.2.7",
            "network.peer.address": "192.0.2.7",
            "network.peer.port": 40000,
            "user_agent.original": "curl/8",
            "network.protocol.version": "1.1",
            "http.response.status_code": 200,
        }

    async def test_hides_an_unknown_method_behind_a_common_name(self, recorded: Recorded) -> None:
        await ask(TraceMiddleware(ok), method="BREW")
        assert recorded.server.name == "HTTP"
        assert recorded.server.attributes is not None
        assert recorded.server.attributes["http.request.method"] == "_OTHER"
        assert recorded.server.attributes["http.request.method_original"] == "BREW"

    @pytest.mark.parametrize(
        ("more", "expected"),
        [
            ({"server": ("/run/app.sock", None), "headers": []}, ("/run/app.sock", 80)),
            ({"server": None, "client": None, "headers": []}, (None, None)),
            ({"server": ("127.0.0.1", "8000"), "client": ("1.2.3.4", "x"), "headers": []}, ("127.0.0.1", 8000)),
            ({"headers": [(b"host", b"[::1]:8080")]}, ("::1", 8080)),
            ({"headers": [(b"host", b"not a host")]}, ("127.0.0.1", 8000)),
            ({"headers": iter([(b"host", b"one.shot")])}, ("one.shot", 80)),
        ],
    )
    async def test_copes_with_any_address(self, recorded: Recorded, more: Any, expected: Any) -> None:
        answer = await ask(TraceMiddleware(ok), scope={**http_scope(), **more})
        assert answer.body == b"fine"
        attributes = recorded.server.attributes or {}
        assert (attributes.get("server.address"), attributes.get("server.port")) == expected

    async def test_leaves_headers_that_can_be_read_once_to_the_application(self, recorded: Recorded) -> None:
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Send) -> None:
            seen.extend(scope["headers"])
            await ok(scope, receive, send)

        await ask(TraceMiddleware(app), scope={**http_scope(), "headers": iter(carrying(TRACEPARENT))})
        assert seen == carrying(TRACEPARENT)

    async def test_leaves_a_scope_of_iterators_as_falcons_test_client_makes_it_to_the_application(
        self, recorded: Recorded
    ) -> None:
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Send) -> None:
            seen.extend([dict(scope["headers"]), list(scope["server"]), list(scope["client"])])
            await ok(scope, receive, send)

        headers = iter([iter(pair) for pair in carrying(TRACEPARENT)])
        addresses = {"server": iter(["shop.example", 8000]), "client": iter(["192.0.2.7", 40000])}
        await ask(TraceMiddleware(app), scope={**http_scope(), "headers": headers, **addresses})
        assert seen == [dict(carrying(TRACEPARENT)), ["shop.example", 8000], ["192.0.2.7", 40000]]
        assert (recorded.server.attributes or {})["client.address"] == "192.0.2.7"
        assert recorded.server.context.trace_id == int(TRACE_ID, 16)

    async def test_is_current_for_the_application_and_gone_afterwards(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            assert tracemw.current_trace_id() == TRACE_ID
            tracemw.annotate(**{"order.id": 7})
            with tracemw.span("inner"):
                await ok(scope, receive, send)

        await ask(TraceMiddleware(app), headers=carrying(TRACEPARENT))
        assert tracemw.current_trace_id() is None
        inner = recorded.named("inner")
        assert inner.parent is not None
        assert inner.parent.span_id == recorded.server.context.span_id
        assert (recorded.server.attributes or {})["order.id"] == 7

    async def test_brings_the_callers_baggage_along(self, recorded: Recorded) -> None:
        seen: list[object] = []

        async def app(scope: Any, receive: Any, send: Send) -> None:
            seen.extend((baggage.get_baggage("tenant"), baggage.get_baggage("plan")))
            await ok(scope, receive, send)

        await ask(TraceMiddleware(app), headers=[(b"baggage", b"tenant=acme"), (b"baggage", b"plan=gold")])
        assert seen == ["acme", "gold"]


class TestTheStatus:
    @pytest.mark.parametrize("status", [200, 302, 404, 499])
    async def test_is_unset_below_500(self, recorded: Recorded, status: int) -> None:
        await ask(TraceMiddleware(answering(status)))
        assert recorded.server.status.status_code is StatusCode.UNSET
        assert "error.type" not in (recorded.server.attributes or {})

    @pytest.mark.parametrize("status", [500, 503])
    async def test_is_an_error_from_500_on(self, recorded: Recorded, status: int) -> None:
        await ask(TraceMiddleware(answering(status)))
        assert recorded.server.status.status_code is StatusCode.ERROR
        assert recorded.server.status.description is None
        assert (recorded.server.attributes or {})["error.type"] == str(status)
        assert recorded.server.events == ()

    async def test_of_an_exception_is_the_servers_500_when_no_response_was_sent(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            raise ValueError("boom")

        with pytest.raises(ValueError, match="boom"):
            await ask(TraceMiddleware(app))
        assert (recorded.server.attributes or {})["error.type"] == "500"
        assert (recorded.server.attributes or {})["http.response.status_code"] == 500
        (event,) = recorded.server.events
        assert event.name == "exception"

    async def test_stays_when_an_error_comes_after_the_headers(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await start(send)
            await body(send, b"half", more=True)
            raise httpx.ReadError("gone")

        answer = Answer()
        with pytest.raises(httpx.ReadError):
            await ask(TraceMiddleware(app), answer=answer)
        assert answer.body == b"half"
        attributes = recorded.server.attributes or {}
        assert attributes["http.response.status_code"] == 200
        assert attributes["error.type"] == "httpx.ReadError"
        assert recorded.server.status.status_code is StatusCode.ERROR
        assert len(recorded.server.events) == 1

    async def test_of_an_error_page_followed_by_its_exception_counts_both_once(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await answering(500)(scope, receive, send)
            answered.append(time.time_ns())
            await asyncio.sleep(0.05)
            raise ValueError("boom")

        answered: list[int] = []
        with pytest.raises(ValueError, match="boom"):
            await ask(TraceMiddleware(app))
        span = recorded.server
        assert (span.attributes or {})["error.type"] == "500"
        assert len(span.events) == 1
        assert span.end_time is not None
        assert span.end_time - answered[0] < 40_000_000

    async def test_is_an_error_when_the_application_returns_without_a_response(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            return

        await ask(TraceMiddleware(app))
        assert (recorded.server.attributes or {})["error.type"] == "incomplete_response"
        assert recorded.server.status.status_code is StatusCode.ERROR

    async def test_is_unset_when_the_application_returns_after_a_disconnect(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await start(send)
            await receive()
            assert (await receive())["type"] == "http.disconnect"

        await ask(TraceMiddleware(app))
        assert recorded.server.status.status_code is StatusCode.UNSET

    async def test_is_an_error_when_the_request_is_cancelled(self, recorded: Recorded) -> None:
        entered = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Send) -> None:
            entered.set()
            await asyncio.sleep(60)

        task = asyncio.create_task(ask(TraceMiddleware(app)))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (recorded.server.attributes or {})["error.type"] == "asyncio.exceptions.CancelledError"
        assert tracemw.current_trace_id() is None


class Gone(Exception):  # noqa: N818
    """Such as a framework raises to tell its handlers that the client has gone."""


class ClientDisconnect(Gone):
    pass


class TestAClientThatHasGone:
    @pytest.mark.parametrize("raised", [ClientDisconnect, asyncio.CancelledError])
    async def test_is_no_error_when_what_escapes_says_only_that(self, recorded: Recorded, raised: Any) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await receive()
            assert (await receive())["type"] == "http.disconnect"
            raise raised

        with pytest.raises(raised):
            await ask(TraceMiddleware(app))
        assert recorded.server.status.status_code is StatusCode.UNSET
        assert recorded.server.events == ()
        assert "error.type" not in (recorded.server.attributes or {})

    @pytest.mark.parametrize("raised", [ValueError, ConnectionRefusedError, FileNotFoundError, Gone])
    async def test_makes_no_other_exception_less_of_an_error(self, recorded: Recorded, raised: Any) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await receive()
            await receive()
            raise raised("a bug")

        with pytest.raises(raised):
            await ask(TraceMiddleware(app))
        assert recorded.server.status.status_code is StatusCode.ERROR
        assert len(recorded.server.events) == 1

    @pytest.mark.parametrize(("error", "is_error"), [(ClientDisconnect(), False), (ValueError(), True)])
    async def test_makes_no_error_of_a_span_within(self, recorded: Recorded, error: Any, is_error: bool) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            with tracemw.span("body.read"):
                await receive()
                await receive()
                raise error

        with pytest.raises(type(error)):
            await ask(TraceMiddleware(app))
        assert {span.status.status_code is StatusCode.ERROR for span in recorded.all} == {is_error}
        assert [len(span.events) for span in recorded.all] == [int(is_error)] * 2

    @pytest.mark.parametrize("other", [ClientDisconnect(), ValueError()])
    async def test_makes_a_group_no_error_only_when_all_of_it_says_so(
        self, recorded: Recorded, other: Exception
    ) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await receive()
            await receive()
            raise ExceptionGroup("two", [ClientDisconnect(), other])

        with pytest.raises(ExceptionGroup):
            await ask(TraceMiddleware(app))
        assert (recorded.server.status.status_code is StatusCode.ERROR) is isinstance(other, ValueError)

    @pytest.mark.parametrize("raised", [ClientDisconnect, OSError])
    async def test_has_to_have_been_seen(self, recorded: Recorded, raised: Any) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            raise raised

        with pytest.raises(raised):
            await ask(TraceMiddleware(app))
        assert recorded.server.status.status_code is StatusCode.ERROR

    async def test_is_seen_where_the_server_refuses_what_is_sent(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            await TraceMiddleware(app)(http_scope(), receive, send)
        assert recorded.server.status.status_code is StatusCode.UNSET

    @pytest.mark.parametrize(("error", "is_error"), [(None, False), (ClientDisconnect(), False), (KeyError(), True)])
    async def test_gets_no_error_page(self, recorded: Recorded, error: Any, is_error: bool) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await receive()
            await receive()
            await send({"type": "http.response.start", "status": 500})
            await send({"type": "http.response.body"})
            if error is not None:
                raise error

        with pytest.raises(type(error)) if error else nullcontext():
            await ask(TraceMiddleware(app))
        assert (recorded.server.status.status_code is StatusCode.ERROR) is is_error
        assert ("http.response.status_code" in (recorded.server.attributes or {})) is is_error

    async def test_has_got_the_error_page_that_was_sent_before(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send({"type": "http.response.start", "status": 500})
            await receive()
            await receive()
            raise ClientDisconnect

        with pytest.raises(ClientDisconnect):
            await ask(TraceMiddleware(app))
        assert recorded.server.status.status_code is StatusCode.ERROR
        assert (recorded.server.attributes or {})["http.response.status_code"] == 500


class TestTheEnd:
    async def test_is_the_last_byte_of_a_stream(self, recorded: Recorded) -> None:
        ended: list[int] = []

        async def app(scope: Any, receive: Any, send: Send) -> None:
            await start(send)
            for _ in range(3):
                await body(send, b"x", more=True)
                ended.append(len(recorded.all))
            await body(send)
            ended.append(len(recorded.all))

        assert (await ask(TraceMiddleware(app))).body == b"xxx"
        assert ended == [0, 0, 0, 1]

    async def test_comes_before_background_work_whose_spans_are_still_in_the_trace(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await ok(scope, receive, send)
            assert recorded.server.end_time is not None
            with tracemw.span("mail.send"):
                pass

        await ask(TraceMiddleware(app))
        mail = recorded.named("mail.send")
        assert mail.context.trace_id == recorded.server.context.trace_id
        assert mail.parent is not None
        assert mail.parent.span_id == recorded.server.context.span_id

    async def test_waits_for_announced_trailers(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
            await body(send, b"x")
            assert not recorded.all
            await send({"type": "http.response.trailers", "headers": [], "more_trailers": False})
            assert len(recorded.all) == 1

        await ask(TraceMiddleware(app))

    async def test_comes_with_a_file_sent_by_path(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await start(send)
            await send({"type": "http.response.pathsend", "path": "/etc/hostname"})
            assert len(recorded.all) == 1

        answer = await ask(TraceMiddleware(app))
        assert answer.messages[-1]["type"] == "http.response.pathsend"
        assert "error.type" not in (recorded.server.attributes or {})

    def test_lasts_until_a_real_client_hangs_up(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await start(send)
            await receive()
            while (await asyncio.wait_for(receive(), 10))["type"] != "http.disconnect":
                pass

        with uvicorn_serving(TraceMiddleware(app), lifespan="off") as url:
            with httpx.stream("GET", url) as response:
                assert response.headers["x-trace-id"]
                time.sleep(0.05)
                assert not recorded.all
            wait_until(lambda: recorded.all)
        assert recorded.server.status.status_code is StatusCode.UNSET


class TestTheResponseHeader:
    async def test_is_added_to_the_applications_own(self, recorded: Recorded) -> None:
        answer = await ask(TraceMiddleware(answering(200, [(b"x-shop", b"1")])))
        assert answer.headers == [
            (b"x-shop", b"1"),
            (b"x-trace-id", f"{recorded.server.context.trace_id:032x}".encode()),
        ]

    async def test_never_overwrites_one_of_the_application(self, recorded: Recorded) -> None:
        headers = [(b"X-Trace-Id", b"mine"), (b"a", b"b")]
        assert (await ask(TraceMiddleware(answering(200, iter(headers))))).headers == headers

    async def test_can_have_another_name_or_be_off(self, recorded: Recorded) -> None:
        named = await ask(TraceMiddleware(ok, response_header="X-Request-Trace"))
        assert named.header(b"x-request-trace")
        assert named.header(b"x-trace-id") is None
        assert (await ask(TraceMiddleware(ok, response_header=None))).headers == []

    async def test_leaves_the_applications_own_message_unchanged(self, recorded: Recorded) -> None:
        message = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}

        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send(message)
            await body(send)

        await ask(TraceMiddleware(app))
        assert message == {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}

    async def test_is_left_out_when_the_application_sends_headers_of_another_shape(
        self, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guard, "reraise_own_faults", False)
        headers: Any = [("text", "as str"), None]
        assert (await ask(TraceMiddleware(answering(200, headers)))).headers == headers


@pytest.mark.parametrize("status", ["200", True])
async def test_a_status_of_another_type_is_sent_as_it_is_and_recorded_as_a_number(
    recorded: Recorded, status: Any
) -> None:
    number = int(status)
    answer = await ask(TraceMiddleware(answering(status)))
    assert answer.status is status
    assert (recorded.server.attributes or {})["http.response.status_code"] == number


async def test_send_is_a_coroutine_function_for_those_who_look(recorded: Recorded) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        seen.append((inspect.iscoroutinefunction(receive), inspect.iscoroutinefunction(send)))
        await ok(scope, receive, send)

    await ask(TraceMiddleware(app))
    await ask(TraceMiddleware(app, tracer_provider=TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)))
    assert seen == [(True, True), (True, True)]


async def test_a_body_sent_from_a_file_by_the_server_is_a_complete_response(recorded: Recorded) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await start(send)
        await send({"type": "http.response.zerocopysend", "file": 3})

    await ask(TraceMiddleware(app))
    assert "error.type" not in (recorded.server.attributes or {})


@pytest.mark.parametrize("lower", [True, False])
async def test_headers_count_whatever_their_case(recorded: Recorded, *, lower: bool) -> None:
    headers = [(b"Host", b"shop.example"), (b"Traceparent", TRACEPARENT.encode())]
    scope = {**http_scope(), "headers": [(name.lower(), value) if lower else (name, value) for name, value in headers]}
    await ask(TraceMiddleware(ok), scope=scope)
    assert f"{recorded.server.context.trace_id:032x}" == TRACE_ID
    assert (recorded.server.attributes or {})["server.address"] == "shop.example"


async def test_headers_in_upper_case_count_beside_a_host_in_lower_case(recorded: Recorded) -> None:
    headers = [(b"host", b"shop.example"), (b"User-Agent", b"till"), (b"Cookie", b"a=1"), (b"Cookie", b"b=2")]
    await ask(TraceMiddleware(ok), scope={**http_scope(), "headers": headers})
    assert (recorded.server.attributes or {})["user_agent.original"] == "till"


async def test_a_sampler_may_take_its_attributes_for_a_dictionary(recorded: Recorded) -> None:
    class Sampler(StaticSampler):
        def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
            attributes = args[4] if len(args) > 4 else kwargs["attributes"]
            json.dumps(attributes | attributes.copy())
            return super().should_sample(*args, **kwargs)

    exporter = InMemorySpanExporter()
    for kind in (TracerProvider, recording.TracerProvider):
        provider = kind(sampler=Sampler(Decision.RECORD_AND_SAMPLE), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        await ask(TraceMiddleware(ok, tracer_provider=provider))
    assert [(span.attributes or {})["url.path"] for span in exporter.get_finished_spans()] == ["/", "/"]


async def test_a_faulty_observation_of_the_route_is_not_the_applications(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Faulty(TraceMiddleware):
        def observe(self, scope: Any, exchange: Any) -> Any:
            raise RuntimeError("observe")

    monkeypatch.setattr(guard, "reraise_own_faults", False)
    assert (await ask(Faulty(ok))).body == b"fine"
    assert recorded.server.name == "GET"


class TestHooks:
    async def test_that_end_the_process_do_not_lose_the_span(self, recorded: Recorded) -> None:
        def stop(*args: Any) -> None:
            raise SystemExit

        with pytest.raises(SystemExit):
            await ask(TraceMiddleware(ok, on_response=stop))
        assert recorded.server.end_time is not None

    async def test_get_the_span_and_the_facts(self, recorded: Recorded) -> None:
        app = TraceMiddleware(
            answering(201),
            on_request=lambda span, facts: span.set_attribute("seen", facts.path),
            on_response=lambda span, facts, status: span.set_attribute("answered", status or 0),
            span_name=lambda facts, route: f"{facts.method} custom {route}",
        )
        await ask(app, "/cart")
        assert recorded.server.name == "GET custom None"
        assert (recorded.server.attributes or {})["seen"] == "/cart"
        assert (recorded.server.attributes or {})["answered"] == 201

    async def test_that_raise_leave_the_response_alone(
        self, recorded: Recorded, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*_: object) -> Any:
            raise RuntimeError("hook")

        app = TraceMiddleware(ok, on_request=broken, on_response=broken, span_name=broken, skip=broken)
        with caplog.at_level(logging.ERROR, "tracemw"):
            answers = [await ask(app) for _ in range(3)]
        assert {(answer.status, answer.body) for answer in answers} == {(200, b"fine")}
        assert [span.name for span in recorded.of_kind(SpanKind.SERVER)] == ["GET"] * 3
        assert sorted(record.getMessage().partition("=")[0] for record in caplog.records) == [
            "on_request",
            "on_response",
            "skip",
            "span_name",
        ]

    async def test_that_give_no_name_leave_the_usual_one(self, recorded: Recorded) -> None:
        def seven(*_: object) -> Any:
            return 7

        await ask(TraceMiddleware(ok, span_name=seven))
        assert recorded.server.name == "GET"

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"span_name": "GET"}, TypeError),
            ({"on_request": 1}, TypeError),
            ({"on_response": 1}, TypeError),
            ({"skip": 7}, TypeError),
            ({"skip": [7]}, TypeError),
            ({"skip": "health"}, ValueError),
            ({"response_header": "x trace"}, ValueError),
            ({"unknown": 1}, TypeError),
        ],
    )
    def test_and_other_options_are_checked_when_given(self, options: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match=next(iter(options))):
            TraceMiddleware(ok, **options)


class Raising(NoOpTracerProvider):
    """A provider with a bug."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("provider")


class BrokenSpans(NoOpTracerProvider):
    """A provider whose spans raise whatever is done to them."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        class Tracer:
            def start_span(self, *args: Any, **kwargs: Any) -> Any:
                return Span()

        class Span(trace.NonRecordingSpan):
            def __init__(self) -> None:
                super().__init__(trace.INVALID_SPAN_CONTEXT)

            def get_span_context(self) -> Any:
                raise RuntimeError("span")

            set_attribute: Any = get_span_context
            record_exception: Any = get_span_context
            set_status: Any = get_span_context
            update_name: Any = get_span_context
            end: Any = get_span_context

        return Tracer()


@pytest.mark.parametrize("provider", [Raising(), BrokenSpans()], ids=["provider", "spans"])
async def test_a_provider_that_raises_leaves_the_response_alone_and_is_logged_once(
    provider: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "reraise_own_faults", False)
    monkeypatch.setattr(guard, "_silent_until", {})
    app = TraceMiddleware(answering(200, [(b"a", b"b")]), tracer_provider=provider)
    failing = TraceMiddleware(failed, tracer_provider=provider)
    with caplog.at_level(logging.ERROR, "tracemw"):
        for _ in range(3):
            answer = await ask(app)
            assert (answer.status, answer.headers) == (200, [(b"a", b"b")])
            with pytest.raises(KeyError):
                await ask(failing)
    messages = [record.getMessage() for record in caplog.records if record.name == "tracemw"]
    assert messages
    assert len(messages) == len(set(messages))


async def failed(scope: Any, receive: Any, send: Send) -> None:
    raise KeyError("the application's own")


async def test_a_provider_that_records_nothing_adds_no_header() -> None:
    assert (await ask(TraceMiddleware(ok, tracer_provider=NoOpTracerProvider()))).headers == []


async def test_a_scope_without_what_the_specification_asks_for_is_the_applications_to_judge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "reraise_own_faults", False)
    assert (await ask(TraceMiddleware(ok), scope={"type": "http"})).body == b"fine"
    strange = {**http_scope(), "query_string": None, "headers": None, "server": 5}
    assert (await ask(TraceMiddleware(ok), scope=strange)).body == b"fine"


async def test_an_exception_after_a_scope_that_cannot_be_read_is_the_applications_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "reraise_own_faults", False)
    with pytest.raises(KeyError) as raised:
        await ask(TraceMiddleware(failed), scope={**http_scope(), "headers": [(b"no pair",)]})
    assert raised.value.__context__ is None


async def test_headers_of_another_type_cost_nothing_but_themselves(recorded: Recorded, meters: Meters) -> None:
    scope = {**http_scope(), "headers": [(b"host", "shop.example"), (b"user-agent", 7)]}
    answer = await ask(TraceMiddleware(ok, meter_provider=meters.provider), scope=scope)
    assert answer.header(b"x-trace-id") is not None
    assert {"server.address": "127.0.0.1", "http.response.status_code": 200}.items() <= dict(
        recorded.server.attributes or {}
    ).items()
    assert len(meters.points("http.server.request.duration")) == 1


async def test_a_message_of_a_skipped_request_is_sent_as_it_is() -> None:
    message = {"type": "http.response.start", "status": 204}

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(message)
        await body(send)

    answer = await ask(TraceMiddleware(app, capture_response_headers=["x-kind"]), "/health")
    assert answer.messages[0] is message


@pytest.mark.parametrize("recovers", [True, False])
async def test_a_head_that_the_server_refuses_is_not_what_the_client_got(recorded: Recorded, recovers: bool) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        try:
            await start(send, headers=[(b"x-name", b"two\r\nlines")])
        except ValueError:
            if not recovers:
                raise
            await start(send, 400)
            await body(send, b"no")

    async def refusing(message: Any) -> None:
        if any(b"\n" in value for _, value in message.get("headers", ())):
            raise ValueError("this header is not valid")

    with nullcontext() if recovers else pytest.raises(ValueError, match="is not valid"):
        await TraceMiddleware(app)(http_scope(), asyncio.Queue[Any]().get, refusing)
    assert (recorded.server.attributes or {})["http.response.status_code"] == (400 if recovers else 500)


async def test_http_1_0_is_called_so_whatever_the_server_writes(recorded: Recorded) -> None:
    await ask(TraceMiddleware(ok), scope={**http_scope(), "http_version": "1"})  # as granian does
    assert (recorded.server.attributes or {})["network.protocol.version"] == "1.0"


def test_a_second_answer_that_the_server_refuses_leaves_the_status_that_was_sent(recorded: Recorded) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await start(send, headers=[(b"content-length", b"9")])
        await body(send, b"some", more=True)
        await start(send, 503)  # as a framework that answers an error although the response has begun

    with uvicorn_serving(TraceMiddleware(app)) as url:
        with httpx.stream("GET", url, trust_env=False) as answer, pytest.raises(httpx.RemoteProtocolError):
            answer.read()
        wait_until(lambda: recorded.all)
    assert answer.status_code == 200
    span = recorded.server
    assert (span.attributes or {})["http.response.status_code"] == 200
    assert (span.attributes or {})["error.type"] == "RuntimeError"
    assert span.status.status_code is StatusCode.ERROR


class TestOneSpanPerRequest:
    async def test_however_often_the_door_is_installed(self, recorded: Recorded) -> None:
        answer = await ask(TraceMiddleware(TraceMiddleware(TraceMiddleware(ok))))
        assert len(recorded.all) == 1
        assert answer.header(b"x-trace-id")

    async def test_when_somebody_else_has_traced_this_very_request(
        self, recorded: Recorded, provider: TracerProvider
    ) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            tracemw.annotate(adopted=True)
            await ok(scope, receive, send)

        for headers in ([], carrying(TRACEPARENT)):
            recorded.clear()
            carried = trace.set_span_in_context(trace.INVALID_SPAN)
            if headers:
                remote = trace.SpanContext(int(TRACE_ID, 16), int(PARENT_ID, 16), is_remote=True)
                carried = trace.set_span_in_context(trace.NonRecordingSpan(remote))
            with provider.get_tracer("other").start_as_current_span("other", carried, SpanKind.SERVER):
                answer = await ask(TraceMiddleware(app), headers=headers)
            assert recorded.server.name == "other"
            assert (recorded.server.attributes or {})["adopted"] is True
            assert answer.header(b"x-trace-id") == f"{recorded.server.context.trace_id:032x}".encode()

    async def test_and_one_for_a_request_made_inside_this_process(self, recorded: Recorded) -> None:
        inner = TraceMiddleware(ok)

        async def app(scope: Any, receive: Any, send: Send) -> None:
            assert (await ask(inner, "/inner")).status == 200
            await ok(scope, receive, send)

        await ask(TraceMiddleware(app), "/outer")
        nested, outer = recorded.of_kind(SpanKind.SERVER)
        assert (nested.attributes or {})["url.path"] == "/inner"
        assert nested.parent is None
        assert (outer.attributes or {})["url.path"] == "/outer"

    async def test_and_one_for_each_service_on_a_way_through_traced_clients(self, recorded: Recorded) -> None:
        last = TraceMiddleware(ok)

        def calling(app: Any) -> Any:
            async def calls(scope: Any, receive: Any, send: Send) -> None:
                transport = AsyncTraceTransport(httpx.ASGITransport(app))
                async with httpx.AsyncClient(transport=transport) as client:
                    await client.get("http://inner/")
                await ok(scope, receive, send)

            return TraceMiddleware(calls)

        await ask(calling(calling(last)))
        assert [span.kind.name for span in recorded.all] == ["SERVER", "CLIENT", "SERVER", "CLIENT", "SERVER"]
        assert len({span.context.trace_id for span in recorded.all}) == 1

    async def test_whatever_runs_beside_it(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            number = int(scope["path"][1:])
            seen = tracemw.current_trace_id()
            with tracemw.span("work", number=number):
                await asyncio.sleep(number % 7 / 1000)
            assert tracemw.current_trace_id() == seen
            await start(send, 200 + number % 300)
            await body(send, str(number).encode(), more=True)
            await asyncio.sleep(number % 5 / 1000)
            await body(send)

        door = TraceMiddleware(app)
        traces = [f"{number + 1:032x}" for number in range(400)]
        answers = await asyncio.gather(
            *(ask(door, f"/{n}", headers=carrying(f"00-{trace}-{PARENT_ID}-01")) for n, trace in enumerate(traces))
        )
        assert [answer.header(b"x-trace-id") for answer in answers] == [trace.encode() for trace in traces]
        by_trace = {f"{span.context.trace_id:032x}": span for span in recorded.of_kind(SpanKind.SERVER)}
        assert len(by_trace) == len(traces)
        for number, trace_id in enumerate(traces):
            attributes = by_trace[trace_id].attributes or {}
            assert attributes["url.path"] == f"/{number}"
            assert attributes["http.response.status_code"] == 200 + number % 300
        for work in recorded.of_kind(SpanKind.INTERNAL):
            assert (work.attributes or {})["number"] == work.context.trace_id - 1


class TestWebSockets:
    async def talk(self, app: Any, *incoming: Any, path: str = "/chat", scheme: str | None = "ws") -> list[Any]:
        sent: list[Any] = []
        waiting = [{"type": "websocket.connect"}, *incoming]

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {**http_scope(path), "type": "websocket", "scheme": scheme, "subprotocols": []}
        del scope["method"]
        await app(scope, receive, send)
        return sent

    async def test_are_one_span_from_the_handshake_to_the_close(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept", "headers": [(b"a", b"b")]})
            await receive()
            await send({"type": "websocket.send", "text": "hello"})
            assert not recorded.all
            await send({"type": "websocket.close", "code": 1000})

        sent = await self.talk(TraceMiddleware(app), {"type": "websocket.receive", "text": "hi"})
        trace_id = f"{recorded.server.context.trace_id:032x}".encode()
        assert sent[0]["headers"] == [(b"a", b"b"), (b"x-trace-id", trace_id)]
        attributes = recorded.server.attributes or {}
        assert recorded.server.name == "GET"
        assert attributes["url.scheme"] == "ws"
        assert attributes["http.response.status_code"] == 101
        assert attributes["websocket.close_code"] == 1000
        assert recorded.server.status.status_code is StatusCode.UNSET

    @pytest.mark.parametrize(("scheme", "told"), [("http", "ws"), ("https", "wss"), (None, "ws"), ("wss", "wss")])
    async def test_are_no_requests_whatever_scheme_the_server_gives(
        self, recorded: Recorded, meters: Meters, scheme: str | None, told: str
    ) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send({"type": "websocket.accept"})

        await self.talk(TraceMiddleware(app, meter_provider=meters.provider), scheme=scheme)
        assert (recorded.server.attributes or {})["url.scheme"] == told
        assert meters.points("http.server.request.duration") == []

    async def test_note_the_code_with_which_the_client_left(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await receive()

        await self.talk(TraceMiddleware(app), {"type": "websocket.disconnect", "code": 1001})
        assert (recorded.server.attributes or {})["websocket.close_code"] == 1001

    async def test_note_a_denied_handshake(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send({"type": "websocket.close"})

        await self.talk(TraceMiddleware(app))
        assert (recorded.server.attributes or {})["http.response.status_code"] == 403
        assert recorded.server.status.status_code is StatusCode.UNSET

    async def test_note_a_denial_with_a_response(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"later"})

        sent = await self.talk(TraceMiddleware(app))
        assert sent[0]["headers"][0][0] == b"x-trace-id"
        assert (recorded.server.attributes or {})["error.type"] == "503"

    async def test_that_fail_are_errors_with_one_exception(self, recorded: Recorded) -> None:
        with pytest.raises(KeyError):
            await self.talk(TraceMiddleware(failed))
        assert (recorded.server.attributes or {})["error.type"] == "500"
        assert len(recorded.server.events) == 1

    async def test_are_skipped_like_requests(self, recorded: Recorded) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send({"type": "websocket.accept"})

        assert await self.talk(TraceMiddleware(app), path="/health") == [{"type": "websocket.accept"}]
        assert not recorded.all


class TestOtherScopes:
    async def test_pass_untouched(self, recorded: Recorded) -> None:
        seen: list[Any] = []

        async def app(*arguments: Any) -> None:
            seen.extend(arguments)

        scope, receive, send = {"type": "mcp.session"}, object(), object()
        await TraceMiddleware(app)(scope, receive, send)  # type: ignore[arg-type]
        assert seen == [scope, receive, send]
        assert not recorded.all

    async def test_of_the_lifespan_pass_and_flush_at_the_end(self) -> None:
        flushed: list[int] = []

        class Provider(TracerProvider):
            def force_flush(self, timeout_millis: int = 30000) -> bool:
                flushed.append(timeout_millis)
                return True

        sent: list[Any] = []
        waiting = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def app(scope: Any, receive: Any, send: Send) -> None:
            scope["state"]["ready"] = True
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            assert not flushed
            await send({"type": "lifespan.shutdown.complete"})

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            sent.append((message["type"], len(flushed)))

        scope: dict[str, Any] = {"type": "lifespan", "state": {}}
        await TraceMiddleware(app, tracer_provider=Provider(shutdown_on_exit=False))(scope, receive, send)
        assert scope["state"] == {"ready": True}
        assert sent == [("lifespan.startup.complete", 0), ("lifespan.shutdown.complete", 1)]
        assert flushed == [5000]

    def test_of_the_lifespan_end_well_under_another_event_loop(self) -> None:
        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send({"type": "lifespan.shutdown.complete"})

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        with pytest.raises(StopIteration):  # nothing here needs asyncio, so one step is all it takes
            TraceMiddleware(app)({"type": "lifespan"}, send, send).send(None)  # type: ignore[arg-type]
        assert sent == [{"type": "lifespan.shutdown.complete"}]

    async def test_of_the_lifespan_end_well_with_a_provider_that_cannot_flush(self) -> None:
        class Provider(TracerProvider):
            def force_flush(self, timeout_millis: int = 30000) -> bool:
                raise RuntimeError("flush")

        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send({"type": "lifespan.shutdown.complete"})

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await TraceMiddleware(app, tracer_provider=Provider(shutdown_on_exit=False))(
            {"type": "lifespan"},
            send,  # type: ignore[arg-type]
            send,
        )
        assert sent == [{"type": "lifespan.shutdown.complete"}]


def test_an_abandoned_request_is_closed_without_a_word(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        request = TraceMiddleware(app)(http_scope(), None, None)  # type: ignore[arg-type]

        async def abandon() -> None:
            request.send(None)

        # Entered in one context and closed in another, as a loop that is shut down with requests open may do.
        await asyncio.create_task(abandon())
        await asyncio.create_task(asyncio.sleep(0, request.close()))

    asyncio.run(main())
    assert caplog.records == []
    assert otel_context.get_current() == {}


def test_bytes_that_are_no_text_reach_a_real_application_as_without_the_door(recorded: Recorded) -> None:
    async def echo(scope: Any, receive: Any, send: Send) -> None:
        odd = dict(scope["headers"])[b"x-odd"]
        await start(send, headers=[(b"connection", b"close")])
        await body(send, b"|".join((scope["raw_path"], scope["query_string"], odd)))

    with uvicorn_serving(TraceMiddleware(echo)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"GET /%FF%C3?q=%FF\\ HTTP/1.1\r\nhost: [::1\r\nx-odd: \xff\\\r\ntraceparent: \xff\r\n\r\n"
            )
            received = b"".join(iter(lambda: connection.recv(4096), b""))
        wait_until(lambda: recorded.all)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"/%FF%C3|q=%FF\\|\xff\\" in received
    assert (recorded.server.attributes or {})["http.response.status_code"] == 200


names = st.binary(min_size=1, max_size=12).map(bytes.lower)
values = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([TRACEPARENT.encode(), b"\xff", b"\\", b"a=1;b", b"[::1", b":99999", b"x" * 300]),
)
known = st.sampled_from([b"host", b"traceparent", b"tracestate", b"baggage", b"user-agent", b"x-trace-id"])


@settings(max_examples=60)
@given(
    headers=st.lists(st.tuples(st.one_of(known, names), values), max_size=8),
    query=values,
    path=st.text(max_size=20),
    method=st.one_of(st.just("GET"), st.text(max_size=8)),
    status=st.integers(100, 599),
    sent=st.lists(st.tuples(st.one_of(known, names), values), max_size=4),
)
def test_no_request_and_no_response_is_altered(
    headers: Any, query: bytes, path: str, method: str, status: int, sent: Any
) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        seen.append((scope["headers"], scope["query_string"], scope["path"], scope["method"]))
        await start(send, status, sent)
        await body(send, (await receive())["body"])

    scope = {**http_scope(), "headers": headers, "query_string": query, "path": path, "method": method}
    plain = asyncio.run(ask(app, scope=dict(scope), body=b"in"))
    traced = asyncio.run(ask(TraceMiddleware(app), scope=dict(scope), body=b"in"))
    assert seen[0] == seen[1]
    assert (plain.status, plain.body) == (traced.status, traced.body)
    assert traced.headers[: len(sent)] == plain.headers
    assert {name for name, _ in traced.headers[len(sent) :]} <= {b"x-trace-id"}
