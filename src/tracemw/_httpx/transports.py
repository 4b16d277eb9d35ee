"""What the doors for httpx and httpx2 have in common, which have the same classes under the same names.

No class of the one library is a class of the other. A door gives its library as a `Library`, and derives its transports
from `SyncTransport` and `AsyncTransport` here, and from the library's own base classes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any, ClassVar, Final, Self, TypeVar
from weakref import WeakKeyDictionary

from tracemw._http.client import ClientExchange, ClientOptions, ClientTracing
from tracemw._otel.guard import fault, guarded

C = TypeVar("C")

_TRANSPORTS: Final = {"BaseTransport": "TraceTransport", "AsyncBaseTransport": "AsyncTraceTransport"}
_CLIENTS: Final = {"Client": "trace_client", "AsyncClient": "trace_client"}
_LIBRARIES: Final = ("httpx", "httpx2")
_NOT_PASSED_ON: Final = frozenset({"_transport", "handle_request", "handle_async_request"})


class Library:
    """The classes of `httpx` or of `httpx2` that its door has to do with.

    Args:
        module: The library itself.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module: Any = module
        self.request: type = self._module.Request
        self.sync_stream: type = self._module.SyncByteStream
        self.async_stream: type = self._module.AsyncByteStream
        self.traced_stream: Any = type("TracedStream", (_SyncBody, self.sync_stream), {})
        self.traced_async_stream: Any = type("TracedStream", (_AsyncBody, self.async_stream), {})

    def make(self, kind: str) -> Any:
        """Return a new transport of the library, of the class with that name."""
        return getattr(self._module, kind)()

    def require_transport(self, given: object, kind: str, method: str) -> None:
        """Raise TypeError for what is no transport of this kind: the other library's, or one for other clients.

        A transport of no library's class is taken when it has the method.
        """
        if isinstance(given, getattr(self._module, kind)):
            return
        home = _home_of(given, _TRANSPORTS)
        if home is not None or isinstance(given, type) or not callable(getattr(given, method, None)):
            raise self._refusal(_TRANSPORTS[kind], kind, given, home)

    def require_request(self, given: object, kind: str) -> None:
        """Raise TypeError for the other library's request, in a transport of this kind."""
        door = _TRANSPORTS[kind]
        home = _home_of(given, {"Request": door})
        if home is not None and not isinstance(given, self.request):
            raise self._refusal(door, "Request", given, home)

    def trace_client(self, client: C, sync: type[SyncTransport], other: type[AsyncTransport], options: Any) -> C:
        """Wrap the transports that a client has, its mounts included; one that is wrapped already takes the options."""
        door: type[SyncTransport] | type[AsyncTransport]
        if isinstance(client, self._module.Client):
            door = sync
        elif isinstance(client, self._module.AsyncClient):
            door = other
        else:
            raise self._refusal("trace_client", "Client or AsyncClient", client, _home_of(client, _CLIENTS))
        ClientTracing(**options)  # refuses what is none of them before anything is changed
        has: Any = client
        transport, mounts = has._transport, has._mounts  # noqa: SLF001  neither has a public name
        wrapped: dict[int, Any] = {}  # one transport that is mounted twice stays one
        for each in (transport, *mounts.values()):
            if each is not None and id(each) not in wrapped:
                wrapped[id(each)] = door.around(each, options)
        has._transport = wrapped.get(id(transport))  # noqa: SLF001
        mounts.update({pattern: wrapped[id(each)] for pattern, each in mounts.items() if each is not None})
        return client

    def _refusal(self, door: str, wanted: str, given: object, home: tuple[str, str] | None) -> TypeError:
        name = self._module.__name__
        kind = given if isinstance(given, type) else type(given)
        shown = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
        message = f"tracemw.{name}.{door} takes a {name}.{wanted}"
        if isinstance(given, type):
            return TypeError(f"{message}, not the class {shown}: make one of it")
        if home is None:
            return TypeError(f"{message}, not {shown}")
        return TypeError(f"{message}, not {shown}; that is for tracemw.{'.'.join(home)}")


def _home_of(given: object, doors: dict[str, str]) -> tuple[str, str] | None:
    """Return the library whose class something is of, and what of its door takes that."""
    for kind in (given if isinstance(given, type) else type(given)).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in _LIBRARIES and kind.__name__ in doors:
            return library, doors[kind.__name__]
    return None


class _Transport:
    """What the two kinds of transports have in common."""

    _library: ClassVar[Library]
    _kind: ClassVar[tuple[str, str, str]]
    """The names of the base class, of what is wrapped unless something is given, and of the method that sends."""

    def __init__(self, transport: Any, options: ClientOptions) -> None:
        base, default, method = self._kind
        if transport is not None:
            self._library.require_transport(transport, base, method)
        self._tracing = ClientTracing(**options)
        self._transport: Any = transport if transport is not None else self._library.make(default)
        self._resends = _Resends()

    @classmethod
    def around(cls, transport: Any, options: ClientOptions) -> Any:
        """Return a transport that traces what goes through another; one that traces already, with these options."""
        if isinstance(transport, cls):
            transport.take(options)
            return transport
        door: Any = cls
        return door(transport, **options)

    def take(self, options: ClientOptions) -> None:
        """Replace some of the options."""
        self._tracing = self._tracing.but(**options)

    def __getattr__(self, name: str) -> Any:
        # What else the wrapped transport can do, and its users rely on. Nothing is sent past the tracing, and the
        # wrapped one is not there yet when this is being copied.
        if name in _NOT_PASSED_ON:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._transport, name)

    def _begin(self, request: Any) -> tuple[ClientExchange | None, int]:
        if type(request) is not self._library.request:
            self._library.require_request(request, self._kind[0])
        resend_count, template = self._resends.before(request)
        exchange = self._tracing.begin(request.method, str(request.url), template=template, resend_count=resend_count)
        return exchange, resend_count


