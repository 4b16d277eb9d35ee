"""The door for FastAPI, beside its native telemetry, inside and outside of the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Body, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.telemetry import get_telemetry_data
from opentelemetry._logs import LogRecord
from opentelemetry.context import get_current
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route

import tracemw
from calls import Answer, ask, carrying, http_scope
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Meters, Recorded
from servers import uvicorn_serving, wait_until
from tracemw import asgi, starlette
from tracemw.fastapi import TraceMiddleware

Install = Callable[..., Any]


def inside(app: Any, **options: Any) -> Any:
    app.add_middleware(TraceMiddleware, **options)
    return app


def outside(app: Any, **options: Any) -> Any:
    return TraceMiddleware(app, **options)


@pytest.fixture(params=[inside, outside])
def install(request: pytest.FixtureRequest) -> Install:
    function: Install = request.param
    return function


async def session() -> AsyncIterator[str]:
    with tracemw.span("session"):
        yield tracemw.current_trace_id() or ""


async def starlette_hello(request: Request) -> Response:
    return PlainTextResponse("hello")


def shop(*, only_fastapi: bool = False, **options: Any) -> FastAPI:
    """An application with routes of every kind, and with Starlette's routers in it unless `only_fastapi`."""
    app = FastAPI(**options)

    @app.get("/checkout/{order_id}")
    async def checkout(order_id: int) -> dict[str, int]:
        return {"order": order_id}

    @app.get("/thread")
    def thread() -> str | None:
        with tracemw.span("in thread"):
            return tracemw.current_trace_id()

    @app.get("/boom")
    async def boom() -> None:
        raise ValueError("boom")

    @app.get("/missing")
    async def missing() -> None:
        raise HTTPException(404)

    @app.get("/broken")
    async def broken() -> None:
        raise HTTPException(503)

    @app.get("/health")
    async def health() -> str:
        return "ok"

    items = APIRouter(prefix="/items")

    @items.get("/{item_id}")
    async def item(item_id: str) -> str:
        return item_id

    nested = APIRouter(prefix="/v1/{version}")
    nested.include_router(items)
    app.include_router(items)
    app.include_router(nested, prefix="/api")

    inner = FastAPI()

    @inner.get("/leaf/{leaf}")
    async def leaf(leaf: str) -> str:
        return leaf

    inner.include_router(nested, prefix="/deep")
    if not only_fastapi:
        inner.mount("/starlette/{x}", Starlette(routes=[Route("/end/{y}", starlette_hello)]))
    app.mount("/sub", inner)
    app.mount("/subs/{name}", inner)
    if not only_fastapi:
        app.mount(
            "/plain", Starlette(routes=[Mount("/{x}", routes=[Route("/end/{y}", starlette_hello)]), Mount("/f", inner)])
        )

    @app.websocket("/chat/{room}")
    async def chat(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.close()

    return app


ROUTES = [
    ("/checkout/7", "/checkout/{order_id}"),
    ("/checkout/seven", "/checkout/{order_id}"),
    ("/items/7", "/items/{item_id}"),
    ("/api/v1/2/items/7", "/api/v1/{version}/items/{item_id}"),
    ("/sub/leaf/1", "/sub/leaf/{leaf}"),
    ("/subs/a/leaf/1", "/subs/{name}/leaf/{leaf}"),
    ("/subs/a/deep/v1/2/items/7", "/subs/{name}/deep/v1/{version}/items/{item_id}"),
    ("/subs/a/none", "/subs/{name}/{path}"),
    ("/openapi.json", "/openapi.json"),
]
STARLETTE_ROUTES = [
    ("/subs/a/starlette/b/end/c", "/subs/{name}/starlette/{x}/end/{y}"),
    ("/plain/a/end/c", "/plain/{x}/end/{y}"),
    ("/plain/f/leaf/1", "/plain/{x}/{path}"),
]


class TestTheRoute:
    @pytest.mark.parametrize(
        ("path", "route", "only_fastapi"),
        [*((*case, False) for case in ROUTES + STARLETTE_ROUTES), *((*case, True) for case in ROUTES)],
    )
    async def test_is_the_complete_template(
        self, recorded: Recorded, install: Install, path: str, route: str, *, only_fastapi: bool
    ) -> None:
        await ask(install(shop(only_fastapi=only_fastapi)), path)
        assert recorded.server.name == f"GET {route}"
        assert (recorded.server.attributes or {})["http.route"] == route
        assert (recorded.server.attributes or {})["url.path"] == path

    async def test_is_known_in_an_application_that_is_mounted_within_itself(
        self, recorded: Recorded, install: Install
    ) -> None:
        app = shop(only_fastapi=True)
        app.mount("/v1", app)
        assert (await ask(install(app), "/v1/v1/items/7")).status == 200
        assert recorded.server.name == "GET /v1/v1/items/{item_id}"

    @pytest.mark.parametrize("install", [inside, outside, starlette.TraceMiddleware])
    async def test_is_complete_in_a_starlette_application_that_holds_a_fastapi_one(
        self, recorded: Recorded, install: Install
    ) -> None:
        app = install(Starlette(routes=[Mount("/shops/{shop}", inside(shop()))]))
        await ask(app, "/shops/a/api/v1/2/items/7")
        await ask(app, "/shops/a/sub/leaf/1")
        assert [span.name for span in recorded.all] == [
            "GET /shops/{shop}/api/v1/{version}/items/{item_id}",
            "GET /shops/{shop}/sub/leaf/{leaf}",
        ]

    async def test_leaves_out_a_prefix_that_it_cannot_know(self, recorded: Recorded, install: Install) -> None:
        await ask(Starlette(routes=[Mount("/shops/{shop}", install(shop()))]), "/shops/a/items/7")
        assert recorded.server.name == "GET /items/{item_id}"

    @pytest.mark.parametrize("path", ["/none", "/sub"])
    async def test_is_left_out_when_nothing_matched(self, recorded: Recorded, install: Install, path: str) -> None:
        app = FastAPI()
        assert (await ask(install(app), path)).status == 404
        assert recorded.server.name == "GET"
        assert recorded.server.status.status_code is StatusCode.UNSET

    async def test_of_a_slash_redirect_is_no_concrete_path(self, recorded: Recorded, install: Install) -> None:
        assert (await ask(install(shop()), "/items/7/")).status == 307
        assert recorded.server.name in ("GET", "GET /items/{item_id}")

    async def test_is_known_for_a_method_that_is_not_allowed(self, recorded: Recorded, install: Install) -> None:
        assert (await ask(install(shop()), "/checkout/7", method="DELETE")).status == 405
        assert recorded.server.name == "DELETE /checkout/{order_id}"
        assert recorded.server.status.status_code is StatusCode.UNSET

    async def test_is_not_known_for_a_preflight_that_cors_answers(self, recorded: Recorded) -> None:
        app = shop()
        app.add_middleware(CORSMiddleware, allow_origins=["*"])
        headers = [(b"origin", b"https://shop.example"), (b"access-control-request-method", b"GET")]
        assert (await ask(inside(app), "/checkout/7", method="OPTIONS", headers=headers)).status == 200
        assert recorded.server.name == "OPTIONS"

    @pytest.mark.parametrize("path", ["/items/7", "/api/items/7"])
    async def test_holds_the_applications_root_path_once(self, recorded: Recorded, install: Install, path: str) -> None:
        own = shop()
        own.root_path = "/api"  # what the deprecated argument of that name sets
        app = install(own)
        assert (await ask(app, path)).status == 200
        assert (await ask(app, "/api/subs/a/leaf/1")).status == 200
        assert [span.name for span in recorded.all] == [
            "GET /api/items/{item_id}",
            "GET /api/subs/{name}/leaf/{leaf}",
        ]

    def test_holds_the_servers_root_path_once(self, recorded: Recorded, install: Install) -> None:
        with uvicorn_serving(install(shop()), root_path="/api") as url:
            assert httpx.get(f"{url}/subs/a/deep/v1/2/items/7").status_code == 200
            wait_until(lambda: recorded.all)
        assert recorded.server.name == "GET /api/subs/{name}/deep/v1/{version}/items/{item_id}"
        assert (recorded.server.attributes or {})["url.path"] == "/api/subs/a/deep/v1/2/items/7"

    async def test_of_a_websocket_is_known(self, recorded: Recorded, install: Install) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {**http_scope("/chat/lobby"), "type": "websocket", "scheme": "ws", "subprotocols": []}
        await install(shop())(scope, receive, send)
        assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
        assert recorded.server.name == "GET /chat/{room}"


class TestErrors:
    @pytest.mark.parametrize(("path", "status"), [("/checkout/seven", 422), ("/missing", 404)])
    async def test_below_500_are_none(self, recorded: Recorded, install: Install, path: str, status: int) -> None:
        assert (await ask(install(shop()), path)).status == status
        assert recorded.server.status.status_code is StatusCode.UNSET
        assert recorded.server.events == ()
        assert "error.type" not in (recorded.server.attributes or {})

    async def test_that_are_raised_as_answers_have_no_exception(self, recorded: Recorded, install: Install) -> None:
        assert (await ask(install(shop()), "/broken")).status == 503
        assert (recorded.server.attributes or {})["error.type"] == "503"
        assert recorded.server.status.status_code is StatusCode.ERROR
        assert recorded.server.events == ()

    async def test_that_nothing_handles_are_one_exception_and_a_500(self, recorded: Recorded, install: Install) -> None:
        answer = Answer()
        with pytest.raises(ValueError, match="boom"):
            await ask(install(shop()), "/boom", answer=answer)
        assert answer.status == 500
        attributes = recorded.server.attributes or {}
        assert recorded.server.name == "GET /boom"
        assert attributes["http.response.status_code"] == 500
        assert attributes["error.type"] == "500"
        (event,) = recorded.server.events
        assert (event.attributes or {})["exception.type"] == "ValueError"

    async def test_that_the_application_handles_count_by_their_answer(
        self, recorded: Recorded, install: Install
    ) -> None:
        app = shop()

        @app.exception_handler(ValueError)
        async def teapot(request: Request, error: Exception) -> Response:
            return PlainTextResponse(tracemw.current_trace_id() or "", 418)

        answer = await ask(install(app), "/boom", headers=carrying(TRACEPARENT))
        assert (answer.status, answer.body) == (418, TRACE_ID.encode())
        assert recorded.server.status.status_code is StatusCode.UNSET


class TestTheSpan:
    async def test_reaches_threads_and_dependencies(self, recorded: Recorded, install: Install) -> None:
        app = shop()

        @app.get("/session")
        async def with_session(session: Annotated[str, Depends(session)]) -> str:
            return session

        traced = install(app)
        assert (await ask(traced, "/thread", headers=carrying(TRACEPARENT))).body == f'"{TRACE_ID}"'.encode()
        assert recorded.named("in thread").context.trace_id == recorded.server.context.trace_id
        recorded.clear()
        assert (await ask(traced, "/session", headers=carrying(TRACEPARENT))).body == f'"{TRACE_ID}"'.encode()
        parent = recorded.named("session").parent
        assert parent is not None
        assert parent.span_id == recorded.server.context.span_id

    async def test_ends_before_background_tasks(self, recorded: Recorded, install: Install) -> None:
        app = FastAPI()

        async def mail() -> None:
            assert len(recorded.of_kind(SpanKind.SERVER)) == 1
            with tracemw.span("mail.send"):
                await asyncio.sleep(0)

        @app.get("/order")
        async def order(tasks: BackgroundTasks) -> str:
            tasks.add_task(mail)
            return "ordered"

        await ask(install(app), "/order")
        assert recorded.named("mail.send").context.trace_id == recorded.server.context.trace_id

    def test_covers_a_stream(self, recorded: Recorded, install: Install) -> None:
        app = FastAPI()

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                with tracemw.span("chunk"):
                    yield b"x"
                assert not recorded.of_kind(SpanKind.SERVER)

        @app.get("/stream")
        async def stream() -> StreamingResponse:
            return StreamingResponse(chunks())

        with uvicorn_serving(install(app)) as url:
            assert httpx.get(f"{url}/stream").content == b"xxx"
            wait_until(lambda: recorded.of_kind(SpanKind.SERVER))
        assert [span.name for span in recorded.all] == ["chunk"] * 3 + ["GET /stream"]
        assert len({span.context.trace_id for span in recorded.all}) == 1

    async def test_is_never_mixed_up_with_that_of_a_request_beside_it(
        self, recorded: Recorded, install: Install
    ) -> None:
        inner = FastAPI()

        @inner.get("/{number}")
        async def item(number: int) -> Response:
            await asyncio.sleep(number % 7 / 1000)
            return PlainTextResponse(status_code=200 + number % 300)

        app = FastAPI()
        app.mount("/{kind}/a", inner)
        router = APIRouter(prefix="/{kind}/b")
        router.add_api_route("/x/{number}", item)
        app.include_router(router)
        traced = install(app)
        answers = await asyncio.gather(
            *(
                ask(
                    traced,
                    f"/k{n}/a/{n}" if n % 2 else f"/k{n}/b/x/{n}",
                    headers=carrying(f"00-{n + 1:032x}-{PARENT_ID}-01"),
                )
                for n in range(300)
            )
        )
        assert [answer.header(b"x-trace-id") for answer in answers] == [f"{n + 1:032x}".encode() for n in range(300)]
        spans = recorded.of_kind(SpanKind.SERVER)
        assert len(spans) == 300
        for span in spans:
            number = span.context.trace_id - 1
            assert span.name == ("GET /{kind}/a/{number}" if number % 2 else "GET /{kind}/b/x/{number}")
            assert (span.attributes or {})["http.response.status_code"] == 200 + number % 300


class Hiding:
    """A middleware that keeps what it wraps to itself."""

    def __init__(self, app: Any) -> None:
        self._wrapped = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._wrapped(scope, receive, send)


def hidden(app: FastAPI) -> FastAPI:
    """Add the door in a way that neither the application nor the door can tell to whom it belongs."""
    app.add_middleware(lambda app: TraceMiddleware(Hiding(app)))
    return app


class TestBesideNativeTelemetry:
    def test_it_is_on_when_nobody_switches_it_off(self, recorded: Recorded) -> None:
        asyncio.run(ask(shop(), "/checkout/7"))
        assert recorded.server.instrumentation_scope is not None
        assert recorded.server.instrumentation_scope.name == "fastapi"

    @pytest.mark.parametrize("lifespan", ["on", "off"])
    def test_there_is_one_span_from_the_first_request_on(
        self, recorded: Recorded, install: Install, lifespan: Any
    ) -> None:
        with uvicorn_serving(install(shop()), lifespan=lifespan) as url:
            for path in ("/checkout/7", "/sub/leaf/1", "/checkout/7"):
                assert httpx.get(url + path).status_code == 200
            wait_until(lambda: len(recorded.all) >= 3)
        assert [span.name for span in recorded.all] == [
            "GET /checkout/{order_id}",
            "GET /sub/leaf/{leaf}",
            "GET /checkout/{order_id}",
        ]
        assert {span.kind for span in recorded.all} == {SpanKind.SERVER}
        assert {span.instrumentation_scope and span.instrumentation_scope.name for span in recorded.all} == {"tracemw"}

    async def test_there_is_one_span_when_the_plain_door_stands_outside(self, recorded: Recorded) -> None:
        assert (await ask(asgi.TraceMiddleware(shop()), "/checkout/7")).status == 200
        assert [span.name for span in recorded.all] == ["GET"]

    async def test_there_is_one_span_when_installed_inside_and_outside(self, recorded: Recorded) -> None:
        app = shop()
        app.mount("/again", inside(outside(inside(shop())).app))
        traced = outside(inside(app))
        await ask(traced, "/again/items/7")
        await ask(asgi.TraceMiddleware(traced), "/items/7")
        assert [span.name for span in recorded.all] == ["GET /again/items/{item_id}", "GET /items/{item_id}"]

    async def test_there_is_none_for_a_health_check(self, recorded: Recorded, install: Install) -> None:
        answer = await ask(install(shop()), "/health")
        assert answer.status == 200
        assert answer.header(b"x-trace-id") is None
        assert not recorded.all

    async def test_a_request_that_its_exclude_names_is_skipped_whole(
        self, recorded: Recorded, logged: Logged, meters: Meters, install: Install
    ) -> None:
        telemetry = {"logger_provider": logged.provider, "meter_provider": meters.provider}
        app = shop(telemetry={"exclude": lambda scope: scope["path"] == "/checkout/seven", **telemetry})
        traced = install(app, skip="/thread")
        assert (await ask(traced, "/checkout/seven")).status == 422
        assert not recorded.all
        assert not logged.all
        assert not meters.points("http.server.request.duration")
        await ask(traced, "/thread")
        assert not recorded.all
        assert (await ask(traced, "/checkout/eight")).status == 422
        assert recorded.server.name == "GET /checkout/{order_id}"
        assert [record.event_name for record in logged.all] == ["fastapi.validation.failed"]

    async def test_an_exclude_that_raises_skips_no_request(self, recorded: Recorded) -> None:
        def exclude(scope: Any) -> bool:
            raise KeyError("app")

        assert (await ask(outside(shop(telemetry={"exclude": exclude})), "/checkout/7")).status == 200
        assert recorded.server.name == "GET /checkout/{order_id}"

    @pytest.mark.parametrize("around", [lambda app: app, lambda app: TraceMiddleware(app)])
    async def test_a_door_without_providers_takes_those_of_the_native_telemetry(
        self, recorded: Recorded, install: Install, around: Callable[[Any], Any], meters: Meters
    ) -> None:
        own, memory = memory_provider()
        app = shop(telemetry={"tracer_provider": own, "meter_provider": meters.provider})
        await ask(around(install(app)), "/checkout/7")
        assert [span.name for span in memory.get_finished_spans()] == ["GET /checkout/{order_id}"]
        (point,) = meters.points("http.server.request.duration")
        assert point.attributes["http.route"] == "/checkout/{order_id}"
        assert not recorded.all

    async def test_a_door_with_providers_of_its_own_keeps_them(self, recorded: Recorded, install: Install) -> None:
        given, unused = memory_provider()
        own, memory = memory_provider()
        metered = MeterProvider(shutdown_on_exit=False)
        app = shop(telemetry={"tracer_provider": given, "meter_provider": MeterProvider(shutdown_on_exit=False)})
        await ask(install(app, tracer_provider=own, meter_provider=metered), "/checkout/7")
        assert [span.name for span in memory.get_finished_spans()] == ["GET /checkout/{order_id}"]
        assert unused.get_finished_spans() == ()
        assert not recorded.all

    async def test_a_native_span_that_is_there_already_is_taken_over_once(self, recorded: Recorded) -> None:
        app = FastAPI()

        @app.get("/checkout/{order_id}")
        async def checkout(order_id: int) -> None:
            tracemw.annotate(**{"order.id": order_id})

        traced = hidden(app)
        answers = [await ask(traced, "/checkout/7", headers=headers) for headers in ([], carrying(TRACEPARENT))]
        first, second = recorded.of_kind(SpanKind.SERVER)
        assert first.instrumentation_scope is not None
        assert first.instrumentation_scope.name == "fastapi"
        assert second.instrumentation_scope is not None
        assert second.instrumentation_scope.name == "tracemw"
        for answer, span in zip(answers, (first, second), strict=True):
            assert span.name == "GET /checkout/{order_id}"
            assert (span.attributes or {})["order.id"] == 7
            assert answer.header(b"x-trace-id") == f"{span.context.trace_id:032x}".encode()

    async def test_a_native_span_with_a_remote_parent_is_taken_over_too(self, recorded: Recorded) -> None:
        await ask(hidden(shop()), "/checkout/7", headers=carrying(TRACEPARENT))
        assert recorded.server.name == "GET /checkout/{order_id}"

    async def test_a_native_span_that_is_not_recorded_does_not_take_the_route(self, recorded: Recorded) -> None:
        quiet = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
        await ask(hidden(shop(telemetry={"tracer_provider": quiet})), "/sub/leaf/1")
        assert recorded.server.name == "GET /sub/leaf/{leaf}"

    async def test_there_is_one_duration_metric_and_it_has_the_complete_route(
        self, recorded: Recorded, install: Install
    ) -> None:
        reader = InMemoryMetricReader()
        metrics = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
        app = install(shop(telemetry={"meter_provider": metrics}), meter_provider=metrics)
        await ask(app, "/root/subs/a/deep/v1/2/items/7", root_path="/root")
        await ask(app, "/root/checkout/7", root_path="/root")
        assert sorted(routes(reader)) == [
            "/root/checkout/{order_id}",
            "/root/subs/{name}/deep/v1/{version}/items/{item_id}",
        ]
        assert len(recorded.all) == 2

    @pytest.mark.parametrize("lifespan", ["on", "off"])
    def test_configuring_it_from_the_environment_adds_no_second_exporter(
        self,
        recorded: Recorded,
        provider: TracerProvider,
        install: Install,
        lifespan: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
        added: list[Any] = []
        monkeypatch.setattr(provider, "add_span_processor", added.append)
        with uvicorn_serving(install(shop()), lifespan=lifespan) as url:
            assert httpx.get(f"{url}/checkout/7").status_code == 200
            wait_until(lambda: recorded.all)
        assert added == []
        assert len(recorded.all) == 1


def memory_provider() -> tuple[TracerProvider, InMemorySpanExporter]:
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return provider, memory


class Logged:
    """What FastAPI's native telemetry has logged."""

    def __init__(self) -> None:
        self._memory = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._memory))

    @property
    def all(self) -> list[LogRecord]:
        return [log.log_record for log in self._memory.get_finished_logs()]


