"""The server doors behind the same few verbs: each adapter says the one `Service` in its framework's words."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import io
import wsgiref.simple_server
import wsgiref.util
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, ClassVar

import falcon
import falcon.asgi
import flask
import litestar
import pytest
from litestar.background_tasks import BackgroundTask as LitestarBackgroundTask
from litestar.exceptions import LitestarException
from litestar.response import File, Stream
from litestar.response.base import ASGIResponse
from opentelemetry import context as otel_context
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import calls
import tracemw.asgi
import tracemw.falcon
import tracemw.flask
import tracemw.litestar
import tracemw.starlette
import tracemw.wsgi
from conformance.service import Endpoint, Incoming, Reply, Service
from servers import socketserver_serving, uvicorn_serving

Headers = list[tuple[str, str]]
"""Headers of a request or a response, as latin-1 strings."""

ADDRESS = ("127.0.0.1", 8000)
PEER = ("192.0.2.7", 40000)


@dataclass
class Answer:
    """What a server got from the application for one request."""

    status: int | None = None
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    error: BaseException | None = None
    messages: list[Any] = field(default_factory=list)
    """What an ASGI application sent."""
    context_kept: bool = True
    """Whether the server's OpenTelemetry context was afterwards what it had been before."""

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def without(self, name: str) -> tuple[Any, ...]:
        """All that matters to a caller, but for one header."""
        headers = [(key.lower(), value) for key, value in self.headers if key.lower() != name]
        return self.status, headers, self.body, repr(self.error)


class Door:
    """One server door as the tests use it."""

    name: ClassVar[str]
    servers: ClassVar[Mapping[str, tuple[str, ...]]]
    """Real servers: their names, and the arguments of `python` that run one; `{port}` and `{app}` are filled in."""
    lacks: ClassVar[Mapping[str, str]]
    """The features that the protocol has not, each with the clause that says so."""
    status_of_a_crash: ClassVar[int | None] = None
    """What the framework itself answers for an exception that nothing handles; a bare protocol leaves it to servers."""
    file_wrapper: ClassVar[str]

    def needs(self, feature: str) -> None:
        """Leave a hole in the table when the door's protocol has not the feature that a case is about."""
        if feature in self.lacks:
            pytest.skip(self.lacks[feature])

    def application(self, service: Service) -> Any:
        """Make the framework's application that serves `service`."""
        raise NotImplementedError

    def around(self, app: Any) -> Any:
        """Make the framework's application that hands every request to `app`, one of the bare protocol."""
        raise NotImplementedError

    def silent(self) -> Any:
        """Make an application of the bare protocol that returns without a response."""
        raise NotImplementedError

    def failing_page(self, error: Exception) -> Any:
        """Make an application of the bare protocol that sends a 500 page and then raises `error`."""
        raise NotImplementedError

    def mounting(self, prefix: str, app: Any) -> Any:
        """Make the framework's application that has another one of its kind mounted at `prefix`."""
        raise NotImplementedError

    def install(self, app: Any, **options: Any) -> Any:
        """Trace an application in the way that its framework's users do."""
        raise NotImplementedError

    def wrap(self, app: Any, **options: Any) -> Any:
        """Trace an application from outside."""
        raise NotImplementedError

    def ask(
        self,
        app: Any,
        path: str = "/ok",
        *,
        method: str = "GET",
        query: bytes = b"",
        headers: Headers | None = None,
        host: str | None = "shop.example",
        root: str = "",
        server: tuple[str, int | str | None] | None = ADDRESS,
        client: tuple[str, int] | None = PEER,
    ) -> Answer:
        """Make one request as a server would, in this process; `path` begins after `root`, where the app is mounted."""
        raise NotImplementedError

    def serving(self, app: Any) -> AbstractContextManager[str]:
        """Serve an application from a thread of this process and give its base URL."""
        raise NotImplementedError

    def template(self, template: str) -> str:
        """Return the template of a route as the framework writes it."""
        return template

    def traced(self, service: Service, **options: Any) -> Any:
        return self.install(self.application(service), **options)


