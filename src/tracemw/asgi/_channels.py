"""One ASGI connection being served: the two channels, watched for how the application answers and for its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tracemw._http.exchange import ServerExchange
from tracemw._otel.context import attach, detach
from tracemw._otel.guard import fault
from tracemw.asgi._types import Message, Receive, Send

_BODIES: Final = frozenset({"http.response.body", "http.response.zerocopysend"})
_UNPAUSED: Final = 16_384
"""Bytes of a body for which no server pauses reading; uvicorn does from 64 KiB on."""


class AsgiExchange(ServerExchange):
    """One connection being served, between the two channels that the server gave for it."""

    protocol = "asgi"

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    def _refused(self, error: BaseException) -> None:
        """Note what a channel of the server has raised: an operating system's error is the connection's end."""
        # uvloop's transports have another exception for it, which servers may let pass.
        is_closed = isinstance(error, OSError) or (type(error) is RuntimeError and "handler is closed" in str(error))
        if self.client_has_gone or is_closed:
            self.gone(error)

    def _answered(self, message: Message, status: Any) -> Message:
        """Note how the application answers, and return its message with the header that tells the trace id."""
        if self.status is not None:  # a second answer, which servers refuse: the first is what the client has
            return message
        try:
            self.answered(None if status is None else int(status))
            if self.held is not None:
                self.held.answered()
            header, captures = self.response_header, self.settings.captures_response
            if header is None and not captures:
                return message
            # ASGI allows any iterable, so it may be one that can be read only once; and some servers take str as well.
            headers = list(message.get("headers") or ())
            message = {**message, "headers": headers}
            if captures and self.is_open:
                self.capture(ResponseHeaders(headers))
            if header is not None:
                name, value = header
                size = len(name)
                for present, _ in headers:
                    if len(present) == size and present.lower() in (name.encode(), name):
                        break
                else:
                    headers.append((name.encode(), value.encode()))
        except Exception as error:
            fault("AsgiExchange._answered", error)
        return message


class HttpExchange(AsgiExchange):
    """One HTTP request being served, watched for its response and its end."""

    status_of_silence = 500
    _has_begun = False
    """Whether the application has sent a part of the body."""
    _trailers: Any = False
    """Whether the response ends with trailers, as the application has said it."""
    _may_be_paused = True
    """Whether the server may have paused reading: for a body that the application has not read, or a large part."""
    _ended_at: int | None = None

    async def receive(self) -> Message:
        # In the context that the server has called the door in: one that resumes reading from the connection has its
        # event loop keep the current context for whatever comes in on it later, the next requests included.
        token = attach(self.around)
        try:
            message = await self._receive()
        except Exception as error:
            self._refused(error)
            raise
        finally:
            detach(token, self.around)
        kind = message["type"]
        if kind == "http.disconnect":
            self.gone()
        else:
            self._may_be_paused = bool(message.get("more_body")) or len(message.get("body") or b"") > _UNPAUSED
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        is_body = kind in _BODIES
        if is_body:
            is_last = not (self._trailers or message.get("more_body"))
        elif kind == "http.response.start":
            message = self._answered(message, message.get("status"))
            self._trailers = message.get("trailers")
            is_last = False
        else:
            is_last = kind == "http.response.pathsend" or (
                kind == "http.response.trailers" and not message.get("more_trailers")
            )
        try:
            if not is_last:
                await self._send(message)
                if is_body:
                    self._has_begun = True
                return
            # What the server does now may be for the next request already, in this context.
            self.is_over = True
            if self.request.method == "GET" or not self._may_be_paused:
                await self._send(message)
            else:  # as in `receive`; only then, since some servers write their access log now, with the trace's id
                token = attach(self.around)
                try:
                    await self._send(message)
                finally:
                    detach(token, self.around)
        except Exception as error:
            self._refused(error)
            raise
        if self.is_open:
            # The span ends here and not when the application returns, which may have background work to do. After a 5xx
            # the exception behind it may still come: an error page is sent first, then the exception raised again.
            if self.server_error is not None:
                self._ended_at = self.now()
            else:
                self.end()

    def finish(self, *, returned: bool) -> None:
        """End what the last byte of the response has not ended."""
        if not self.client_has_gone:
            if not (returned or self._has_begun or self.is_over) and _delays_the_head(self._send):
                self.answered(None)
            self.unanswered()
        incomplete = returned and self._ended_at is None and not self.client_has_gone
        self.end(at=self._ended_at, incomplete=incomplete)


def _delays_the_head(send: Send) -> bool:
    """Tell whether a server sends the head of a response with the first part of its body, and a 500 if none comes.

    The specification has it so, and most servers send it at once.
    """
    return type(getattr(send, "__self__", None)).__module__.startswith("granian.")


class WebSocketExchange(AsgiExchange):
    """One WebSocket connection being served, watched for its handshake and its close."""

    async def receive(self) -> Message:
        token = attach(self.around)  # as above
        try:
            message = await self._receive()
        except Exception as error:
            self._refused(error)
            raise
        finally:
            detach(token, self.around)
        if message["type"] == "websocket.disconnect":
            self.annotate("websocket.close_code", message.get("code", 1005))
            self.gone()
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            message = self._answered(message, 101)
        elif kind == "websocket.http.response.start":
            message = self._answered(message, message.get("status"))
        elif kind == "websocket.close":
            if self.client_has_gone:
                pass  # it has closed the connection itself, or never come to have one
            elif self.status is None:
                self.answered(403)  # what a server answers to a handshake that the application denies
            else:
                self.annotate("websocket.close_code", message.get("code", 1000))
        try:
            await self._send(message)
        except Exception as error:
            self._refused(error)
            raise

    def finish(self, *, returned: bool) -> None:
        del returned  # an application may leave the closing of a WebSocket to the server
        self.unanswered()
        self.end()


class ResponseHeaders:
    """The headers of an ASGI message."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def get(self, name: str, /) -> list[str]:
        wanted = name.encode("latin-1")
        return [value.decode("latin-1") for key, value in self._raw if key.lower() == wanted]

    def keys(self) -> list[str]:
        return [key.decode("latin-1") for key, _ in self._raw]
