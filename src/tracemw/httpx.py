"""The doors for httpx: `client = trace_client(httpx.Client())`, and the same with an `AsyncClient`.

Each attempt gets a CLIENT span, so that redirects and round trips for authentication show. The span ends when the body
has been read or closed. Its name is the method alone: there are too many URLs. Name the template of a URL, and the span
has it too: `client.get(url, extensions={"url_template": "/charges/{charge_id}"})`.
"""

from __future__ import annotations

from typing import TypeVar, Unpack

try:
    import httpx
except ImportError as error:
    raise ImportError("tracemw.httpx needs httpx: pip install 'tracemw[httpx]'") from error

from tracemw._http.client import ClientOptions
from tracemw._httpx import clients
from tracemw._httpx.library import Library
from tracemw._httpx.transports import AsyncTransport, SyncTransport

_LIBRARY = Library(httpx)

C = TypeVar("C", bound="httpx.Client | httpx.AsyncClient")


def trace_client(client: C, **options: Unpack[ClientOptions]) -> C:
    """Trace the calls of a client, sync or async, and return it.

    Each transport of the client gets a tracing one around it, also those that are mounted, and those for proxies. All
    settings stay. A traced client is not traced twice: it takes the new options.

    Args:
        client: An `httpx.Client` or `httpx.AsyncClient`, or an instance of a derived class.
        **options: See `tracemw.ClientOptions`.

    Raises:
        TypeError: for anything but a client of httpx, and for an unknown option.
        ValueError: for an option whose value is not accepted.
    """
    return clients.trace_client(_LIBRARY, client, TraceTransport, AsyncTraceTransport, options)


class TraceTransport(SyncTransport, httpx.BaseTransport):
    """Trace the requests that go through a synchronous transport, for those who build transports themselves.

    A client that gets a transport ignores its own `verify`, `cert`, `limits`, `http1` and `http2`, and the proxies that
    the environment names. Requests to its `proxy` or `mounts` bypass the transport, and are not traced. `trace_client`
    has no such limits.

    Args:
        transport: The transport to wrap, `httpx.HTTPTransport()` by default.
        **options: See `tracemw.ClientOptions`.

    Raises:
        TypeError: for an unknown option, and for a transport of another library or for an `AsyncClient`.
        ValueError: for an option whose value is not accepted.
    """

    _library = _LIBRARY
    _half = _LIBRARY.sync

    def __init__(self, transport: httpx.BaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        super().__init__(transport, options)


class AsyncTraceTransport(AsyncTransport, httpx.AsyncBaseTransport):
    """Trace the requests that go through an asynchronous transport. The limits are those of `TraceTransport`.

    Args:
        transport: The transport to wrap, `httpx.AsyncHTTPTransport()` by default.
        **options: See `tracemw.ClientOptions`.

    Raises:
        TypeError: for an unknown option, and for a transport of another library or for a `Client`.
        ValueError: for an option whose value is not accepted.
    """

    _library = _LIBRARY
    _half = _LIBRARY.asynchronous

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        super().__init__(transport, options)
