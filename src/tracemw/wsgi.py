"""The door for any WSGI application: `app = TraceMiddleware(app)`.

One SERVER span per request. Flask, whose routes are known, has a door of its own: `tracemw.flask`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import Token
from time import monotonic_ns
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final, Unpack
from weakref import ref

from opentelemetry.context import Context

from tracemw._http.departures import is_named_for_it
from tracemw._http.exchange import ServerExchange
from tracemw._http.facts import RequestFacts
from tracemw._http.request import ServerRequest
from tracemw._http.server import ServerTracing
from tracemw._http.settings import ServerOptions, ServerSettings
from tracemw._otel.context import attach, current_context, detach
from tracemw._otel.guard import fault

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

EXCHANGE: Final = "tracemw.exchange"
"""The key under which a request's exchange lies in its `environ`."""

# PEP 3333 has the head of a response wait for the first byte of its body. Most servers take the first part for that,
# even an empty one. Some send it at once, and only few keep to the letter: by the modules of their `start_response`.
_START_RESPONSE: Final = "start_response"
_PART: Final = "part"
_BYTE: Final = "byte"
_HABITS: Final = {
    "a2wsgi.wsgi": _START_RESPONSE,
    "uvicorn.middleware.wsgi": _START_RESPONSE,
    "waitress.task": _BYTE,
}


