"""One WSGI request being served, and how much of its response has been handed to the server."""

from __future__ import annotations

from time import monotonic_ns
from traceback import walk_tb
from typing import Any, Final

from tracemw._http.departures import is_named_for_it
from tracemw._http.exchange import ServerExchange
from tracemw.wsgi._environ import EnvironRequest

# PEP 3333 has the head of a response wait for the first byte of its body. Most servers take the first part for that,
# even an empty one. Some send it at once, and only few keep to the letter: by the modules of their `start_response`.
START_RESPONSE: Final = "start_response"
PART: Final = "part"
BYTE: Final = "byte"


class WsgiExchange(ServerExchange):
    """One request being served, and how much of its response has been handed to the server."""

    protocol = "wsgi"
    head_goes_with: str = PART
    """With what the server sends the status and the headers, from where on nothing can replace them."""
    is_answered_for = True
    """Whether the server answers with a 500 when an exception comes before that."""
    has_begun = False
    """Whether the head of the response is out."""
    last_byte_at: int | None = None
    """When the latest part of the body was handed over, by the monotonic clock."""
    left: int | None = None
    """How many bytes are to come, when the application has declared how many there are."""

    request: EnvironRequest

    def sent(self, data: bytes) -> None:
        """Take note of a part of the body; the request ends with the last byte that was declared.

        Who reads no further than that, as some servers and test clients do, may never close the body.
        """
        self.last_byte_at = monotonic_ns()
        if data or self.head_goes_with is not BYTE:
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


def is_taken_care_of(body: object, exchange: WsgiExchange) -> bool:
    """Tell whether an application that has not answered says so by what it returns, which the server has to get as is.

    With gevent and eventlet, WebSocket libraries return an empty list; gunicorn knows an object by its identity.
    """
    if type(body) is object or (body == [] and exchange.serves_a_connection()):
        exchange.switched()
        return True
    return False
