"""The doors for httpx: `httpx.Client(transport=TraceTransport())`, `AsyncClient(transport=AsyncTraceTransport())`.

One CLIENT span per attempt, so that redirects and authentication round trips show, ended when the body has been read
or closed. A span is named by its method alone, since a URL is not of low cardinality; say the template to have it in
the name: `client.get(url, extensions={"url_template": "/charges/{charge_id}"})`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Unpack
from weakref import WeakKeyDictionary

try:
    import httpx
except ImportError as error:
    raise ImportError("tracemw.httpx needs httpx: pip install 'tracemw[httpx]'") from error

from tracemw._guard import guarded
from tracemw._http.client import ClientExchange, ClientOptions, ClientTracing


class TraceTransport(httpx.BaseTransport):
    """Trace the requests that go through a synchronous transport.

    Args:
        transport: The transport to wrap, `httpx.HTTPTransport()` by default.
        **options: See `tracemw._http.client.ClientTracing`.

    Raises:
        TypeError: for an unknown option.
    """

    def __init__(self, transport: httpx.BaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        self._transport = transport if transport is not None else httpx.HTTPTransport()
        self._tracing = ClientTracing(**options)
        self._resends = _Resends()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request through the wrapped transport."""
        resend_count, template = self._resends.before(request)
        exchange = self._tracing.begin(request.method, str(request.url), template=template, resend_count=resend_count)
        if exchange is None:
            return self._transport.handle_request(request)
        traced = _traced(request, exchange)
        token = exchange.attach()
        try:
            response = self._transport.handle_request(traced)
        except BaseException as error:
            exchange.failure(error)
            raise
        finally:
            exchange.detach(token)
            _give_back(traced, request)
        _note(exchange, response)
        if isinstance(response.stream, httpx.SyncByteStream):
            closed = self._resends.after(request, response, resend_count) if response.status_code >= 300 else None
            response.stream = _Stream(response.stream, exchange, closed)
        return response

    def __enter__(self) -> TraceTransport:
        self._transport.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._transport.__exit__(*exc_info)

    def close(self) -> None:
        """Close the wrapped transport."""
        self._transport.close()


class AsyncTraceTransport(httpx.AsyncBaseTransport):
    """Trace the requests that go through an asynchronous transport.

    Args:
        transport: The transport to wrap, `httpx.AsyncHTTPTransport()` by default.
        **options: See `tracemw._http.client.ClientTracing`.

    Raises:
        TypeError: for an unknown option.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        self._transport = transport if transport is not None else httpx.AsyncHTTPTransport()
        self._tracing = ClientTracing(**options)
        self._resends = _Resends()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request through the wrapped transport."""
        resend_count, template = self._resends.before(request)
        exchange = self._tracing.begin(request.method, str(request.url), template=template, resend_count=resend_count)
        if exchange is None:
            return await self._transport.handle_async_request(request)
        traced = _traced(request, exchange)
        token = exchange.attach()
        try:
            response = await self._transport.handle_async_request(traced)
        except BaseException as error:
            exchange.failure(error)
            raise
        finally:
            exchange.detach(token)
            _give_back(traced, request)
        _note(exchange, response)
        if isinstance(response.stream, httpx.AsyncByteStream):
            closed = self._resends.after(request, response, resend_count) if response.status_code >= 300 else None
            response.stream = _AsyncStream(response.stream, exchange, closed)
        return response

    async def __aenter__(self) -> AsyncTraceTransport:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._transport.__aexit__(*exc_info)

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._transport.aclose()


def _traced(request: httpx.Request, exchange: ClientExchange) -> httpx.Request:
    """Return a copy of the request with the trace's headers; the caller's own stays as it is.

    httpx makes the request after a redirect from the caller's, so each attempt gets headers of its own.
    """
    headers = request.headers.copy()
    for name, value in exchange.headers().items():
        headers[name] = value
    # Not made by its constructor, which would parse and encode everything once more.
    traced = object.__new__(type(request))
    vars(traced).update(vars(request), headers=headers)
    return traced


def _give_back(traced: httpx.Request, request: httpx.Request) -> None:
    """Let the caller's request have the body, when a transport has read it: it may have to be sent again."""
    if traced.stream is not request.stream:
        vars(request).update(vars(traced), headers=request.headers)


def _note(exchange: ClientExchange, response: httpx.Response) -> None:
    version = response.extensions.get("http_version")
    exchange.response(
        response.status_code, version.decode("ascii", "replace").removeprefix("HTTP/") if version else None
    )
    if response.is_closed:  # a transport without a network may answer with a body that has been read already
        exchange.end()


_RESENDS: Final = "tracemw.resend_count"


class _Resends:
    """How many attempts came before: after a redirect httpx makes another request, after a challenge it sends the same.

    The request after a redirect takes over the extensions of the one before, so the count stands there for as long as
    the redirecting response is open, and is gone from the caller's request after that.
    """

    def __init__(self) -> None:
        self._challenged: WeakKeyDictionary[httpx.Request, int] = WeakKeyDictionary()

    def before(self, request: httpx.Request) -> tuple[int, str | None]:
        """Return how many attempts came before this one, and the template of the URL."""
        extensions = request.extensions
        # A request after a redirect has another URL, and takes over the extensions of the one before.
        template = extensions.get("url_template") if _RESENDS not in extensions else None
        challenged = self._challenged.pop(request, None) if self._challenged else None
        resends = challenged or extensions.get(_RESENDS, 0)
        return resends if isinstance(resends, int) else 0, template if isinstance(template, str) else None

    @guarded
    def after(self, request: httpx.Request, response: httpx.Response, resend_count: int) -> Callable[[], None] | None:
        """Note an answer that may lead to another attempt; what is returned is to be called when that is closed."""
        if response.status_code in (401, 407):
            self._challenged[request] = resend_count + 1
        if not response.has_redirect_location:
            return None
        extensions = request.extensions
        request.extensions = {**extensions, _RESENDS: resend_count + 1}

        def restore() -> None:
            request.extensions = extensions

        return restore


class _Body:
    """What ends the span when the body's stream does, or when nobody holds the stream any more."""

    def __init__(self, stream: Any, exchange: ClientExchange, closed: Callable[[], None] | None) -> None:
        self._stream = stream
        self._exchange = exchange
        self._closed = closed

    def _end(self) -> None:
        self._exchange.end()
        if self._closed is not None:
            self._closed()

    def __del__(self) -> None:
        self._exchange.abandon()
        if self._closed is not None:
            self._closed()


class _Stream(_Body, httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            self._exchange.failure(error)
            raise
        self._exchange.end()

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._end()


class _AsyncStream(_Body, httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except Exception as error:
            self._exchange.failure(error)
            raise
        self._exchange.end()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._end()