class TraceMiddleware:
    """Trace the requests to a WSGI application.

    Args:
        app: The application to wrap.
        **options: See `tracemw.ServerOptions`.

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
        try:
            request = _Request(environ, self._tracing.settings)
        except Exception as error:
            fault("wsgi._Request", error)
            return self.app(environ, start_response)
        exchange = _Exchange()
        habit = _HABITS.get(getattr(start_response, "__module__", ""))
        if habit is not None:
            exchange.head_goes_with = habit
        elif "uwsgi.version" in environ:
            exchange.head_goes_with, exchange.is_answered_for = _START_RESPONSE, False
        begun, token, handed_out = None, None, False
        # Both begin before anything else does: where a `try` begins, no other catches an interrupt.
        try:
            try:
                begun = self._tracing.begin(exchange, request)
                if begun is not None:
                    environ[EXCHANGE] = begun
                if begun is not exchange:  # an ASGI application around this one has the request, or there is none
                    return self.app(environ, start_response)
                token = attach(exchange.context)
                body = self.app(environ, _observed(start_response, exchange))
                if exchange.status is None and _is_taken_care_of(body, exchange):
                    exchange.end()
                    return body
                file_wrapper = environ.get("wsgi.file_wrapper")
                if isinstance(file_wrapper, type) and isinstance(body, file_wrapper):
                    _watch_file(body, exchange)
                else:
                    body = (_SizedBody if hasattr(body, "__len__") else _Body)(body, exchange)
                handed_out = True
                return body
            except BaseException as error:
                if begun is exchange:
                    exchange.failed(error)
                raise
            finally:
                if token is not None:
                    detach(token, exchange.context)
        finally:
            if not handed_out or current_context() is exchange.context:
                exchange.depart()


class _Exchange(ServerExchange):
    """One request being served, and how much of its response has been handed to the server."""

    protocol = "wsgi"
    head_goes_with: str = _PART
    """With what the server sends the status and the headers, from where on nothing can replace them."""
    is_answered_for = True
    """Whether the server answers with a 500 when an exception comes before that."""
    has_begun = False
    """Whether the head of the response is out."""
    last_byte_at: int | None = None
    """When the latest part of the body was handed over, by the monotonic clock."""
    left: int | None = None
    """How many bytes are to come, when the application has declared how many there are."""

    request: _Request

    def sent(self, data: bytes) -> None:
        """Take note of a part of the body; the request ends with the last byte that was declared.

        Who reads no further than that, as some servers and test clients do, may never close the body.
        """
        self.last_byte_at = monotonic_ns()
        if data or self.head_goes_with is not _BYTE:
            self.has_begun = True
        if not data:
            return
        if self.held is not None:
            self.held.answered()
        if self.left is not None:
            self.left -= len(data)
            if self.left <= 0:
                self.is_over = True
                self.end()

    def failed(self, error: BaseException) -> None:
        """Note an exception that goes to the server, and end the request.

        Before the head is out, what the application has said of the status counts for nothing.
        """
        if self.is_open:
            if not self.has_begun:
                self.answered(None)
            self.failure(error)
            if self.is_answered_for:
                self.unanswered()
            self.end()

    def abandon(self) -> None:
        """End the request when nobody has its body any more, with the time of its latest byte."""
        self.is_over = True
        at = None if self.last_byte_at is None else self.time_of(self.last_byte_at)
        self.end(at=at, incomplete=self.status is None)

    def serves_a_connection(self) -> bool:
        """Tell whether the client wants a WebSocket, and the application has not answered by HTTP."""
        return self.status is None and self.request.environ.get("HTTP_UPGRADE", "").lower() == "websocket"

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
        stream = self.request.environ.get("wsgi.input") if isinstance(error, OSError) else None
        if stream is not None and _was_raised_by(stream, error):
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
        headers, length = _with_header(response_headers, exchange)
        write = start_response(status, headers, exc_info) if exc_info else start_response(status, headers)
        # Not before: a server refuses a second status once the headers are out.
        try:
            if not exchange.has_begun:  # else it comes too late
                exchange.has_begun = exchange.head_goes_with is _START_RESPONSE
                exchange.answered(int(status[:3]) if status[:3].isdecimal() else exchange.status)
                exchange.left = length
                if exchange.settings.captures_response and exchange.is_open:
                    exchange.capture(_ResponseHeaders(headers))
        except Exception as error:
            fault("wsgi._observed", error)
        if not exchange.is_open:
            return write

        # Nor does the exchange have it: a server's functions lead to its environ, as a rule, and that to the exchange.
        def observing_write(data: bytes) -> object:
            try:
                written = write(data)
            except OSError as error:
                exchange.gone(error)
                raise
            exchange.sent(data)
            return written

        return observing_write

    return observing_start_response


def _with_header(
    given: Iterable[tuple[str, str]], exchange: ServerExchange
) -> tuple[list[tuple[str, str]], int | None]:
    """Return the headers with the one that tells the trace id, and the length that they declare."""
    headers, length = list(given), None  # PEP 3333 says a list, and servers take any iterable
    try:
        header = exchange.response_header
        wanted = None if header is None else header[0]
        for name, value in headers:
            lower = name.lower()
            if lower == "content-length":
                length = int(value) if value.isdecimal() else None
            elif lower == wanted:
                header = None
        if header is not None:
            headers.append(header)
    except Exception as error:
        fault("wsgi._with_header", error)
    return headers, length


class _Body:
    """The application's iterable; each step runs inside the request's context, which the server's thread leaves."""

    __slots__ = ("_body", "_exchange", "_iterator")

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body = body
        self._exchange = exchange
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        token: Token[Context] | None = None
        is_left = False
        try:
            try:
                token = attach(exchange.context)
                if self._iterator is None:
                    self._iterator = iter(self._body)
                chunk = next(self._iterator)
                exchange.sent(chunk)
                return chunk
            except StopIteration:
                # With the last byte: what the application does in close() is background work. By now it has to have
                # called start_response; a server answers for one that has not.
                exchange.is_over = True
                if exchange.is_open:
                    exchange.end(incomplete=exchange.status is None)
                raise
            except BaseException as error:
                exchange.failed(error)
                raise
            finally:
                if token is not None:
                    detach(token, exchange.context)
                is_left = True
        finally:
            if not is_left and current_context() is exchange.context:  # the step was interrupted
                attach(exchange.around)

    def close(self) -> None:
        """Close the application's iterable and end the span: a server calls this whatever happened before."""
        exchange = self._exchange
        token: Token[Context] | None = None
        try:
            try:
                token = attach(exchange.context)
                close = getattr(self._body, "close", None)
                if close is not None:
                    close()
            except BaseException as error:
                exchange.failure(error)
                raise
            finally:
                if exchange.is_open:
                    exchange.end()
                if token is not None:
                    detach(token, exchange.context)
        finally:
            exchange.depart()

    def __del__(self) -> None:
        try:
            exchange = self._exchange
        except AttributeError:  # it was interrupted while it was made
            return
        if not exchange.is_settled:
            exchange.abandon()


