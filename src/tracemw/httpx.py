"""The doors for httpx: `client = trace_client(httpx.Client())`, and the same with an `AsyncClient`.

One CLIENT span per attempt, so that redirects and authentication round trips show, ended when the body has been read
or closed. A span is named by its method alone, since a URL is not of low cardinality; say the template to have it in
the name: `client.get(url, extensions={"url_template": "/charges/{charge_id}"})`.
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

    The transports that the client has, those for proxies and its mounts included, are wrapped; all that they and the
    client have been told stays. A client that is traced already is not traced twice, and takes the options given now.

    Args:
        client: A client, of a class derived from `httpx.Client` or `httpx.AsyncClient` too.
        **options: See `tracemw.ClientOptions`.

    Raises:
        TypeError: for what is no client of httpx, and for an unknown option.
        ValueError: for a value of an option that is not accepted.
    """
    return clients.trace_client(_LIBRARY, client, TraceTransport, AsyncTraceTransport, options)


class TraceTransport(SyncTransport, httpx.BaseTransport):
    """Trace the requests that go through a synchronous transport, for those who build transports themselves.

    A client that is given a transport uses nothing of its own `verify`, `cert`, `limits`, `http1`, `http2`, and none of
    the proxies that the environment names; what it is given as `proxy` or `mounts` goes past this one. `trace_client`
    has no such limits.

    Args:
        transport: The transport to wrap, `httpx.HTTPTransport()` by default.
        **options: See `tracemw.ClientOptions`.

    Raises:
        TypeError: for an unknown option, and for a transport of another library or for an `AsyncClient`.
        ValueError: for a value of an option that is not accepted.
    """

    _library = _LIBRARY
    _half = _LIBRARY.sync

    def __init__(self, transport: httpx.BaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        super().__init__(transport, options)


class AsyncTraceTransport(AsyncTransport, httpx.AsyncBaseTransport):
    """Trace the requests that go through an asynchronous transport; its limits are those of `TraceTransport`.

    Args:
        transport: The transport to wrap, `httpx.AsyncHTTPTransport()` by default.
        **options: See `tracemw.ClientOptions`.

    Raises:
        TypeError: for an unknown option, and for a transport of another library or for a `Client`.
        ValueError: for a value of an option that is not accepted.
    """

    _library = _LIBRARY
    _half = _LIBRARY.asynchronous

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        super().__init__(transport, options)