class SyncTransport(_Transport):
    """Traces what goes through a synchronous transport."""

    _kind = ("BaseTransport", "HTTPTransport", "handle_request")

    def handle_request(self, request: Any) -> Any:
        """Send one request through the wrapped transport."""
        exchange, resend_count = self._begin(request)
        if exchange is None:
            return self._transport.handle_request(request)
        traced = _traced(request, exchange)
        try:
            response = exchange.run(self._transport.handle_request, traced)
        except BaseException as error:
            _failed(exchange, error)
            raise
        finally:
            _give_back(traced, request)
        _note(exchange, response)
        if isinstance(response.stream, self._library.sync_stream):
            closed = self._resends.after(request, response, resend_count) if response.status_code >= 300 else None
            response.stream = self._library.traced_stream(response.stream, exchange, closed)
        else:  # somebody else's response: nobody will say when its body has been read
            exchange.end()
        return response

    def __enter__(self) -> Self:
        self._transport.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._transport.__exit__(*exc_info)

    def close(self) -> None:
        """Close the wrapped transport."""
        self._transport.close()


class AsyncTransport(_Transport):
    """Traces what goes through an asynchronous transport."""

    _kind = ("AsyncBaseTransport", "AsyncHTTPTransport", "handle_async_request")

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request through the wrapped transport."""
        exchange, resend_count = self._begin(request)
        if exchange is None:
            return await self._transport.handle_async_request(request)
        traced = _traced(request, exchange)
        try:
            response = await exchange.run_async(self._transport.handle_async_request, traced)
        except BaseException as error:
            _failed(exchange, error)
            raise
        finally:
            _give_back(traced, request)
        _note(exchange, response)
        if isinstance(response.stream, self._library.async_stream):
            closed = self._resends.after(request, response, resend_count) if response.status_code >= 300 else None
            response.stream = self._library.traced_async_stream(response.stream, exchange, closed)
        else:  # somebody else's response: nobody will say when its body has been read
            exchange.end()
        return response

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._transport.__aexit__(*exc_info)

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._transport.aclose()


def _failed(exchange: ClientExchange, error: BaseException) -> None:
    kind = type(error)
    if kind.__name__ == "_Upgrade" and kind.__module__ == "starlette.testclient":
        exchange.end()  # so the test client hands over a WebSocket
    else:
        exchange.failure(error)


def _traced(request: Any, exchange: ClientExchange) -> Any:
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


def _give_back(traced: Any, request: Any) -> None:
    """Let the caller's request have the body, when a transport has read it: it may have to be sent again."""
    if traced.stream is not request.stream:
        vars(request).update(vars(traced), headers=request.headers)


def _note(exchange: ClientExchange, response: Any) -> None:
    try:
        version = response.extensions.get("http_version")
        exchange.response(
            response.status_code, version.decode("ascii", "replace").removeprefix("HTTP/") if version else None
        )
        if response.is_closed:  # a transport without a network may answer with a body that has been read already
            exchange.end()
    except Exception as error:
        fault("httpx.note", error)


_RESENDS: Final = "tracemw.resend_count"


class _Resends:
    """How many attempts came before: after a redirect httpx makes another request, after a challenge it sends the same.

    The request after a redirect takes over the extensions of the one before, so the count stands there for as long as
    the redirecting response is open, and is gone from the caller's request after that.
    """

    def __init__(self) -> None:
        self._challenged: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def before(self, request: Any) -> tuple[int, str | None]:
        """Return how many attempts came before this one, and the template of the URL."""
        extensions = request.extensions
        # A request after a redirect has another URL, and takes over the extensions of the one before.
        template = extensions.get("url_template") if _RESENDS not in extensions else None
        challenged = self._challenged.pop(request, None) if self._challenged else None
        resends = challenged or extensions.get(_RESENDS, 0)
        return resends if isinstance(resends, int) else 0, template if isinstance(template, str) else None

    @guarded
    def after(self, request: Any, response: Any, resend_count: int) -> Callable[[], None] | None:
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
        try:
            exchange, closed = self._exchange, self._closed
        except AttributeError:  # it was interrupted while it was made
            return
        exchange.abandon()
        if closed is not None:
            closed()


class _SyncBody(_Body):
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


class _AsyncBody(_Body):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        try:
            async for chunk in chunks:
                yield chunk
        except Exception as error:
            self._exchange.failure(error)
            raise
        finally:  # whoever closes this closes what is beneath it
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        self._exchange.end()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._end()
