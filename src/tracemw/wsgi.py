"""The door for any WSGI application: `app = TraceMiddleware(app)`.

One SERVER span per request. Flask, whose routes are known, has a door of its own: `tracemw.flask`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import Token
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final, Unpack

from opentelemetry.context import Context

from tracemw._guard import fault, guarded
from tracemw._http.departures import is_named_for_it
from tracemw._http.semconv import RequestFacts
from tracemw._http.server import ServerExchange, ServerOptions, ServerRequest, ServerTracing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

EXCHANGE: Final = "tracemw.exchange"
"""The key under which a request's exchange lies in its `environ`."""


class TraceMiddleware:
    """Trace the requests to a WSGI application.

    Args:
        app: The application to wrap.
        **options: See `tracemw._http.server.ServerTracing`.

    Raises:
        TypeError: for an unknown option, or an application that is none.
        ValueError: for an option with a value that cannot work.
    """

    def __init__(self, app: WSGIApplication, **options: Unpack[ServerOptions]) -> None:
        if not callable(app):
            raise TypeError(f"tracemw.wsgi.TraceMiddleware takes a WSGI application, not {app!r}")
        self.app = app
        self._tracing = ServerTracing(**options)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if EXCHANGE in environ:
            return self.app(environ, start_response)
        exchange = _Exchange(environ)
        request = _request(environ)
        begun = None if request is None else self._tracing.begin(exchange, request)
        if begun is not None:
            environ[EXCHANGE] = begun
        if begun is not exchange:  # an ASGI application around this one has the request, or there is none
            return self.app(environ, start_response)
        token = exchange.attach()
        try:
            body = self.app(environ, _observed(start_response, exchange))
        except BaseException as error:
            exchange.failure(error)
            exchange.end()
            raise
        finally:
            exchange.detach(token)
        if exchange.status is None and _is_taken_care_of(body, exchange):
            exchange.end()
            return body
        file_wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(file_wrapper, type) and isinstance(body, file_wrapper):
            _watch_file(body, exchange)
            return body
        return (_SizedBody if hasattr(body, "__len__") else _Body)(body, exchange)


class _Exchange(ServerExchange):
    """One request being served."""

    protocol = "wsgi"

    def __init__(self, environ: WSGIEnvironment) -> None:
        # Not the environ, which leads to the exchange.
        self._input = environ.get("wsgi.input")
        self._upgrade = environ.get("HTTP_UPGRADE")

    def serves_a_connection(self) -> bool:
        """Tell whether the client wants a WebSocket, and the application has not answered by HTTP."""
        return self.status is None and self._upgrade is not None and self._upgrade.lower() == "websocket"

    def failure(self, error: BaseException) -> None:
        """Note an exception that escaped, unless WebSocket libraries end a connection with it.

        They raise one of their own when the client has closed it. So that the server sends nothing, they raise
        StopIteration with gunicorn, and a bare ConnectionError with Werkzeug's server.
        """
        is_signal = type(error) is StopIteration or (type(error) is ConnectionError and not error.args)
        if (is_signal or is_named_for_it(error)) and self.serves_a_connection():
            self.switched()
        else:
            super().failure(error)

    def says_only_that_the_client_has_gone(self, error: BaseException) -> bool:
        """Tell whether an exception comes from reading the request, or from writing to its connection."""
        if isinstance(error, OSError) and self._input is not None and _was_raised_by(self._input, error):
            return True
        return super().says_only_that_the_client_has_gone(error)


def _was_raised_by(stream: Any, error: BaseException) -> bool:
    """Tell whether an exception was raised in a method of the server's stream, or of the one beneath that."""
    for each in (stream, getattr(stream, "raw", None)):
        for frame, _ in walk_tb(error.__traceback__):
            method = getattr(type(each), frame.f_code.co_name, None)
            # No other frame is asked for what it holds: one that still runs would from then on hold the exception.
            if getattr(method, "__code__", None) is frame.f_code and frame.f_locals.get("self") is each:
                return True
    return False


def _is_taken_care_of(body: object, exchange: _Exchange) -> bool:
    """Tell whether an application that has not answered says so by what it returns, which the server has to get as is.

    With gevent and eventlet, WebSocket libraries return an empty list; gunicorn knows an object by its identity.
    """
    if type(body) is object or (body == [] and exchange.serves_a_connection()):
        exchange.switched()
        return True
    return False


