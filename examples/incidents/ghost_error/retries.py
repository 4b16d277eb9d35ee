"""Retries, which every team has put into its client after some incident."""

import httpx

from tracemw.httpx import AsyncTraceTransport

TRIES = 3


class Retries(httpx.AsyncBaseTransport):
    """Tries each request three times, at once; each attempt is a span, since the traced transport is inside."""

    def __init__(self) -> None:
        self._transport: httpx.AsyncBaseTransport = AsyncTraceTransport(httpx.AsyncHTTPTransport())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request until the answer is no failure, three times at most."""
        for _ in range(TRIES - 1):
            try:
                response = await self._transport.handle_async_request(request)
            except httpx.TimeoutException:
                continue
            if response.status_code < 500:
                return response
            await response.aclose()
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()
