"""The head of a WSGI response: `start_response` as the application gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tracemw._http.exchange import ServerExchange
from tracemw._otel.guard import fault
from tracemw.wsgi._exchange import START_RESPONSE, WsgiExchange

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


def observed(start_response: StartResponse, exchange: WsgiExchange) -> StartResponse:
    """Return the server's `start_response` for the application: it adds our header, and tells the exchange."""

    def observing_start_response(
        status: str, response_headers: Iterable[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        headers = list(response_headers)  # PEP 3333 asks for a list, but servers take any iterable
        traced, length = _with_header(headers, exchange)
        write = start_response(status, traced, exc_info) if exc_info else start_response(status, traced)
        # Only after the call: a server refuses a second status once the headers are out.
        try:
            if not exchange.has_begun:  # a status after the head comes too late
                exchange.has_begun = exchange.head_goes_with is START_RESPONSE
                exchange.answered(int(status[:3]) if status[:3].isdecimal() else exchange.status)
                exchange.left = length
                if exchange.settings.captures_response and exchange.is_open:
                    exchange.capture(ResponseHeaders(headers))
        except Exception as error:
            fault("wsgi.observed", error)
        if not exchange.is_open:
            return write

        # The exchange must not hold `write`: a server's functions lead to its environ, and that leads to the exchange.
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


def _with_header(headers: list[tuple[str, str]], exchange: ServerExchange) -> tuple[list[tuple[str, str]], int | None]:
    """Return the headers with the one that tells the trace id, and the length that they declare."""
    length = None
    try:
        trace_id, wanted = exchange.told_trace_id(), exchange.settings.response_header
        for name, value in headers:
            lower = name.lower()
            if lower == "content-length":
                length = int(value) if value.isdecimal() else None
            elif lower == wanted:
                trace_id = None
        return headers if trace_id is None or wanted is None else [*headers, (wanted, trace_id.hex())], length
    except Exception as error:
        fault("wsgi._with_header", error)
        return headers, length


class ResponseHeaders:
    """The headers given to `start_response`, as `tracemw._http.facts.Headers`."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def get(self, name: str, /) -> list[str]:
        return [value for key, value in self._pairs if key.lower() == name]

    def keys(self) -> list[str]:
        return [key.lower() for key, _ in self._pairs]
