"""The transports that trace what goes through another one.

A door derives its transports from `SyncTransport` and `AsyncTransport`, and from the base classes of its library.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

from tracemw._http.client import ClientExchange, ClientOptions, ClientTracing
from tracemw._http.options import refuse_unknown
from tracemw._http.uploads import Upload
from tracemw._httpx.library import Half, Library
from tracemw._httpx.resends import RESENDS, Resends
from tracemw._otel.context import current_context
from tracemw._otel.guard import fault

_NOT_PASSED_ON: Final = frozenset({"_transport", "handle_request", "handle_async_request"})


class Transport:
    """What both kinds of transports do before and after the wrapped one sends.

    Args:
        transport: The transport to wrap. None for the one that a client makes for itself.
        options: The options of the door.

    Raises:
        TypeError: for anything but a transport of this kind, and for an unknown option.
        ValueError: for an option whose value is not accepted.
    """

    _library: ClassVar[Library]
    _half: ClassVar[Half]

    def __init__(self, transport: Any, options: ClientOptions) -> None:
        if transport is not None:
            self._library.require_transport(transport, self._half)
        refuse_unknown(type(self).__name__, options, ClientOptions)
        self._tracing = ClientTracing(**options)
        self._transport: Any = transport if transport is not None else self._half.default()
        self._resends = Resends()

    def take(self, options: ClientOptions) -> None:
        """Replace some of the options."""
        self._tracing = self._tracing.but(**options)

    def __getattr__(self, name: str) -> Any:
        # Users rely on all else that the wrapped transport can do. But nothing may be sent past the tracing. And a
        # transport that is just being copied wraps none yet.
        if name in _NOT_PASSED_ON:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._transport, name)

    def _begin(self, request: Any) -> ClientExchange | None:
        if type(request) is not self._library.request:
            self._library.require_request(request, self._half)
        extensions = request.extensions
        is_redirected = RESENDS in extensions
        # A request after a redirect has another URL, but the extensions of the one before.
        template = None if is_redirected else extensions.get("url_template")
        return self._tracing.begin(
            request.method,
            str(request.url),
            template=template if isinstance(template, str) else None,
            resend_count=self._resends.before(request) if is_redirected or self._resends.challenged else 0,
        )

    def _traced(self, request: Any, exchange: ClientExchange) -> Any:
        """Return a copy of the request with the headers of the trace. The caller's own request stays as it is.

        httpx makes the request after a redirect from the caller's, so each attempt gets headers of its own. A body that
        the caller's code gives chunk by chunk is read in the caller's context.
        """
        stream = request.stream
        if stream.__class__ is not self._library.byte_stream:
            stream = Upload(stream, current_context())
        elif not exchange.headers:
            return request
        # The public constructors would parse the request, and look at each header, once more. To set a header the
        # public way costs as much as to note the response.
        encoding = getattr(request.headers, "_encoding", None)
        headers = self._library.headers(request.headers, encoding)
        added = [
            (name.encode("ascii"), name.lower().encode("ascii"), value.encode(encoding or "ascii"))
            for name, value in exchange.headers.items()
        ]
        replaced = [key for _, key, _ in added]
        headers._list = [entry for entry in headers._list if entry[1] not in replaced] + added  # noqa: SLF001
        traced = object.__new__(type(request))
        traced.__dict__ = {**request.__dict__, "headers": headers, "stream": stream}
        return traced

    def _failed(self, request: Any, traced: Any, exchange: ClientExchange, error: BaseException) -> None:
        kind = type(error)
        if kind.__name__ == "_Upgrade" and kind.__module__ == "starlette.testclient":
            exchange.end()  # so the test client hands over a WebSocket
        else:
            exchange.failure(error)
        _give_back(request, traced)

    def _answered(self, request: Any, traced: Any, exchange: ClientExchange, response: Any) -> Any:
        """Note the response, and return it with a body that ends the exchange."""
        if traced.stream is not request.stream:
            _give_back(request, traced)
        status = response.status_code
        try:
            version = response.extensions.get("http_version")
            exchange.response(status, version and version.decode("ascii", "replace").removeprefix("HTTP/"))
            if response.is_closed:  # a transport without a network may answer with a body that has been read already
                exchange.end()
        except Exception as error:
            fault("httpx.note", error)
        if status < 300 and exchange.has_ended():
            return response
        stream, half = response.stream, self._half
        if isinstance(stream, half.stream):
            closed = self._resends.after(request, response, exchange.resend_count) if status >= 300 else None
            response.stream = half.body(stream, exchange, closed)
        else:
            exchange.end()  # the response is not the library's: nobody will say when its body has been read
        return response


class SyncTransport(Transport):
    """Traces what goes through a synchronous transport."""

    def handle_request(self, request: Any) -> Any:
        """Send one request through the wrapped transport."""
        exchange = self._begin(request)
        if exchange is None:
            return self._transport.handle_request(request)
        traced = self._traced(request, exchange)
        try:
            response = exchange.run(self._transport.handle_request, traced)
        except BaseException as error:
            self._failed(request, traced, exchange, error)
            raise
        return self._answered(request, traced, exchange, response)

    def __enter__(self) -> Self:
        self._transport.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._transport.__exit__(*exc_info)

    def close(self) -> None:
        """Close the wrapped transport."""
        self._transport.close()


class AsyncTransport(Transport):
    """Traces what goes through an asynchronous transport."""

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request through the wrapped transport."""
        exchange = self._begin(request)
        if exchange is None:
            return await self._transport.handle_async_request(request)
        traced = self._traced(request, exchange)
        try:
            response = await exchange.run_async(self._transport.handle_async_request, traced)
        except BaseException as error:
            self._failed(request, traced, exchange, error)
            raise
        return self._answered(request, traced, exchange, response)

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._transport.__aexit__(*exc_info)

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._transport.aclose()


def _give_back(request: Any, traced: Any) -> None:
    """Give the caller's request the body that a transport has read. The request may have to be sent again."""
    if traced.stream is not request.stream and type(traced.stream) is not Upload:
        vars(request).update(vars(traced), headers=request.headers)
