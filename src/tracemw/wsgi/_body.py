"""The body of a WSGI response: the application's iterable, and the server's own file wrapper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import Token
from typing import Any
from weakref import ref

from opentelemetry.context import Context

from tracemw._otel.context import attach, current_context, detach
from tracemw.wsgi._exchange import WsgiExchange


class TracedBody:
    """The application's iterable; each step runs inside the request's context, which the server's thread leaves."""

    __slots__ = ("_body", "_exchange", "_iterator")

    def __init__(self, body: Iterable[bytes], exchange: WsgiExchange) -> None:
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


class SizedBody(TracedBody):
    """An iterable that tells its length, from which servers derive a missing Content-Length (PEP 3333)."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # made only for bodies that have it


class FileEnd:
    """What a server calls when it has sent a file its own way, or lets go of."""

    __slots__ = ("_close", "_exchange", "_file")

    def __init__(self, file: Any, exchange: WsgiExchange) -> None:
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


def watch_file(file: Any, exchange: WsgiExchange) -> None:
    """Watch for the end of the server's own file wrapper, which it tells by its type and sends its own way."""
    exchange.has_begun = True
    exchange.first_byte()
    try:
        file.close = FileEnd(file, exchange)
    except Exception:  # one written in C, say, which takes no other: the application's own part is over
        exchange.is_over = True
        exchange.end()