_ASGI_HAS_NO = {
    "iterable": "ASGI: the application sends its body in http.response.body messages; no iterable is given to a server",
    "restart": "ASGI: http.response.start is sent once, and there is no exc_info that would replace it",
    "write": "ASGI: there is no write() callable beside send()",
    "threads": "ASGI: one coroutine serves a connection; no server moves it to another thread",
    "garbage port": "ASGI: the port in scope['server'] is an integer or None",
}
_WSGI_HAS_NO = {
    "websocket": "PEP 3333 has no WebSocket",
    "lifespan": "PEP 3333 tells an application nothing of the server's start and end",
    "scopes": "PEP 3333 knows no connections but HTTP requests",
    "extensions": "PEP 3333 has no messages, so none that an extension could add",
    "trailers": "PEP 3333 has no trailers: all headers go to start_response",
    "cancellation": "PEP 3333: an application is a synchronous callable, which nothing cancels",
    "disconnect": "PEP 3333 tells an application of no disconnect but by close()",
}


class ASGIDoor(Door):
    name = "asgi"
    servers: ClassVar = {"uvicorn": ("-m", "uvicorn", "--port", "{port}", "--log-level", "error", "{app}")}
    lacks: ClassVar[Mapping[str, str]] = {
        **_ASGI_HAS_NO,
        "route": "ASGI has no field for a route, and without a router there is none",
    }
    door: ClassVar[type[tracemw.asgi.TraceMiddleware]] = tracemw.asgi.TraceMiddleware

    def application(self, service: Service) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await _lifespan(receive, send)
                return
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            seen = repr((scope["path"], scope["query_string"], scope["headers"]))
            await _send(await run_in_threadpool(service.find, path, seen), receive, send, scope.get("extensions", {}))

        return app

    def around(self, app: Any) -> Any:
        return app

    def silent(self) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            pass

        return app

    def failing_page(self, error: Exception) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"page"})
            raise error

        return app

    def mounting(self, prefix: str, app: Any) -> Any:
        async def outer(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "root_path": scope.get("root_path", "") + prefix}, receive, send)

        return outer

    def install(self, app: Any, **options: Any) -> Any:
        return self.door(app, **options)

    def wrap(self, app: Any, **options: Any) -> Any:
        return self.door(app, **options)

    def ask(
        self,
        app: Any,
        path: str = "/ok",
        *,
        method: str = "GET",
        query: bytes = b"",
        headers: Headers | None = None,
        host: str | None = "shop.example",
        root: str = "",
        server: Any = ADDRESS,
        client: Any = PEER,
    ) -> Answer:
        sent = [*([("host", host)] if host is not None else []), *(headers or [])]
        scope = calls.http_scope(
            root + path,
            method=method,
            query=query,
            root_path=root,
            server=server,
            client=client,
            extensions={"http.response.pathsend": {}},
        )
        scope["raw_path"] = scope["path"].encode("utf-8", "surrogateescape")
        scope["headers"] = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in sent]
        return asyncio.run(self.ask_scope(app, scope))

    async def ask_scope(self, app: Any, scope: dict[str, Any]) -> Answer:
        """Make the request of a scope, within a running event loop."""
        answer = Answer()
        incoming = [{"type": "http.disconnect"}, {"type": "http.request", "body": b""}]
        complete = asyncio.Event()

        async def receive() -> Any:
            if len(incoming) < 2:
                await complete.wait()  # the client stays: ASGI tells of a disconnect once the response is out
            return incoming.pop() if len(incoming) == 2 else incoming[0]

        async def send(message: Any) -> None:
            answer.messages.append(message)
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                pairs = message.get("headers", ())
                answer.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
            elif message["type"] == "http.response.pathsend":
                answer.body += await run_in_threadpool(Path(message["path"]).read_bytes)
            else:
                answer.body += message.get("body", b"")
            if message["type"] != "http.response.start" and not message.get("more_body"):
                complete.set()

        before = otel_context.get_current()
        try:
            await app(scope, receive, send)
        except Exception as error:
            answer.error = error
        answer.context_kept = otel_context.get_current() is before
        return answer

    def serving(self, app: Any) -> AbstractContextManager[str]:
        return uvicorn_serving(app)


