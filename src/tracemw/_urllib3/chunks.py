"""The body of a response, of which the end ends the attempt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracemw._http.client import ClientExchange


def ending(chunks: Iterator[Any], exchange: ClientExchange) -> Iterator[Any]:
    """Pass on the chunks of a body; the last one, or an exception, ends the exchange."""
    try:
        yield from chunks
    except Exception as error:
        exchange.failure(error)
        raise
    exchange.end()