class _SizedBody(_Body):
    """An iterable that tells its length, from which servers derive a missing Content-Length (PEP 3333)."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # made only for bodies that have it


class _FileEnd:
    """What a server calls when it has sent a file its own way, or lets go of."""

    __slots__ = ("_close", "_exchange", "_file")

    def __init__(self, file: Any, exchange: _Exchange) -> None:
        self._exchange = exchange
        close = getattr(file, "close", None)
        # The file has this, which is not to have the file.
        self._file = ref(file) if getattr(close, "__self__", None) is file else None
        self._close: Any = close if self._file is None else getattr(close, "__func__", None)

    def __call__(self) -> None:
        try:
            if self._file is not None and (file := self._file()) is not None and self._close is not None:
                self._close(file)
            elif self._file is None and self._close is not None:
                self._close()
        finally:
            self._exchange.is_over = True
            self._exchange.end()

    def __del__(self) -> None:
        try:
            exchange = self._exchange
        except AttributeError:
            return
        if not exchange.is_settled:
            exchange.abandon()


def _watch_file(file: Any, exchange: _Exchange) -> None:
    """Watch for the end of the server's own file wrapper, which it tells by its type and sends its own way."""
    exchange.has_begun = True
    exchange.first_byte()
    try:
        file.close = _FileEnd(file, exchange)
    except Exception:  # one written in C, say, which takes no other: the application's own part is over
        exchange.is_over = True
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
    """A request's environ as it was when the request arrived: what stands within may change the environ itself."""

    def __init__(self, environ: WSGIEnvironment, settings: ServerSettings) -> None:
        self.environ = environ = dict(environ)
        self.settings = settings
        self.method = environ.get("REQUEST_METHOD") or "GET"
        mount = environ.get("SCRIPT_NAME") or ""
        path = mount + (environ.get("PATH_INFO") or "") or "/"
        self.path = path if path.isascii() else _decoded(path)
        self.mounts = (_decoded(mount),) if mount else ()
        self.carries_context = "HTTP_TRACEPARENT" in environ or "HTTP_BAGGAGE" in environ

    def get(self, name: str, /) -> list[str]:
        key = name.upper().replace("-", "_")
        value = self.environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
        return [value] if isinstance(value, str) else []

    def keys(self) -> list[str]:
        return [key[5:].replace("_", "-").lower() for key in self.environ if key.startswith("HTTP_")]

    def read(self) -> RequestFacts:
        get = self.environ.get
        query, protocol = get("QUERY_STRING") or "", get("SERVER_PROTOCOL") or ""
        server, peer, peer_port = get("SERVER_NAME"), get("REMOTE_ADDR"), get("REMOTE_PORT")
        return _new_facts(
            RequestFacts,
            (
                self.method,
                self.path,
                query if query.isascii() else _decoded(query),
                get("wsgi.url_scheme") or "http",
                self,
                protocol[5:] if protocol.startswith("HTTP/") else None,
                (server, _port(get("SERVER_PORT"))) if server else None,
                (peer, None if peer_port is None else _port(peer_port)) if peer else None,
                None,
                get("HTTP_HOST"),
                get("HTTP_USER_AGENT"),
            ),
        )


_new_facts: Final = tuple.__new__  # without the frame that a named tuple's constructor takes


def _decoded(value: str) -> str:
    # PEP 3333 tunnels the request's bytes through latin-1.
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def _port(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() else None