async def _lifespan(receive: Any, send: Any) -> None:
    while (kind := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": f"{kind}.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(reply: Reply, receive: Any, send: Any, extensions: Any) -> None:
    headers = [(name.encode(), value.encode()) for name, value in reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if isinstance(reply.body, Path) and "http.response.pathsend" in extensions:
        await send({"type": "http.response.pathsend", "path": str(reply.body)})
    elif isinstance(reply.body, bytes | Path):
        body = reply.body if isinstance(reply.body, bytes) else await run_in_threadpool(reply.body.read_bytes)
        await send({"type": "http.response.body", "body": body})
    else:
        gone = asyncio.create_task(_gone(receive))
        try:
            while not gone.done() and (chunk := await run_in_threadpool(next, reply.body, None)) is not None:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            gone.cancel()
        await send({"type": "http.response.body"})
    if reply.afterwards is not None:
        await run_in_threadpool(reply.afterwards)


def _starlette_endpoint(endpoint: Endpoint) -> Any:
    def respond(request: Request) -> Response:
        seen = repr((request.scope["path"], request.scope["query_string"], request.headers.raw))
        reply = endpoint(Incoming(request.path_params, seen))
        background = BackgroundTask(reply.afterwards) if reply.afterwards is not None else None
        response: Response
        if isinstance(reply.body, bytes):
            response = Response(reply.body, reply.status, background=background)
        elif isinstance(reply.body, Path):
            response = FileResponse(reply.body)
        else:
            response = StreamingResponse(reply.body, reply.status)
        for name, value in reply.headers:
            response.headers.append(name, value)
        return response

    return respond


class StarletteDoor(ASGIDoor):
    name = "starlette"
    lacks: ClassVar = {
        **_ASGI_HAS_NO,
        "scopes": "Starlette's router takes http, websocket and lifespan scopes and no others",
    }
    status_of_a_crash = 500
    door = tracemw.starlette.TraceMiddleware

    def application(self, service: Service) -> Any:
        routes: list[Route] = []
        mounted: list[Route] = []
        for template, endpoint in service.endpoints.items():
            if template.startswith(service.PREFIX):
                mounted.append(Route(template.removeprefix(service.PREFIX), _starlette_endpoint(endpoint)))
            else:
                routes.append(Route(template, _starlette_endpoint(endpoint)))
        return Starlette(routes=[*routes, Mount(service.PREFIX, routes=mounted)])

    def around(self, app: Any) -> Any:
        return self.mounting("", app)

    def mounting(self, prefix: str, app: Any) -> Any:
        return Starlette(routes=[Mount(prefix, app)])

    def install(self, app: Any, **options: Any) -> Any:
        app.add_middleware(self.door, **options)
        return app


class FastAPIDoor(StarletteDoor):
    name = "fastapi"

    def __init__(self) -> None:
        import tracemw.fastapi

        self.door = tracemw.fastapi.TraceMiddleware  # type: ignore[misc]  # only where FastAPI is installed

    def application(self, service: Service) -> Any:
        from fastapi import APIRouter, FastAPI

        app = FastAPI()
        router = APIRouter(prefix=service.PREFIX)
        for template, endpoint in service.endpoints.items():
            if template.startswith(service.PREFIX):
                router.add_api_route(template.removeprefix(service.PREFIX), _starlette_endpoint(endpoint))
            else:
                app.add_api_route(template, _starlette_endpoint(endpoint))
        app.include_router(router)
        return app

    def mounting(self, prefix: str, app: Any) -> Any:
        from fastapi import FastAPI

        outer = FastAPI(openapi_url=None)
        outer.mount(prefix, app)
        return outer


def _litestar_endpoint(endpoint: Endpoint) -> Any:
    async def respond(request: litestar.Request[Any, Any, Any]) -> Any:
        seen = repr((request.scope["path"], request.scope["query_string"], request.scope["headers"]))
        reply = await run_in_threadpool(endpoint, Incoming(request.path_params, seen))
        if isinstance(reply.body, Path):
            return File(reply.body)
        if not isinstance(reply.body, bytes):
            return Stream(reply.body, status_code=reply.status)
        return _LitestarResponse(reply.body, reply)

    return respond


class _LitestarResponse(litestar.Response[bytes]):
    """A response that may have several headers of one name, which Litestar keeps by name until it sends them."""

    def __init__(self, body: bytes, reply: Reply) -> None:
        super().__init__(body)
        self._reply = reply

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        reply = self._reply
        work = LitestarBackgroundTask(reply.afterwards) if reply.afterwards is not None else None
        return ASGIResponse(body=self.content, status_code=reply.status, headers=reply.headers, background=work)


class LitestarDoor(ASGIDoor):
    name = "litestar"
    lacks: ClassVar = {
        **_ASGI_HAS_NO,
        "scopes": "Litestar's router takes http, websocket and lifespan scopes and no others",
    }
    status_of_a_crash = 500

    def application(self, service: Service) -> Any:
        prefix = _litestar_path(service.PREFIX)
        routes: list[Any] = []
        mounted: list[Any] = []
        for template, endpoint in service.endpoints.items():
            part = mounted if template.startswith(service.PREFIX) else routes
            path = _litestar_path(template.removeprefix(service.PREFIX))
            part.append(litestar.get(path)(_litestar_endpoint(endpoint)))
        return _litestar(*routes, litestar.Router(prefix, route_handlers=mounted))

    def around(self, app: Any) -> Any:
        return self.mounting("/", app)

    def mounting(self, prefix: str, app: Any) -> Any:
        async def mounted(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        return _litestar(litestar.asgi(prefix, is_mount=True, copy_scope=True)(mounted))

    def install(self, app: Any, **options: Any) -> Any:
        tracemw.litestar.TraceMiddleware(app, **options)
        return app

    async def ask_scope(self, app: Any, scope: dict[str, Any]) -> Answer:
        answer = await super().ask_scope(app, scope)
        while type(answer.error) is LitestarException:  # once a response has begun, each layer wraps its exception
            answer.error = answer.error.__cause__
        return answer


def _litestar(*routes: Any) -> litestar.Litestar:
    return litestar.Litestar(routes, openapi_config=None, logging_config=None)


def _litestar_path(template: str) -> str:
    return template.replace("}", ":str}")


class FalconDoor(ASGIDoor):
    name = "falcon"
    lacks: ClassVar = {
        **_ASGI_HAS_NO,
        "raw query": "ASGI: query_string is percent-encoded; Falcon decodes it before it handles exceptions",
        "scopes": "Falcon takes http, websocket and lifespan scopes and no others",
    }
    status_of_a_crash = 500

    def application(self, service: Service) -> Any:
        app: Any = _FalconBeneathARoot(response_type=_FalconASGIResponse)
        for template, endpoint in service.endpoints.items():
            app.add_route(template, _FalconASGIResource(endpoint, is_endless=template == "/endless"))
        return app

    def around(self, app: Any) -> Any:
        return self.mounting("", app)

    def mounting(self, prefix: str, app: Any) -> Any:
        """Make an application that hands on requests in its `__call__`: Falcon has no mounts."""
        mount = ASGIDoor.mounting(self, prefix, app) if prefix else app

        class Outer(falcon.asgi.App):  # type: ignore[type-arg]
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # type: ignore[override]  # as Falcon
                await mount(scope, receive, send)

        return Outer()

    def install(self, app: Any, **options: Any) -> Any:
        tracemw.falcon.TraceMiddleware(app, **options)
        return app

    async def ask_scope(self, app: Any, scope: dict[str, Any]) -> Answer:
        answer = await super().ask_scope(app, scope)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others)  # Falcon schedules what is to be done after a response, and does not wait for it
        return answer


class _FalconBeneathARoot(falcon.asgi.App):  # type: ignore[type-arg]
    """An application that may have a root path, which Falcon does not take from the path by itself."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # type: ignore[override]  # as Falcon does
        if scope["type"] == "http":
            scope = {**scope, "path": scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))}
        await super().__call__(scope, receive, send)


class _FalconASGIResponse(falcon.asgi.Response):
    """A response that may have several headers of one name, which Falcon joins."""

    def _asgi_headers(self, media_type: str | None = None) -> Any:
        more = [(name.encode(), value.encode()) for name, value in getattr(self.context, "more", ())]
        return [*super()._asgi_headers(media_type), *more]


class _FalconWSGIResponse(falcon.Response):
    """The same for WSGI."""

    def _wsgi_headers(self, media_type: str | None = None) -> Any:
        return [*super()._wsgi_headers(media_type), *getattr(self.context, "more", ())]


class _FalconStream:
    """A body that is made while it is sent, for Falcon on ASGI."""

    def __init__(self, body: Any) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await run_in_threadpool(next, self._body, None)) is not None:
            yield chunk

    async def close(self) -> None:
        self._body.close()


class _FalconEvent(falcon.asgi.SSEvent):
    """A chunk as it is. In server-sent events, Falcon sees that a client has gone; a stream it sends to its end."""

    def serialize(self, handler: Any = None) -> bytes:
        return (self.text or "").encode()


class _FalconASGIResource:
    """One endpoint of the service."""

    def __init__(self, endpoint: Endpoint, *, is_endless: bool) -> None:
        self._endpoint = endpoint
        self._is_endless = is_endless

    async def on_get(self, req: Any, resp: Any, **params: str) -> None:
        seen = repr((req.scope["path"], req.scope["query_string"], req.scope["headers"]))
        reply = await run_in_threadpool(self._endpoint, Incoming(params, seen))
        resp.status, resp.context.more = reply.status, reply.headers
        if isinstance(reply.body, Path):
            resp.data = await run_in_threadpool(reply.body.read_bytes)
        elif isinstance(reply.body, bytes):
            resp.data = reply.body
        elif self._is_endless:
            resp.sse = (_FalconEvent(text=chunk.decode()) async for chunk in _FalconStream(reply.body))
        else:
            resp.stream = _FalconStream(reply.body)
        if reply.afterwards is not None:
            resp.schedule(functools.partial(run_in_threadpool, reply.afterwards))


class _FalconWSGIResource:
    """The same for WSGI."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def on_get(self, req: Any, resp: Any, **params: str) -> None:
        reply = self._endpoint(Incoming(params, repr((req.path, req.query_string, sorted(req.headers.items())))))
        resp.status, resp.context.more = reply.status, reply.headers
        if isinstance(reply.body, Path):
            resp.stream = reply.body.open("rb")
        elif reply.afterwards is not None:
            resp.stream = _ClosingBody([reply.body], reply.afterwards)
        elif isinstance(reply.body, bytes):
            resp.data = reply.body
        else:
            resp.stream = reply.body


_GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "critical", "{app}", "--worker-class")


class WSGIDoor(Door):
    name = "wsgi"
    servers: ClassVar = {"gunicorn-sync": (*_GUNICORN, "sync"), "gunicorn-gthread": (*_GUNICORN, "gthread")}
    lacks: ClassVar[Mapping[str, str]] = {
        **_WSGI_HAS_NO,
        "route": "PEP 3333 has no environ key for a route, and without a router there is none",
    }

    def application(self, service: Service) -> Any:
        def app(environ: Any, start_response: Any) -> Any:
            sent = sorted((key, value) for key, value in environ.items() if key.startswith("HTTP_"))
            seen = repr((environ["PATH_INFO"], environ["QUERY_STRING"], sent))
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
            reply = service.find(path, seen)
            start_response(f"{reply.status} Status", list(reply.headers))
            if isinstance(reply.body, Path):
                return environ["wsgi.file_wrapper"](reply.body.open("rb"))
            if reply.afterwards is not None:
                return _ClosingBody([reply.body], reply.afterwards)
            return [reply.body] if isinstance(reply.body, bytes) else reply.body

        return app

    def around(self, app: Any) -> Any:
        return app

    def silent(self) -> Any:
        return lambda environ, start_response: []

    def failing_page(self, error: Exception) -> Any:
        def app(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("500 Internal Server Error", [])
            yield b"page"
            raise error

        return app

    def mounting(self, prefix: str, app: Any) -> Any:
        return DispatcherMiddleware(self.application(Service()), {prefix: app})

    def install(self, app: Any, **options: Any) -> Any:
        return tracemw.wsgi.TraceMiddleware(app, **options)

    def wrap(self, app: Any, **options: Any) -> Any:
        return tracemw.wsgi.TraceMiddleware(app, **options)

    def environ(
        self,
        path: str = "/ok",
        *,
        method: str = "GET",
        query: bytes = b"",
        headers: Headers | None = None,
        host: str | None = "shop.example",
        root: str = "",
        server: Any = ADDRESS,
        client: Any = PEER,
    ) -> dict[str, Any]:
        """Make the environ of a request: bytes are tunnelled through latin-1, headers of one name joined."""
        joined: dict[str, str] = {}
        for name, value in headers or []:
            joined[name.lower()] = f"{joined[name.lower()]},{value}" if name.lower() in joined else value
        made = calls.environ(
            path.encode("utf-8", "surrogateescape").decode("latin-1"),
            method=method,
            query=query.decode("latin-1"),
            headers=joined,
            **{"SCRIPT_NAME": root, "wsgi.file_wrapper": wsgiref.util.FileWrapper},
        )
        known = {
            "HTTP_HOST": host,
            "SERVER_NAME": server[0] if server else None,
            "SERVER_PORT": str(server[1] or "") if server else None,
            "REMOTE_ADDR": client[0] if client else None,
            "REMOTE_PORT": str(client[1]) if client else None,
        }
        made.update(known)
        return {key: value for key, value in made.items() if value is not None}

    def ask(self, app: Any, path: str = "/ok", **request: Any) -> Answer:
        answer, server = Answer(), calls.WSGIServer()
        before = otel_context.get_current()
        body: Any = None
        try:
            body = app(self.environ(path, **request), server.start_response)
            for chunk in body:
                answer.body += chunk
        except Exception as error:
            answer.error = error
        finally:
            if hasattr(body, "close"):
                body.close()
        answer.context_kept = otel_context.get_current() is before
        answer.body = server.body + answer.body
        answer.status = int(server.status[:3]) if server.status else None
        answer.headers = server.headers
        return answer

    def serving(self, app: Any) -> AbstractContextManager[str]:
        server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, _ThreadingServer, _QuietHandler)
        return socketserver_serving(server)


class _ThreadingServer(ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _QuietHandler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def get_stderr(self) -> Any:
        return io.StringIO()


class _ClosingBody(list[Any]):
    """A body that does its application's work after the response when the server closes it."""

    def __init__(self, chunks: list[Any], close: Any) -> None:
        super().__init__(chunks)
        self.close = close


def _flask_endpoint(endpoint: Endpoint) -> Any:
    def respond(**params: str) -> flask.Response:
        request = flask.request
        seen = repr((request.path, request.query_string, sorted(request.headers)))
        reply = endpoint(Incoming(params, seen))
        if isinstance(reply.body, Path):
            return flask.send_file(reply.body)
        response = flask.Response(reply.body, reply.status)
        for name, value in reply.headers:
            response.headers.add(name, value)
        if reply.afterwards is not None:
            response.call_on_close(reply.afterwards)
        return response

    return respond


class FlaskDoor(WSGIDoor):
    name = "flask"
    lacks: ClassVar = _WSGI_HAS_NO
    status_of_a_crash = 500

    def application(self, service: Service) -> Any:
        app = flask.Flask("service")
        mounted = flask.Blueprint("mounted", "service", url_prefix=self.template(service.PREFIX))
        for template, endpoint in service.endpoints.items():
            part = mounted if template.startswith(service.PREFIX) else app
            rule = self.template(template.removeprefix(service.PREFIX))
            part.add_url_rule(rule, rule.replace("/", "_"), _flask_endpoint(endpoint))
        app.register_blueprint(mounted)
        return app

    def around(self, app: Any) -> Any:
        outer = flask.Flask("outer")
        outer.wsgi_app = app  # type: ignore[method-assign]  # the way that Flask's documentation tells
        return outer

    def mounting(self, prefix: str, app: Any) -> Any:
        outer = flask.Flask("outer")
        return self.around(DispatcherMiddleware(outer.wsgi_app, {prefix: app}))

    def install(self, app: Any, **options: Any) -> Any:
        tracemw.flask.TraceMiddleware(app, **options)
        return app

    def template(self, template: str) -> str:
        return template.replace("{", "<").replace("}", ">")


class FalconWSGIDoor(WSGIDoor):
    name = "falcon-wsgi"
    lacks: ClassVar = _WSGI_HAS_NO
    status_of_a_crash = 500

    def application(self, service: Service) -> Any:
        app: Any = falcon.App(response_type=_FalconWSGIResponse)
        for template, endpoint in service.endpoints.items():
            app.add_route(template, _FalconWSGIResource(endpoint))
        return app

    def around(self, app: Any) -> Any:
        class Outer(falcon.App):  # type: ignore[type-arg]
            def __call__(self, environ: Any, start_response: Any) -> Any:
                return app(environ, start_response)

        return Outer()

    def mounting(self, prefix: str, app: Any) -> Any:
        """Make an application that hands on requests in its `__call__`: Falcon has no mounts."""
        return self.around(DispatcherMiddleware(falcon.App(), {prefix: app}))

    def install(self, app: Any, **options: Any) -> Any:
        tracemw.falcon.TraceMiddleware(app, **options)
        return app


_KINDS: tuple[type[Door], ...] = (
    *(ASGIDoor, StarletteDoor, FastAPIDoor, LitestarDoor, FalconDoor, WSGIDoor, FlaskDoor, FalconWSGIDoor),
)
DOORS: dict[str, type[Door]] = {
    kind.name: kind for kind in _KINDS if kind is not FastAPIDoor or importlib.util.find_spec("fastapi") is not None
}
