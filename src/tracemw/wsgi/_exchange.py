"""One WSGI request being served, and how much of its response has been handed to the server."""

from __future__ import annotations

from time import monotonic_ns
from traceback import walk_tb
from typing import Any, Final

from tracemw._http.departures import is_named_for_it
from tracemw._http.exchange import ServerExchange
from tracemw.wsgi._environ import EnvironRequest

# PEP 3333: the head of a response goes out with the first byte of its body. Few servers keep to that. Most send the
# head with the first part of the body, even an empty one. Some send it at `start_response`.
START_RESPONSE: Final = "start_response"
PART: Final = "part"
BYTE: Final = "byte"


class WsgiExchange(ServerExchange):
    """One request being served, and how much of its response has been handed to the server."""

    protocol = "wsgi"
    head_goes_with: str = PART
    """When the server sends the status and the headers. After that, nothing can replace them."""
    is_answered_for = True
    """Whether the server answers with a 500 when an exception comes before the head is out."""
    has_begun = False
    """Whether the head of the response is out."""
    last_byte_at: int | None = None
    """When the latest part of the body was handed over, by the monotonic clock."""
    left: int | None = None
    """How many bytes of the body are still to come. None when the application has not declared a length."""

    request: EnvironRequest

    @property
    def is_awaited(self) -> bool:
        return not self.has_begun and not self.is_connection

    def sent(self, data: bytes) -> None:
        """Note a part of the body. The request ends with the last byte that was declared.

        The end does not wait for `close`: some servers and test clients stop at the last byte, and close no body.
        """
        self.last_byte_at = monotonic_ns()
        if data or self.head_goes_with is not BYTE:
            self.has_begun = True
        if not data:
            return
        if self.answered_at is None:
            self.first_byte()
        if self.left is not None:
            try:
                self.left -= len(data)
            except TypeError:  # no bytes, as of an application that returns bytes and no list: the server's to judge
                return
            if self.left <= 0:
                self.is_over = True
                self.end()

    def failed(self, error: BaseException) -> None:
        """Note an exception that goes to the server, and end the request.

        As long as the head is not out, the application's status counts for nothing.
        """
        if self.is_open:
            if not self.has_begun:
                self.answered(None)
            self.failure(error)
            if self.is_answered_for:
                self.unanswered()
            self.end()

    def abandon(self) -> None:
        """End the request with the time of its latest byte. Nobody holds the body any more."""
        self.is_over = True
        if self.last_byte_at is not None:
            self.ended_at = self.time_of(self.last_byte_at)
        self.end(incomplete=self.status is None)

    def serves_a_connection(self) -> bool:
        """Tell whether the client wants a WebSocket, and the application has not answered by HTTP."""
        return self.status is None and [each.lower() for each in self.request.get("upgrade")] == ["websocket"]

    def failure(self, error: BaseException) -> None:
        """Note an exception that escaped, unless a WebSocket library ends a connection with it.

        Such a library raises an exception of its own when the client has closed the connection. To keep the server from
        answering, it raises StopIteration under gunicorn, and a bare ConnectionError under Werkzeug's server.
        """
        is_signal = type(error) is StopIteration or (type(error) is ConnectionError and not error.args)
        if (is_signal or is_named_for_it(error)) and self.serves_a_connection():
            self.switched()
        else:
            super().failure(error)

    def says_only_that_the_client_has_gone(self, error: BaseException) -> bool:
        """Tell whether an exception only says that reading the request, or writing to its connection, has failed."""
        stream = self.request.environ.get("wsgi.input") if isinstance(error, OSError) else None
        if stream is not None and _was_raised_by(stream, error):
            return True
        return super().says_only_that_the_client_has_gone(error)


def _was_raised_by(stream: Any, error: BaseException) -> bool:
    """Tell whether an exception was raised in a method of the server's stream, or of the stream beneath."""
    for each in (stream, getattr(stream, "raw", None)):
        for frame, _ in walk_tb(error.__traceback__):
            method = getattr(type(each), frame.f_code.co_name, None)
            # Only this frame's locals are read. To read those of a frame that still runs makes it keep the exception.
            if getattr(method, "__code__", None) is frame.f_code and frame.f_locals.get("self") is each:
                return True
    return False


def has_served_a_connection(body: object, exchange: WsgiExchange) -> bool:
    """Tell whether an application's body says that a connection of another protocol has been served.

    The server must get such a body as it is. Under gevent and eventlet, WebSocket libraries return an empty list.
    gunicorn has an object that it knows by identity.
    """
    return type(body) is object or (body == [] and exchange.serves_a_connection())
