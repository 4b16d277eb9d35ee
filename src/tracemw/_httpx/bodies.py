"""The body of a response: the span ends when its stream does, or when nobody holds the stream any more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any

from tracemw._http.client import ClientExchange


class Body:
    """What the bodies of both halves have in common.

    Args:
        stream: The body as the wrapped transport has given it.
        exchange: The attempt that ends with the body.
        closed: Called when the body is closed.
    """

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
        except AttributeError:  # an interrupt came while the body was made
            return
        exchange.abandon()
        if closed is not None:
            closed()


class SyncBody(Body):
    """The body of a response to a synchronous client."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks."""
        try:
            yield from self._stream
        except Exception as error:
            self._exchange.failure(error)
            raise
        self._exchange.end()

    def close(self) -> None:
        """Close the stream."""
        try:
            self._stream.close()
        finally:
            self._end()


class AsyncBody(Body):
    """The body of a response to an asynchronous client."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks."""
        chunks = aiter(self._stream)
        try:
            async for chunk in chunks:
                yield chunk
        except Exception as error:
            self._exchange.failure(error)
            raise
        finally:  # whoever closes this generator closes the one beneath
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        self._exchange.end()

    async def aclose(self) -> None:
        """Close the stream."""
        try:
            await self._stream.aclose()
        finally:
            self._end()
