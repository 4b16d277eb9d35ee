"""Bodies on their way in: none may be too large or too slow, and all together may not take too much memory.

Room is made at the cost of the largest body that is still being read. So a few that never end keep nobody else out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from tracemw.viewer.otlp import OtlpError, too_large

BODY_SECONDS = 30.0  # a sender that needs longer for one body has gone

_BODIES = 3  # so many of the largest size have room at once


class Bodies:
    """All bodies that are being read or wait for their turn to be parsed.

    Args:
        limit: bytes of one body
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = _BODIES * limit
        self._reading: dict[asyncio.Timeout, int] = {}  # how much has come, by the time limit of each

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body as sent, which counts until the block ends.

        Reading stops at the limit, and does not begin when the length is known to be beyond.

        Raises:
            OtlpError: 413 beyond the limit, 408 for one that is too slow, 503 for one that made room for others
        """
        length = request.headers.get("content-length", "")
        if length.isdecimal() and len(length) <= _LONGEST_LENGTH and int(length) > self._limit:
            raise too_large(self._limit)
        body = bytearray()
        size = 0
        try:
            try:
                await self._fill(body, request)
            finally:
                size = len(body)
            whole = bytes(body)
            body.clear()
            yield whole
        finally:
            self._room += size

    async def _fill(self, body: bytearray, request: Request) -> None:
        try:
            async with asyncio.timeout(BODY_SECONDS) as patience:
                try:
                    async for chunk in request.stream():
                        if len(body) + len(chunk) > self._limit:
                            raise too_large(self._limit)
                        body += chunk
                        self._reading[patience] = len(body)
                        self._room -= len(chunk)
                        if self._room < 0:
                            self._make_room()
                finally:
                    self._reading.pop(patience, None)
        except TimeoutError:
            if patience.when() != _NOW:
                raise OtlpError(408, f"the body did not arrive within {BODY_SECONDS:.0f} seconds") from None
            raise OtlpError(503, "too many large bodies at once: send this one later, or in smaller batches") from None

    def _make_room(self) -> None:
        largest = max(self._reading, key=self._reading.__getitem__)
        del self._reading[largest]
        largest.reschedule(_NOW)


_NOW = 0.0  # on the clock of the event loop, always over
_LONGEST_LENGTH = 19  # digits of a Content-Length that is worth reading
