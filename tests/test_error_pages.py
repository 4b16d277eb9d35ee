"""Exceptions that Starlette and FastAPI answer outside of all middleware: the span says what they answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.opentelemetry import OpenTelemetryMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

import tracemw
from calls import Answer, ask, carrying
from conftest import TRACE_ID, TRACEPARENT, Recorded
from servers import uvicorn_serving, wait_until
from tracemw import asgi, starlette

try:
    import fastapi
except ImportError:  # it is not among the packages under test
    fastapi = None  # type: ignore[assignment]

Make = Callable[..., Any]


def starlette_app(**options: Any) -> Starlette:
    return Starlette(**options)


def fastapi_app(**options: Any) -> Starlette:
    app: Starlette = fastapi.FastAPI(openapi_url=None, **options)
    return app


FRAMEWORKS = [
    pytest.param((starlette_app, "starlette"), id="starlette"),
    pytest.param(
        (fastapi_app, "fastapi"), id="fastapi", marks=pytest.mark.skipif(fastapi is None, reason="FastAPI is not there")
    ),
]


class Framework:
    """One framework, and the ways to have its door around an application."""

    def __init__(self, make: Make, door: str) -> None:
        self.make = make
        self.door: Any = getattr(tracemw, door).TraceMiddleware

    def shop(self, **options: Any) -> Starlette:
        routes = [Route("/boom", boom), Route("/half", half), Route("/refused", refused)]
        app: Starlette = self.make(routes=routes, **options)
        return app

    def inside(self, app: Starlette) -> Any:
        app.add_middleware(self.door)
        return app

    def beneath_others(self, app: Starlette) -> Any:
        app.add_middleware(self.door)
        app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
        app.add_middleware(GZipMiddleware)
        return app

    def above_others(self, app: Starlette) -> Any:
        app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
        app.add_middleware(self.door)
        return app

    def outside(self, app: Starlette) -> Any:
        return self.door(app)

    def outside_of_others(self, app: Starlette) -> Any:
        app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
        return self.door(app)

    def twice(self, app: Starlette) -> Any:
        return self.door(self.inside(app))


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    return Framework(*request.param)


@pytest.fixture(params=["inside", "beneath_others", "above_others", "outside", "outside_of_others", "twice"])
def install(request: pytest.FixtureRequest, framework: Framework) -> Make:
    function: Make = getattr(framework, request.param)
    return function


async def boom(request: Request) -> Response:
    raise ValueError("boom")


async def refused(request: Request) -> Response:
    raise HTTPException(409)


async def half(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        raise ValueError("boom")

    return StreamingResponse(chunks())


async def passing(request: Request, call_next: Any) -> Any:
    return await call_next(request)


async def sorry(request: Request, error: Exception) -> Response:
    with tracemw.span("sorry"):
        return JSONResponse({"trace": tracemw.current_trace_id()}, 503)


def sorry_in_a_thread(request: Request, error: Exception) -> Response:
    with tracemw.span("sorry"):
        return JSONResponse({"trace": tracemw.current_trace_id()}, 503)


def status_of(recorded: Recorded) -> object:
    return (recorded.server.attributes or {}).get("http.response.status_code")


@pytest.mark.parametrize("key", [Exception, 500])
@pytest.mark.parametrize("handler", [sorry, sorry_in_a_thread])
async def test_a_handler_for_every_exception_runs_in_the_trace_and_its_status_counts(
    framework: Framework, install: Make, recorded: Recorded, key: Any, handler: Any
) -> None:
    app = install(framework.shop(exception_handlers={key: handler}))
    for _ in range(2):  # from the very first request
        recorded.clear()
        answer = Answer()
        with pytest.raises(ValueError, match="boom"):
            await ask(app, "/boom", answer=answer, headers=carrying(TRACEPARENT))
        assert answer.status == status_of(recorded) == 503
        assert answer.body == f'{{"trace":"{TRACE_ID}"}}'.encode()
        assert answer.header(b"x-trace-id") == TRACE_ID.encode()
        assert recorded.named("sorry").parent == recorded.server.context
        assert (recorded.server.attributes or {})["error.type"] == "503"
        assert [(event.attributes or {})["exception.type"] for event in recorded.server.events] == ["ValueError"]
        assert recorded.server.name == "GET /boom"


@pytest.mark.parametrize("debug", [False, True])
async def test_the_frameworks_own_page_tells_the_trace_id(
    framework: Framework, install: Make, recorded: Recorded, debug: bool
) -> None:
    answer = Answer()
    with pytest.raises(ValueError, match="boom"):
        await ask(install(framework.shop(debug=debug)), "/boom", answer=answer, headers=carrying(TRACEPARENT))
    assert answer.status == status_of(recorded) == 500
    assert answer.header(b"x-trace-id") == TRACE_ID.encode()
    assert len(recorded.server.events) == 1


async def test_a_middleware_that_answers_the_exception_is_in_the_trace_and_its_status_counts(
    framework: Framework, install: Make, recorded: Recorded
) -> None:
    async def catching(request: Request, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except ValueError:
            return JSONResponse({"trace": tracemw.current_trace_id()}, 502)

    app = framework.shop()
    traced = install(app)
    app.add_middleware(BaseHTTPMiddleware, dispatch=catching)
    answer = await ask(traced, "/boom", headers=carrying(TRACEPARENT))
    assert answer.status == status_of(recorded) == 502
    assert answer.body == f'{{"trace":"{TRACE_ID}"}}'.encode()
    assert answer.header(b"x-trace-id") == TRACE_ID.encode()


async def test_a_request_that_never_gets_past_another_middleware_is_traced(
    framework: Framework, install: Make, recorded: Recorded
) -> None:
    async def refusing(request: Request, call_next: Any) -> Any:
        return PlainTextResponse(tracemw.current_trace_id(), 401)

    app = framework.shop()
    traced = install(app)
    app.add_middleware(BaseHTTPMiddleware, dispatch=refusing)
    answer = await ask(traced, "/boom", headers=carrying(TRACEPARENT))
    assert answer.status == status_of(recorded) == 401
    assert answer.body == TRACE_ID.encode()
    assert recorded.server.status.status_code is StatusCode.UNSET


async def test_a_handler_that_raises_leaves_both_exceptions(
    framework: Framework, install: Make, recorded: Recorded
) -> None:
    async def broken(request: Request, error: Exception) -> Response:
        raise KeyError("handler") from error

    with pytest.raises(KeyError):
        await ask(install(framework.shop(exception_handlers={Exception: broken})), "/boom")
    assert status_of(recorded) == 500  # the server's own
    assert "ValueError: boom" in str((recorded.server.events[-1].attributes or {})["exception.stacktrace"])
    assert recorded.server.status.status_code is StatusCode.ERROR


async def test_after_the_headers_the_handler_changes_nothing(
    framework: Framework, install: Make, recorded: Recorded
) -> None:
    answer = Answer()
    with pytest.raises((ValueError, ExceptionGroup)):
        await ask(install(framework.shop(exception_handlers={Exception: sorry})), "/half", answer=answer)
    assert answer.status == status_of(recorded) == 200
    assert recorded.named("sorry").parent == recorded.server.context
    assert recorded.server.status.status_code is StatusCode.ERROR
    assert len(recorded.server.events) == 1


async def test_a_stream_that_the_handler_answers_with_is_covered_to_its_end(
    framework: Framework, install: Make, recorded: Recorded
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(3):
            assert not recorded.all or recorded.all[-1].name.startswith("chunk")
            with tracemw.span(f"chunk {number}"):
                yield b"x"

    async def streaming(request: Request, error: Exception) -> Response:
        return StreamingResponse(chunks(), 503)

    with pytest.raises(ValueError, match="boom"):
        await ask(install(framework.shop(exception_handlers={Exception: streaming})), "/boom")
    assert status_of(recorded) == 503
    assert {span.context.trace_id for span in recorded.all} == {recorded.server.context.trace_id}
    assert (recorded.server.end_time or 0) >= (recorded.named("chunk 2").end_time or 0)


@pytest.mark.parametrize("where", ["application", "mounted"])
async def test_handlers_of_a_mounted_application_count_where_they_answer(
    framework: Framework, install: Make, recorded: Recorded, where: str
) -> None:
    handlers: dict[str, Any] = {"application": {}, "mounted": {}}
    handlers[where] = {ValueError: sorry}
    mounted = framework.shop(exception_handlers=handlers["mounted"])
    app = install(framework.make(routes=[Mount("/sub", mounted)], exception_handlers=handlers["application"]))
    answer = Answer()
    if where == "mounted":
        await ask(app, "/sub/boom", answer=answer)
        assert recorded.server.events == ()
    else:  # the mounted application has answered already
        with pytest.raises(RuntimeError, match="response already started"):
            await ask(app, "/sub/boom", answer=answer)
    assert answer.status == status_of(recorded) == (503 if where == "mounted" else 500)
    assert recorded.server.name == "GET /sub/boom"


async def test_a_door_in_a_mounted_application_says_what_that_answers(framework: Framework, recorded: Recorded) -> None:
    mounted = framework.inside(framework.shop(exception_handlers={Exception: sorry}))
    answer = Answer()
    with pytest.raises(ValueError, match="boom"):
        await ask(framework.make(routes=[Mount("/sub", mounted)]), "/sub/boom", answer=answer)
    assert answer.status == status_of(recorded) == 503
    assert recorded.named("sorry").parent == recorded.server.context


async def test_a_refusal_is_no_error(framework: Framework, install: Make, recorded: Recorded) -> None:
    assert (await ask(install(framework.shop(exception_handlers={Exception: sorry})), "/refused")).status == 409
    assert recorded.server.status.status_code is StatusCode.UNSET


async def test_a_class_that_builds_its_layers_itself_has_the_door_around_them(
    framework: Framework, recorded: Recorded
) -> None:
    kind = type(framework.shop())

    class Own(kind):  # type: ignore[valid-type, misc]
        def build_middleware_stack(self) -> Any:
            return BaseHTTPMiddleware(super().build_middleware_stack(), dispatch=passing)

    app = Own(routes=[Route("/boom", boom)], exception_handlers={Exception: sorry})
    answer = Answer()
    with pytest.raises(ValueError, match="boom"):
        await ask(framework.inside(app), "/boom", answer=answer)
    assert answer.status == status_of(recorded) == 503


async def test_middleware_that_was_added_stays_in_the_applications_list(framework: Framework) -> None:
    app = framework.beneath_others(framework.shop())
    before = list(app.user_middleware)
    await ask(app, "/refused")
    assert app.user_middleware == before
    assert framework.door in [layer.cls for layer in app.user_middleware]


def test_an_application_without_a_door_is_built_as_ever(framework: Framework) -> None:
    app = framework.shop(middleware=[Middleware(GZipMiddleware)])
    stack: Any = app.build_middleware_stack()
    layers = []
    while stack is not app.router:
        layers.append(type(stack))
        stack = stack.app
    assert not [layer for layer in layers if issubclass(layer, asgi.TraceMiddleware)]
    assert GZipMiddleware in layers


def test_a_real_client_gets_the_handlers_page_with_the_trace_id(
    framework: Framework, install: Make, recorded: Recorded
) -> None:
    app = install(framework.shop(exception_handlers={Exception: sorry}))
    with uvicorn_serving(app) as url:
        response = httpx.get(f"{url}/boom", headers={"traceparent": TRACEPARENT})
        wait_until(lambda: len(recorded.all) == 2)
    assert response.status_code == status_of(recorded) == 503
    assert response.json() == {"trace": TRACE_ID}
    assert response.headers["x-trace-id"] == TRACE_ID


async def test_providers_given_to_starlettes_own_middleware_are_taken_over(recorded: Recorded) -> None:
    for install in (lambda app: (app.add_middleware(starlette.TraceMiddleware), app)[1], starlette.TraceMiddleware):
        memory = InMemorySpanExporter()
        own = TracerProvider(shutdown_on_exit=False)
        own.add_span_processor(SimpleSpanProcessor(memory))
        app = Starlette(routes=[Route("/refused", refused)])
        app.add_middleware(OpenTelemetryMiddleware, tracer_provider=own)
        await ask(install(app), "/refused")
        assert [(span.name, span.kind.name) for span in memory.get_finished_spans()] == [("GET /refused", "SERVER")]
        assert not recorded.all