@pytest.fixture
def logged() -> Iterator[Logged]:
    made = Logged()
    yield made
    made.provider.shutdown()


class TestNativeLogRecords:
    @pytest.mark.parametrize(
        ("path", "event", "raised"),
        [
            ("/checkout/seven", "fastapi.validation.failed", None),
            ("/boom", "http.server.request.exception", ValueError),
            ("/sub/boom", "http.server.request.exception", KeyError),
        ],
    )
    @pytest.mark.parametrize("only_fastapi", [True, False])
    async def test_are_written_once_and_in_the_trace(
        self,
        recorded: Recorded,
        logged: Logged,
        install: Install,
        path: str,
        event: str,
        raised: Any,
        only_fastapi: bool,
    ) -> None:
        app = shop(only_fastapi=only_fastapi, telemetry={"logger_provider": logged.provider})
        sub: Any = next(route.app for route in app.routes if isinstance(route, Mount) and route.path == "/sub")

        async def boom() -> None:
            raise KeyError("boom")

        sub.add_api_route("/boom", boom)
        with pytest.raises(raised) if raised else nullcontext():
            await ask(install(app), path)
        (record,) = logged.all
        assert record.event_name == event
        assert (record.trace_id, record.span_id) == (recorded.server.context.trace_id, recorded.server.context.span_id)
        assert (record.attributes or {})["http.route"] == (recorded.server.attributes or {})["http.route"]

    async def test_tell_of_a_handler_that_raises(self, recorded: Recorded, logged: Logged, install: Install) -> None:
        async def broken(request: Request, error: Exception) -> Response:
            raise TypeError("handler")

        app = shop(telemetry={"logger_provider": logged.provider}, exception_handlers={Exception: broken})
        with pytest.raises(TypeError):
            await ask(install(app), "/boom")
        assert [(record.attributes or {})["exception.type"] for record in logged.all] == ["ValueError", "TypeError"]
        assert {record.trace_id for record in logged.all} == {recorded.server.context.trace_id}

    async def test_are_not_written_where_the_application_wants_none(
        self, recorded: Recorded, logged: Logged, install: Install
    ) -> None:
        app = shop(telemetry={"logger_provider": logged.provider, "logs": False})
        assert (await ask(install(app), "/checkout/seven")).status == 422
        assert not logged.all
        assert recorded.server.name == "GET /checkout/{order_id}"

    async def test_are_written_for_requests_that_are_not_traced(self, logged: Logged, install: Install) -> None:
        app = shop(telemetry={"logger_provider": logged.provider})
        with pytest.raises(ValueError, match="boom"):
            await ask(install(app, skip="/boom"), "/boom")
        assert [record.event_name for record in logged.all] == ["http.server.request.exception"]

    async def test_leave_the_route_as_it_is_beneath_a_root_path(
        self, recorded: Recorded, logged: Logged, install: Install
    ) -> None:
        app = shop(only_fastapi=True, telemetry={"logger_provider": logged.provider})
        await ask(install(app), "/api/sub/leaf/1", root_path="/api")
        assert recorded.server.name == "GET /api/sub/leaf/{leaf}"


