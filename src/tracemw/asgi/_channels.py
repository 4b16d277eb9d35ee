"""One ASGI connection being served: its two channels, watched for the response and its end."""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Sequence
from typing import Any, Final

from tracemw._http.exchange import ServerExchange
from tracemw._otel.context import attach, detach
from tracemw._otel.guard import fault
from tracemw.asgi._scope import ScopeRequest
from tracemw.asgi._types import Message, Receive, Send

_UNPAUSED: Final = 16_384
"""Bytes of a body up to which no server pauses reading. uvicorn pauses from 64 KiB on."""


class AsgiExchange(ServerExchange):
    """One connection being served. `receive` and `send` stand between the application and the server's channels."""

    protocol = "asgi"
    receive_from: Receive
    send_to: Send
    """The server's channels. The door sets both."""

    def _channel_raised(self, error: BaseException, *, of_head: bool = False) -> None:
        """Note an exception of one of the server's channels: an OSError says that the connection has ended.

        Args:
            error: The exception.
            of_head: Whether the server was given the head of the response. It refuses one with an invalid header.
        """
        # uvloop's transports raise a RuntimeError for that, and servers may let it pass.
        is_closed = isinstance(error, OSError) or (type(error) is RuntimeError and "handler is closed" in str(error))
        if self.client_has_gone or is_closed:
            self.gone(error)
        elif of_head:
            self.answered(None)

    def _answered(self, message: Message, status: Any) -> Message:
        """Note the status of the response, and return its message with the header that tells the trace id."""
        if self.status is not None:  # servers refuse a second answer: the client has got the first
            return message
        try:
            self.answered(status if type(status) is int or status is None else int(status))
            self.first_byte()
            settings = self.settings
            trace_id, captures = self.told_trace_id(), self.is_open and settings.captures_response
            if trace_id is None and not captures:
                return message
            # ASGI allows any iterable, also one that can be read only once. Some servers take names that are str.
            headers = [*(message.get("headers") or ())]
            message = {**message}
            message["headers"] = headers
            if captures:
                self.capture(ResponseHeaders(headers))
            if trace_id is not None:
                name = settings.response_header_octets
                size = len(name)
                for present, _ in headers:
                    if len(present) == size and present.lower() in (name, settings.response_header):
                        break
                else:
                    headers.append((name, hexlify(trace_id)))
        except Exception as error:
            fault("AsgiExchange._answered", error)
        return message


class HttpExchange(AsgiExchange):
    """One HTTP request being served, watched for its response and its end."""

    request: ScopeRequest
    status_of_silence = 500
    _has_begun = False
    """Whether the application has sent a part of the body."""
    _trailers: Any = False
    """Whether the application has said that trailers end the response."""
    _may_be_paused: Any = True
    """Whether the server may have paused reading, since the application has not read the body, or a part was large."""

    async def receive(self) -> Message:
        """Receive a message from the server, and note that the client has gone if the message says so."""
        # Call the server in its own context, unless the body is small. If the call resumes reading from the connection,
        # the event loop keeps the current context for all that comes in later, the next requests included.
        receive, around = self.receive_from, self.around
        token = None if self.request.has_small_body() else attach(around)
        try:
            message = await receive()
        except Exception as error:
            self._channel_raised(error)
            raise
        finally:
            if token is not None:
                detach(token, around)
        kind = message["type"]
        if kind == "http.disconnect":
            self.gone()
        else:
            self._may_be_paused = token is not None and (
                message.get("more_body") or len(message.get("body") or b"") > _UNPAUSED
            )
        return message

    async def send(self, message: Message) -> None:
        """Send a message to the server. The head gets the trace id, and the last byte ends the span."""
        send = self.send_to  # a function in a field: `self.send_to(message)` would look for a method first
        kind = message["type"]
        is_head = is_body = False
        if kind == "http.response.start":
            is_head = self.status is None
            message = self._answered(message, message.get("status"))
            self._trailers = message.get("trailers")
            is_last = False
        elif kind == "http.response.body" or kind == "http.response.zerocopysend":
            is_body = True
            is_last = not (self._trailers or message.get("more_body"))
        else:
            is_last = kind == "http.response.pathsend" or (
                kind == "http.response.trailers" and not message.get("more_trailers")
            )
        try:
            if not is_last:
                await send(message)
                if is_body:
                    self._has_begun = True
                return
            # The server may begin the next request now, still in this context.
            self.is_over = True
            if self.request.method == "GET" or not self._may_be_paused:
                await send(message)
            else:  # as in `receive`; not always, since some servers write their access log now, with the trace id
                token = attach(self.around)
                try:
                    await send(message)
                finally:
                    detach(token, self.around)
        except Exception as error:
            self._channel_raised(error, of_head=is_head)
            raise
        if self.is_open:
            # The span ends here, and not when the application returns: that may do background work first. After a 5xx
            # the span waits: an error page is sent first, and then the exception behind it is raised again.
            if self.server_error is not None:
                self.ended_at = self.now()
            else:
                self.end()

    def finish(self, *, returned: bool) -> None:
        """End the span, unless the last byte of the response has ended it."""
        if not self.client_has_gone:
            if not (returned or self._has_begun or self.is_over) and _delays_the_head(self.send_to):
                self.answered(None)
            self.unanswered()
        incomplete = returned and self.ended_at is None and not self.client_has_gone
        self.end(incomplete=incomplete)


def _delays_the_head(send: Send) -> bool:
    """Tell whether a server sends the head of a response with the first part of its body, and a 500 if no part comes.

    The specification says so, but most servers send the head at once.
    """
    return type(getattr(send, "__self__", None)).__module__.startswith("granian.")


class WebSocketExchange(AsgiExchange):
    """One WebSocket connection being served, watched for its handshake and its close."""

    async def receive(self) -> Message:
        """Receive a message from the server, and note the close code when the connection has ended."""
        token = attach(self.around)  # as in `HttpExchange.receive`
        try:
            message = await self.receive_from()
        except Exception as error:
            self._channel_raised(error)
            raise
        finally:
            detach(token, self.around)
        if message["type"] == "websocket.disconnect":
            self.annotate("websocket.close_code", message.get("code", 1005))
            self.gone()
        return message

    async def send(self, message: Message) -> None:
        """Send a message to the server, and note the answer to the handshake, or the close code."""
        kind, is_head = message["type"], self.status is None
        if kind == "websocket.accept":
            message = self._answered(message, 101)
        elif kind == "websocket.http.response.start":
            message = self._answered(message, message.get("status"))
        elif kind == "websocket.close":
            if self.client_has_gone:
                pass  # the client has closed the connection, or has never had one
            elif self.status is None:
                self.answered(403)  # servers answer this when the application denies the handshake
            else:
                self.annotate("websocket.close_code", message.get("code", 1000))
        try:
            await self.send_to(message)
        except Exception as error:
            self._channel_raised(error, of_head=is_head)
            raise

    def finish(self, *, returned: bool) -> None:
        """End the span: the application has returned, or has raised."""
        del returned  # nothing is incomplete: an application may let the server close the WebSocket
        self.unanswered()
        self.end()


class ResponseHeaders:
    """The headers of an ASGI message, as `tracemw._http.facts.Headers`."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def get(self, name: str, /) -> list[str]:
        wanted = name.encode("latin-1")
        return [value.decode("latin-1") for key, value in self._raw if key.lower() == wanted]

    def keys(self) -> list[str]:
        return [key.decode("latin-1") for key, _ in self._raw]
