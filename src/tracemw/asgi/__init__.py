"""The door for any ASGI application: `app = TraceMiddleware(app)`.

One SERVER span per HTTP request or WebSocket connection. Starlette, FastAPI, Litestar and Falcon have doors of their
own, which know the routes: `tracemw.starlette`, `tracemw.fastapi`, `tracemw.litestar` and `tracemw.falcon`.

The way of a request through this room, one module per step:

1. This module: the middleware finds out whether the request is traced already, begins its exchange, and calls the
   application.
2. `_scope.py`: the scope is read as the facts of the request; it is copied if they are made later.
3. `_channels.py`: the two channels are watched for the response and its end.

`_types.py` has the types of ASGI 3.
"""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop  # its public name raises where there is no loop of asyncio, under trio say
from collections.abc import Callable
from typing import Any, Final, Unpack, cast

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tracemw._http.exchange import ServerExchange
from tracemw._http.options import refuse_other_kind
from tracemw._http.server import ServerTracing
from tracemw._http.settings import ServerOptions, shows_options
from tracemw._otel.context import attach, current_context, detach
from tracemw._otel.guard import fault
from tracemw.asgi._channels import HttpExchange, WebSocketExchange
from tracemw.asgi._scope import ScopeRequest
from tracemw.asgi._types import ASGIApp as ASGIApp
from tracemw.asgi._types import Message as Message
from tracemw.asgi._types import Receive as Receive
from tracemw.asgi._types import Scope as Scope
from tracemw.asgi._types import Send as Send

_EXCHANGE: Final = "tracemw.exchange"


@shows_options
class TraceMiddleware:
    """Trace the requests to an ASGI application.

    Args:
        app: The application to wrap.
        **options: See `tracemw.ServerOptions`.

    Raises:
        TypeError: for an unknown option, or what is no ASGI application.
        ValueError: for an option whose value is not accepted.
    """

    def __init__(self, app: ASGIApp, **options: Unpack[ServerOptions]) -> None:
        refuse_other_kind("tracemw.asgi.TraceMiddleware", app, "an ASGI application", ("scope", "receive", "send"))
        self.app = app
        self._tracing = ServerTracing(**options)
        self._has_hooks = type(self) is not TraceMiddleware
        """Whether this is the door of a framework, which may override the hooks below."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve one ASGI connection."""
        app = self.app
        kind = scope.get("type")
        if kind != "http" and kind != "websocket":
            return await app(scope, receive, self._flushing(send) if kind == "lifespan" else send)
        if _EXCHANGE in scope and (outer := exchange_of(scope)) is not None:
            return await self._serve_within(outer, scope, receive, send)
        request: ScopeRequest | None = None
        try:
            request = ScopeRequest()
            request.arrive(scope, self._tracing.settings)
        except Exception as error:
            request = None
            fault("asgi.ScopeRequest", error)
        if request is None:  # not in the handler above: our exception would be the context of the application's
            return await app(scope, receive, send)
        exchange = HttpExchange() if kind == "http" else WebSocketExchange()
        exchange.prepare()
        exchange.receive_from, exchange.send_to = receive, send
        exchange.loop = _get_running_loop()
        given, begun, token = scope, None, None
        returned = False
        # Both `try`s come first. An interrupt may come at the start of the inner one, and the outer one catches it.
        try:
            try:
                begun = self._tracing.begin(exchange, request)
                if begun is None:
                    return await app(scope, receive, send)
                scope[_EXCHANGE] = begun
                # These keys make the frameworks' native telemetry leave the request alone.
                scope.setdefault("starlette.opentelemetry", True)
                scope.setdefault("fastapi.telemetry", None)
                if self._has_hooks:
                    scope = self._observed(scope, begun)
                if begun is not exchange:  # an outer WSGI application traces the request, and watches the response
                    return await app(scope, receive, send)
                if kind == "websocket":
                    exchange.lasts()
                if self._has_hooks:
                    self.enter(scope, exchange.context)
                token = attach(exchange.context)
                result = await app(scope, exchange.receive, exchange.send)
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
                    if self._has_hooks:
                        self.leave(scope)
                    # This breaks a cycle: the exchange has the channels, and a server's channels lead to its scope.
                    # With the cycle, only the garbage collector would free the request.
                    given.pop(_EXCHANGE, None)
        finally:
            exchange.depart()

    async def _serve_within(self, outer: ServerExchange, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve a request that another door traces already. This door may know the route."""
        scope = self._observed(scope, outer)
        here = current_context()
        context = self.enter_within(scope, here)
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

    def take_over(
        self,
        *,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        excludes: Callable[[Scope], bool] | None = None,
    ) -> None:
        """Use the providers of a framework's native telemetry, unless the options name others; skip what it excludes.

        Args:
            tracer_provider: The provider of the native spans, if one was given.
            meter_provider: The provider of the native metrics, if one was given.
            excludes: Tells by its scope whether a request has no native telemetry.
        """
        self._tracing.take_over(
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            excludes=None if excludes is None else lambda request: excludes(cast("ScopeRequest", request).scope),
        )

    def observe(self, scope: Scope, exchange: ServerExchange) -> Scope:
        """Return the scope for the application. A door that knows routes overrides this, and learns the route."""
        del exchange
        return scope

    def enter(self, scope: Scope, context: Context) -> None:
        """Put into the new context of a request what the framework reads there. Nobody else has the context yet."""

    def enter_within(self, scope: Scope, context: Context) -> Context:
        """Return the context for an application whose request another door traces; `context` is that door's."""
        del scope
        return context

    def leave(self, scope: Scope) -> None:
        """Take out of the scope what `observe` has put there. The application has returned."""

    def escaped(self, scope: Scope, exchange: ServerExchange, error: BaseException) -> None:
        """Note an exception that escaped from the application. A door that knows who answers it overrides this."""
        del scope
        exchange.failure(error)

    async def flush(self) -> None:
        """Deliver the queued spans. The end of the lifespan is the last chance.

        Servers such as uvicorn end by raising again the signal that stopped them, so atexit never runs.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # the loop is not asyncio's, but trio's, say; to block it now does no harm
            self._tracing.flush()
        else:
            await asyncio.to_thread(self._tracing.flush)

    def _flushing(self, send: Send) -> Send:
        async def flush_then_send(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self.flush()
            await send(message)

        return flush_then_send


def exchange_of(scope: Scope) -> ServerExchange | None:
    """Return the exchange of the request that `scope` belongs to; None when the request has been served."""
    found = scope.get(_EXCHANGE)
    return found if isinstance(found, ServerExchange) else None
