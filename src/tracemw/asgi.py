"""The door for any ASGI application: `app = TraceMiddleware(app)`.

One SERVER span per HTTP request or WebSocket connection. Frameworks whose routes are known have doors of their own:
`tracemw.starlette` and `tracemw.fastapi`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, Unpack

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tracemw._http.exchange import ServerExchange
from tracemw._http.facts import RequestFacts
from tracemw._http.request import ServerRequest
from tracemw._http.server import ServerTracing
from tracemw._http.settings import ServerOptions, ServerSettings
from tracemw._otel.context import attach, current_context, detach
from tracemw._otel.guard import fault

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[Any]]

_EXCHANGE: Final = "tracemw.exchange"
_BODIES: Final = frozenset({"http.response.body", "http.response.zerocopysend"})
_UNPAUSED: Final = 16_384
"""Bytes of a body for which no server pauses reading; uvicorn does from 64 KiB on."""


class TraceMiddleware:
    """Trace the requests to an ASGI application.

    Args:
        app: The application to wrap.
        **options: See `tracemw.ServerOptions`.

    Raises:
        TypeError: for an unknown option, or an application that is none.
        ValueError: for an option with a value that cannot work.
    """

    def __init__(self, app: ASGIApp, **options: Unpack[ServerOptions]) -> None:
        if not callable(app):
            raise TypeError(f"tracemw.asgi.TraceMiddleware takes an ASGI application, not {app!r}")
        self.app = app
        self._tracing = ServerTracing(**options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve one ASGI connection."""
        kind = scope.get("type")
        if kind == "lifespan":
            return await self.app(scope, receive, self._flushing(send))
        if kind not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        outer = scope.get(_EXCHANGE)
        if isinstance(outer, ServerExchange):
            return await self._serve_within(outer, scope, receive, send)
        try:
            request = _Request(scope, self._tracing.settings)
        except Exception as error:
            fault("asgi._Request", error)
            return await self.app(scope, receive, send)
        exchange = (_Response if kind == "http" else _WebSocket)(receive, send)
        begun, returned, token, given = None, False, None, scope
        # Both begin before anything else does: where a `try` begins, no other catches an interrupt.
        try:
            try:
                begun = self._tracing.begin(exchange, request)
                if begun is None:
                    return await self.app(scope, receive, send)
                scope[_EXCHANGE] = begun
                # The frameworks' native telemetry leaves a request alone that carries its own keys.
                scope.setdefault("starlette.opentelemetry", True)
                scope.setdefault("fastapi.telemetry")
                scope = self._observed(scope, begun)
                if begun is not exchange:  # that of a WSGI application around this one, which watches the response
                    return await self.app(scope, receive, send)
                if kind == "websocket":
                    exchange.lasts()
                exchange.context = self.enter(scope, exchange.context)
                token = attach(exchange.context)
                result = await self.app(scope, exchange.receive, exchange.send)
                returned = True
                return result
            except BaseException as error:
                if begun is exchange:
                    self.escaped(scope, exchange, error)
                raise
            finally:
                if begun is exchange:
                    if exchange.is_open:
                        exchange.finish(returned=returned)
                    if token is not None:
                        detach(token, exchange.context)
                    self.leave(scope)
                    # A server's channels lead to its scope: what leads from there to the exchange, which has the
                    # channels, would leave all that there is of the request to the garbage collector.
                    given.pop(_EXCHANGE, None)
        finally:
            exchange.depart()

    async def _serve_within(self, outer: ServerExchange, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve a request that has passed through another door already: this one may know its route."""
        scope = self._observed(scope, outer)
        here = current_context()
        context = self.enter(scope, here)
        if context is here:
            return await self.app(scope, receive, send)
        token = None
        try:
            token = attach(context)
            return await self.app(scope, receive, send)
        finally:
            if token is not None:
                detach(token, context)
            self.leave(scope)

    def _observed(self, scope: Scope, exchange: ServerExchange) -> Scope:
        try:
            return self.observe(scope, exchange)
        except Exception as error:
            fault("asgi.TraceMiddleware.observe", error)
            return scope

    def take_over(self, *, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        """Use providers that a framework's native telemetry was given, unless the options have named others."""
        self._tracing.take_over(tracer_provider=tracer_provider, meter_provider=meter_provider)

    def observe(self, scope: Scope, exchange: ServerExchange) -> Scope:
        """Return the scope for the application; doors that know routes override this to learn the route."""
        del exchange
        return scope

    def enter(self, scope: Scope, context: Context) -> Context:
        """Return the context for the application; doors whose framework looks for something in it override this."""
        del scope
        return context

    def leave(self, scope: Scope) -> None:
        """Let go of what `observe` and `enter` have put into the scope, now that the application has returned."""

    def escaped(self, scope: Scope, exchange: ServerExchange, error: BaseException) -> None:
        """Note an exception that the application let escape; doors that know who answers it override this."""
        del scope
        exchange.failure(error)

    def _flushing(self, send: Send) -> Send:
        # Servers such as uvicorn end by re-raising the signal that stopped them, so that atexit never runs: the end
        # of the lifespan is the last chance to deliver what is queued.
        async def flush_then_send(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                try:
                    asyncio.get_running_loop()
                except RuntimeError:  # another event loop's server, such as trio's: it has nothing else left to do
                    self._tracing.flush()
                else:
                    await asyncio.to_thread(self._tracing.flush)
            await send(message)

        return flush_then_send


def exchange_of(scope: Scope) -> ServerExchange | None:
    """Return the exchange of the request that `scope` belongs to, as long as it is being served."""
    found = scope.get(_EXCHANGE)
    return found if isinstance(found, ServerExchange) else None


class _Exchange(ServerExchange):
    """One connection being served, between the two channels that the server gave for it."""

    protocol = "asgi"

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    def _refused(self, error: BaseException) -> None:
        """Note what a channel of the server has raised: an operating system's error is the connection's end."""
        # uvloop's transports have another exception for it, which servers may let pass.
        is_closed = isinstance(error, OSError) or (type(error) is RuntimeError and "handler is closed" in str(error))
        if self.client_has_gone or is_closed:
            self.gone(error)

    def _answered(self, message: Message, status: Any) -> Message:
        """Note how the application answers, and return its message with the header that tells the trace id."""
        if self.status is not None:  # a second answer, which servers refuse: the first is what the client has
            return message
        try:
            self.answered(None if status is None else int(status))
            if self.held is not None:
                self.held.answered()
            header, captures = self.response_header, self.settings.captures_response
            if header is None and not captures:
                return message
            # ASGI allows any iterable, so it may be one that can be read only once; and some servers take str as well.
            headers = list(message.get("headers") or ())
            message = {**message, "headers": headers}
            if captures and self.is_open:
                self.capture(_Headers(headers))
            if header is not None:
                name, value = header
                size = len(name)
                for present, _ in headers:
                    if len(present) == size and present.lower() in (name.encode(), name):
                        break
                else:
                    headers.append((name.encode(), value.encode()))
        except Exception as error:
            fault("asgi._Exchange._answered", error)
        return message


class _Response(_Exchange):
    """One HTTP request being served, watched for its response and its end."""

    status_of_silence = 500
    _has_begun = False
    """Whether the application has sent a part of the body."""
    _trailers: Any = False
    """Whether the response ends with trailers, as the application has said it."""
    _may_be_paused = True
    """Whether the server may have paused reading: for a body that the application has not read, or a large part."""
    _ended_at: int | None = None

    async def receive(self) -> Message:
        # In the context that the server has called the door in: one that resumes reading from the connection has its
        # event loop keep the current context for whatever comes in on it later, the next requests included.
        token = attach(self.around)
        try:
            message = await self._receive()
        except Exception as error:
            self._refused(error)
            raise
        finally:
            detach(token, self.around)
        kind = message["type"]
        if kind == "http.disconnect":
            self.gone()
        else:
            self._may_be_paused = bool(message.get("more_body")) or len(message.get("body") or b"") > _UNPAUSED
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        is_body = kind in _BODIES
        if is_body:
            is_last = not (self._trailers or message.get("more_body"))
        elif kind == "http.response.start":
            message = self._answered(message, message.get("status"))
            self._trailers = message.get("trailers")
            is_last = False
        else:
            is_last = kind == "http.response.pathsend" or (
                kind == "http.response.trailers" and not message.get("more_trailers")
            )
        try:
            if not is_last:
                await self._send(message)
                if is_body:
                    self._has_begun = True
                return
            # What the server does now may be for the next request already, in this context.
            self.is_over = True
            if self.request.method == "GET" or not self._may_be_paused:
                await self._send(message)
            else:  # as in `receive`; only then, since some servers write their access log now, with the trace's id
                token = attach(self.around)
                try:
                    await self._send(message)
                finally:
                    detach(token, self.around)
        except Exception as error:
            self._refused(error)
            raise
        if self.is_open:
            # The span ends here and not when the application returns, which may have background work to do. After a 5xx
            # the exception behind it may still come: an error page is sent first, then the exception raised again.
            if self.server_error is not None:
                self._ended_at = self.now()
            else:
                self.end()

    def finish(self, *, returned: bool) -> None:
        """End what the last byte of the response has not ended."""
        if not self.client_has_gone:
            if not (returned or self._has_begun or self.is_over) and _delays_the_head(self._send):
                self.answered(None)
            self.unanswered()
        incomplete = returned and self._ended_at is None and not self.client_has_gone
        self.end(at=self._ended_at, incomplete=incomplete)


def _delays_the_head(send: Send) -> bool:
    """Tell whether a server sends the head of a response with the first part of its body, and a 500 if none comes.

    The specification has it so, and most servers send it at once.
    """
    return type(getattr(send, "__self__", None)).__module__.startswith("granian.")


class _WebSocket(_Exchange):
    """One WebSocket connection being served, watched for its handshake and its close."""

    async def receive(self) -> Message:
        token = attach(self.around)  # as above
        try:
            message = await self._receive()
        except Exception as error:
            self._refused(error)
            raise
        finally:
            detach(token, self.around)
        if message["type"] == "websocket.disconnect":
            self.annotate("websocket.close_code", message.get("code", 1005))
            self.gone()
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            message = self._answered(message, 101)
        elif kind == "websocket.http.response.start":
            message = self._answered(message, message.get("status"))
        elif kind == "websocket.close":
            if self.client_has_gone:
                pass  # it has closed the connection itself, or never come to have one
            elif self.status is None:
                self.answered(403)  # what a server answers to a handshake that the application denies
            else:
                self.annotate("websocket.close_code", message.get("code", 1000))
        try:
            await self._send(message)
        except Exception as error:
            self._refused(error)
            raise

    def finish(self, *, returned: bool) -> None:
        del returned  # an application may leave the closing of a WebSocket to the server
        self.unanswered()
        self.end()


class _Headers:
    """The headers of an ASGI message."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def get(self, name: str, /) -> list[str]:
        wanted = name.encode("latin-1")
        return [value.decode("latin-1") for key, value in self._raw if key.lower() == wanted]

    def keys(self) -> list[str]:
        return [key.decode("latin-1") for key, _ in self._raw]


class _Request(ServerRequest):
    """A request's scope as it was when the request arrived: what stands within may change the scope itself."""

    def __init__(self, scope: Scope, settings: ServerSettings) -> None:
        raw = scope.get("headers") or ()
        if not isinstance(raw, (list, tuple)):  # any iterable is allowed, so one that can be read only once
            raw = scope["headers"] = list(raw)
        by_name = dict(reversed(raw))  # the first of those with the same name counts
        if b"host" not in by_name:  # names are in lower case, as ASGI says, or the server is another
            by_name = {name.lower(): value for name, value in reversed(raw)}
        self._by_name = by_name
        self._all = None if len(by_name) == len(raw) else tuple(raw)  # some names come more than once
        self._scope = dict(scope)
        self.settings = settings
        self.method = scope.get("method") or "GET"
        self.path = scope.get("path") or ""
        self.carries_context = b"traceparent" in by_name or b"baggage" in by_name
        self.mounts = _mounts(scope) if scope.get("root_path") else ()

    def get(self, name: str, /) -> list[str]:
        wanted = name.encode("latin-1")
        if self._all is not None:
            return [value.decode("latin-1") for key, value in self._all if key.lower() == wanted]
        value = self._by_name.get(wanted)
        return [] if value is None else [value.decode("latin-1")]

    def keys(self) -> list[str]:
        return [key.decode("latin-1") for key in self._by_name]

    def read(self) -> RequestFacts:
        scope, by_name = self._scope, self._by_name
        query = scope.get("query_string")
        server, peer = scope.get("server"), scope.get("client")
        host, agent = by_name.get(b"host"), by_name.get(b"user-agent")
        scheme = scope.get("scheme") or "http"
        if scope["type"] == "websocket" and scheme in ("http", "https"):  # some servers give that of the handshake
            scheme = scheme.replace("http", "ws")
        return _new_facts(
            RequestFacts,
            (
                self.method,
                self.path,
                query.decode("utf-8", "replace") if query else "",
                scheme,
                self,
                scope.get("http_version"),
                (server[0], server[1]) if server else None,
                (peer[0], peer[1]) if peer else None,
                None,
                None if host is None else host.decode("latin-1"),
                None if agent is None else agent.decode("latin-1"),
            ),
        )


def _mounts(scope: Scope) -> tuple[str, ...]:
    # The second is of Starlette's, whose mounts add to the root path.
    return tuple(path for path in (scope.get("root_path"), scope.get("app_root_path")) if isinstance(path, str))


_new_facts: Final = tuple.__new__  # without the frame that a named tuple's constructor takes