def _observed(start_response: StartResponse, exchange: _Exchange) -> StartResponse:
    def observing_start_response(
        status: str, response_headers: Iterable[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        headers = list(response_headers)  # PEP 3333 says a list, and servers take any iterable
        traced = _with_header(headers, exchange)
        write = start_response(status, traced, exc_info) if exc_info else start_response(status, traced)
        _note(status, headers, exchange)  # not before: a server refuses a second status once the headers are out

        # Nor does the exchange have it: a server's functions lead to its environ, as a rule, and that to the exchange.
        def observing_write(data: bytes) -> object:
            if data:
                exchange.first_byte()
            try:
                return write(data)
            except OSError as error:
                exchange.gone(error)
                raise

        return observing_write

    return observing_start_response


def _note(status: str, headers: list[tuple[str, str]], exchange: ServerExchange) -> None:
    try:
        if status[:3].isdecimal():
            exchange.status = int(status[:3])  # the headers leave with the first byte of the body, as PEP 3333 says
        if exchange.captures_response:
            exchange.capture(_ResponseHeaders(headers))
    except Exception as error:
        fault("wsgi._note", error)


def _with_header(headers: list[tuple[str, str]], exchange: ServerExchange) -> list[tuple[str, str]]:
    try:
        header = exchange.response_header
        if header is None:
            return headers
        for name, _ in headers:
            if name.lower() == header[0]:
                return headers
        return [*headers, header]
    except Exception as error:
        fault("wsgi._with_header", error)
        return headers


class _Body:
    """The application's iterable; each step runs inside the request's context, which the server's thread leaves."""

    __slots__ = ("_body", "_exchange", "_iterator")

    def __init__(self, body: Iterable[bytes], exchange: ServerExchange) -> None:
        self._body = body
        self._exchange = exchange
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token: Token[Context] = self._exchange.attach()
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            chunk = next(self._iterator)
            if chunk:
                self._exchange.first_byte()
            return chunk
        except StopIteration:
            # With the last byte: what the application does in close() is background work. By now it has to have called
            # start_response; a server answers for one that has not.
            self._exchange.end(incomplete=self._exchange.status is None)
            raise
        except BaseException as error:
            self._exchange.failure(error)
            raise
        finally:
            self._exchange.detach(token)

    def close(self) -> None:
        """Close the application's iterable and end the span: a server calls this whatever happened before."""
        token = self._exchange.attach()
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._exchange.failure(error)
            raise
        finally:
            self._exchange.end()
            self._exchange.detach(token)


class _SizedBody(_Body):
    """An iterable that tells its length, from which servers derive a missing Content-Length (PEP 3333)."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # made only for bodies that have it


def _watch_file(file: Any, exchange: ServerExchange) -> None:
    """Watch for the end of the server's own file wrapper, which it tells by its type and sends its own way."""
    exchange.first_byte()
    close = getattr(file, "close", None)

    def close_and_end() -> None:
        try:
            if close is not None:
                close()
        finally:
            exchange.end()

    try:
        file.close = close_and_end
    except Exception:  # one written in C, say, which takes no other: the application's own part is over
        exchange.end()


class _ResponseHeaders:
    """The headers given to `start_response`."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def get(self, name: str, /) -> list[str]:
        return [value for key, value in self._pairs if key.lower() == name]

    def keys(self) -> list[str]:
        return [key.lower() for key, _ in self._pairs]


class _Request(ServerRequest):
    """A request's environ, and its headers, where they lie in it."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._environ = environ
        self.method = environ["REQUEST_METHOD"]
        self.path = _decoded(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")) or "/"

    @property
    def headers(self) -> _Request:
        return self

    def defer(self) -> None:
        # What stands within, dispatchers and proxy headers' middleware say, changes the environ itself.
        self._environ = dict(self._environ)

    def carries_context(self) -> bool:
        return "HTTP_TRACEPARENT" in self._environ or "HTTP_BAGGAGE" in self._environ

    def get(self, name: str, /) -> list[str]:
        key = _KEYS.get(name)
        if key is None:
            key = name.upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        value = self._environ.get(key)
        return [value] if isinstance(value, str) else []

    def keys(self) -> list[str]:
        return [key[5:].replace("_", "-").lower() for key in self._environ if key.startswith("HTTP_")]

    def read(self) -> RequestFacts:
        environ = self._environ
        protocol = environ.get("SERVER_PROTOCOL", "")
        server, peer = environ.get("SERVER_NAME"), environ.get("REMOTE_ADDR")
        return RequestFacts(
            self.method,
            self.path,
            _decoded(environ.get("QUERY_STRING", "")),
            environ.get("wsgi.url_scheme", "http"),
            self,
            protocol.removeprefix("HTTP/") if protocol.startswith("HTTP/") else None,
            (server, _port(environ.get("SERVER_PORT"))) if server else None,
            (peer, _port(environ.get("REMOTE_PORT"))) if peer else None,
        )


_KEYS: Final = {
    name: f"HTTP_{name.upper().replace('-', '_')}"
    for name in ("baggage", "host", "traceparent", "tracestate", "user-agent")
}


@guarded
def _request(environ: WSGIEnvironment) -> _Request:
    return _Request(environ)


def _decoded(value: str) -> str:
    # PEP 3333 tunnels the request's bytes through latin-1.
    return value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "replace")


def _port(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() else None