class TestTelemetryData:
    @pytest.mark.parametrize("logs", [True, False])
    @pytest.mark.parametrize("only_fastapi", [True, False])
    @pytest.mark.parametrize("around", [lambda app: app, asgi.TraceMiddleware, starlette.TraceMiddleware])
    async def test_is_there_as_long_as_the_request_is_served(
        self, recorded: Recorded, logged: Logged, install: Install, logs: bool, only_fastapi: bool, around: Any
    ) -> None:
        app = shop(only_fastapi=only_fastapi, telemetry={"logger_provider": logged.provider} if logs else None)
        seen: list[Any] = []
        context: list[Any] = []

        @app.post("/orders/{order_id}")
        async def order(request: Request, order_id: int, item: Annotated[str, Body(embed=True)]) -> None:
            data = get_telemetry_data()
            assert data is not None
            seen.append((data.request is request, data.body, data.values))
            context.append(get_current())

        headers = [(b"content-type", b"application/json")]
        answer = await ask(around(install(app)), "/orders/7", method="POST", headers=headers, body=b'{"item": "tea"}')
        assert answer.status == 200
        ((is_request, body, values),) = seen
        assert is_request
        assert body == {"item": "tea"}
        assert values["order_id"] == 7
        assert get_telemetry_data(context[0]) is None
        assert recorded.server.name in ("POST /orders/{order_id}", "POST")

    async def test_is_that_of_the_request_and_not_of_one_beside_it(self, install: Install) -> None:
        app = FastAPI()
        both = asyncio.Event()

        @app.get("/{number}")
        async def number(request: Request, number: int) -> int:
            if number:
                both.set()
            await both.wait()
            data = get_telemetry_data()
            assert data is not None
            assert data.request is request
            return (data.values or {})["number"]  # type: ignore[no-any-return]

        traced = install(app)
        answers = await asyncio.gather(ask(traced, "/0"), ask(traced, "/1"))
        assert [answer.body for answer in answers] == [b"0", b"1"]

    async def test_of_a_websocket_is_there_too(self, recorded: Recorded, install: Install) -> None:
        app = FastAPI()
        seen: list[Any] = []

        @app.websocket("/chat")
        async def chat(websocket: WebSocket) -> None:
            data = get_telemetry_data()
            seen.append(data is not None and data.websocket is websocket)
            await websocket.accept()
            await websocket.close()

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            pass

        scope = {**http_scope("/chat"), "type": "websocket", "scheme": "ws", "subprotocols": []}
        await install(app)(scope, receive, send)
        assert seen == [True]


def routes(reader: InMemoryMetricReader) -> Iterator[Any]:
    data = reader.get_metrics_data()
    assert data is not None
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name == "http.server.request.duration":
                    for point in metric.data.data_points:
                        assert isinstance(point, HistogramDataPoint)
                        yield (point.attributes or {})["http.route"]
