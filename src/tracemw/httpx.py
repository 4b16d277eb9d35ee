"""The doors for httpx: `httpx.Client(transport=TraceTransport())`, `httpx.AsyncClient(transport=AsyncTraceTransport())`.

One CLIENT span per attempt, so that redirects and authentication round trips show, ended when the body has been read
or closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Unpack

try:
    import httpx
except ImportError as error:
    raise ImportError("tracemw.httpx needs httpx: pip install 'tracemw[httpx]'") from error

from tracemw._http.exchange import ClientExchange, ClientOptions, ClientTracing


class TraceTransport(httpx.BaseTransport):
    """Trace the requests that go through a synchronous transport.

    Args:
        transport: The transport to wrap, `httpx.HTTPTransport()` by default.
        **options: See `tracemw._http.exchange.ClientTracing`.

    Raises:
        TypeError: for an unknown option.
    """

    def __init__(self, transport: httpx.BaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        self._transport = transport if transport is not None else httpx.HTTPTransport()
        self._tracing = ClientTracing(**options)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request through the wrapped transport."""
        exchange = self._tracing.begin(request.method, str(request.url))
        if exchange is None:
            return self._transport.handle_request(request)
        token = exchange.attach()
        try:
            response = self._transport.handle_request(_traced(request, exchange))
        except BaseException as error:
            exchange.failure(error)
            raise
        finally:
            exchange.detach(token)
        _note(exchange, response)
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Stream(response.stream, exchange)
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
        **options: See `tracemw._http.exchange.ClientTracing`.

    Raises:
        TypeError: for an unknown option.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        self._transport = transport if transport is not None else httpx.AsyncHTTPTransport()
        self._tracing = ClientTracing(**options)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request through the wrapped transport."""
        exchange = self._tracing.begin(request.method, str(request.url))
        if exchange is None:
            return await self._transport.handle_async_request(request)
        token = exchange.attach()
        try:
            response = await self._transport.handle_async_request(_traced(request, exchange))
        except BaseException as error:
            exchange.failure(error)
            raise
        finally:
            exchange.detach(token)
        _note(exchange, response)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _AsyncStream(response.stream, exchange)
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
    headers = httpx.Headers(request.headers)
    headers.update(exchange.headers())
    return httpx.Request(
        request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
    )


def _note(exchange: ClientExchange, response: httpx.Response) -> None:
    version = response.extensions.get("http_version")
    exchange.response(
        response.status_code, version.decode("ascii", "replace").removeprefix("HTTP/") if version else None
    )


class _Body:
    """What ends the span when the body's stream does, or when nobody holds the stream any more."""

    def __init__(self, exchange: ClientExchange) -> None:
        self._exchange = exchange

    def __del__(self) -> None:
        self._exchange.abandon()


class _Stream(_Body, httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, exchange: ClientExchange) -> None:
        super().__init__(exchange)
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            self._exchange.failure(error)
            raise

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._exchange.end()


class _AsyncStream(_Body, httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, exchange: ClientExchange) -> None:
        super().__init__(exchange)
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except Exception as error:
            self._exchange.failure(error)
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._exchange.end()
