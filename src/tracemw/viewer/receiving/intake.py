"""Request bodies on their way in. None may be too large or too slow, and all together have limited memory.

When memory runs out, the largest body that is still being read makes room. So bodies that never end keep nobody out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from tracemw.viewer.allowance import Allowance
from tracemw.viewer.receiving.refusals import RefusalError, too_large

_LARGEST_BODIES = 3  # there is room for so many at once
_LENGTH_DIGITS = 19  # a longer Content-Length is not worth reading
_NOW = 0.0  # on the event loop's clock, always in the past


class Intake:
    """All bodies that are being read or wait for their turn to be decoded.

    Args:
        allowance: How many bytes a body may have, and how long it may take.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._limit = allowance.body_bytes
        self._seconds = allowance.body_seconds
        self._room = _LARGEST_BODIES * self._limit
        self._reading: dict[asyncio.Timeout, int] = {}  # how many bytes of a body have come, by its time limit

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read the body as it was sent. Its memory counts until the block ends.

        Reading stops at the limit. If Content-Length is beyond the limit, reading does not begin.

        Raises:
            RefusalError: with 413, beyond the limit; with 408, for a body that is too slow; with 503, for a body that
                had to make room for others.
        """
        length = request.headers.get("content-length", "")
        if length.isdecimal() and len(length) <= _LENGTH_DIGITS and int(length) > self._limit:
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
            async with asyncio.timeout(self._seconds) as patience:
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
                raise RefusalError(408, f"the body did not arrive within {self._seconds:.0f} seconds") from None
            raise RefusalError(
                503, "too many large bodies at once: send this one later, or in smaller batches"
            ) from None

    def _make_room(self) -> None:
        largest = max(self._reading, key=self._reading.__getitem__)
        del self._reading[largest]
        largest.reschedule(_NOW)
