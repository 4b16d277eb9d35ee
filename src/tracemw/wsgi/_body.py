"""The body of a WSGI response: the application's iterable, and the server's own file wrapper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import Token
from typing import Any
from weakref import ref

from opentelemetry.context import Context

from tracemw._otel.context import attach, current_context, detach
from tracemw.wsgi._exchange import WsgiExchange


class _Steps:
    """What all bodies have in common. Each step runs in the request's context, and the server's thread in its own."""

    __slots__ = ()

    _body: Iterable[bytes]
    _exchange: WsgiExchange
    _iterator: Iterator[bytes] | None

    def __next__(self) -> bytes:
        exchange = self._exchange
        token: Token[Context] | None = None
        is_left = False
        try:
            try:
                token = attach(exchange.context)
                if self._iterator is None:
                    self._iterator = iter(self._body)  # type: ignore[misc]  # a slot of the classes below
                chunk = next(self._iterator)
                exchange.sent(chunk)
                return chunk
            except StopIteration:
                # The span ends with the last byte: what the application does in close() is background work. The
                # application must have called start_response by now. If not, the server answers with an error.
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
        """Close the application's iterable and end the span. A server calls this whatever has happened."""
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
                    # A server refuses a part that comes before `start_response`, and goes no further.
                    exchange.end(incomplete=exchange.status is None and exchange.last_byte_at is not None)
                if token is not None:
                    detach(token, exchange.context)
        finally:
            exchange.depart()

    def __del__(self) -> None:
        try:
            exchange = self._exchange
        except AttributeError:  # an interrupt came while this object was made
            return
        if not exchange.is_settled:
            exchange.abandon()


class TracedBody(_Steps):
    """The application's iterable."""

    __slots__ = ("_body", "_exchange", "_iterator")

    def __init__(self, body: Iterable[bytes], exchange: WsgiExchange) -> None:
        self._body, self._exchange, self._iterator = body, exchange, None

    def __iter__(self) -> Iterator[bytes]:
        return self


class SizedBody(TracedBody):
    """An iterable with a length. Servers derive a missing Content-Length from it (PEP 3333).

    The servers of gevent and eventlet count the bytes for it in a pass of their own, gevent's while it sends.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.__next__, None) if self._iterator is None else iter(self._body)

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # made only for bodies with a length


class ListBody(list[bytes], _Steps):
    """A list. granian sends a list in one piece, with its length, and lets it go without a `close`."""

    __slots__ = ("_body", "_exchange", "_iterator")

    def __init__(self, body: list[bytes], exchange: WsgiExchange) -> None:
        super().__init__(body)
        self._body, self._exchange, self._iterator = body, exchange, None

    def __iter__(self) -> Iterator[bytes]:  # as in `SizedBody`
        return iter(self.__next__, None) if self._iterator is None else iter(self._body)


def traced(body: Iterable[bytes], exchange: WsgiExchange) -> Iterable[bytes]:
    """Return a body that is to the server what the application's is, and ends the exchange."""
    if isinstance(body, list):
        return ListBody(body, exchange)
    return (SizedBody if hasattr(body, "__len__") else TracedBody)(body, exchange)


class FileEnd:
    """The `close` of a file that the server sends in its own way. The server calls it, or frees it with the file."""

    __slots__ = ("_close", "_exchange", "_file")

    def __init__(self, file: Any, exchange: WsgiExchange) -> None:
        self._exchange = exchange
        close = getattr(file, "close", None)
        # A weak reference, and the bare function: the file leads to this object, which must not lead back.
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


def watch_file(file: Any, exchange: WsgiExchange) -> None:
    """Watch the server's own file wrapper for its end. No body goes around it: the server knows it by its type."""
    exchange.has_begun = True
    exchange.first_byte()
    try:
        file.close = FileEnd(file, exchange)
    except Exception:  # a wrapper written in C takes no other `close`; the application's own part is over
        exchange.is_over = True
        exchange.end()
