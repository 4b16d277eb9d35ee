"""Answers on their way out. Of an answer, only what its peer has not taken yet is held, and only once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

UNSENT = "unsent_bytes"
"""The name in the scope's state of the bytes of a response that are not sent yet: `patience` counts them."""

_PART_BYTES = 256 * 1024


class PiecewiseResponse(Response):
    """An answer that is complete, and is sent piece by piece. A piece is let go once it is sent.

    A response that is sent at once would be copied by the transport, and held as a whole until its last byte is taken.

    Args:
        pieces: The body. A long piece may be shared with others: it is sent in parts, which are no copies.
        media_type: The body's type.
    """

    def __init__(self, pieces: Iterable[bytes], *, media_type: str) -> None:
        self._pieces = deque(pieces)
        self._size = sum(map(len, self._pieces))
        super().__init__(headers={"content-length": str(self._size)}, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's signature
        """Send the response."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        state = scope.setdefault("state", {})
        state[UNSENT] = self._size
        while self._pieces:
            piece = memoryview(self._pieces.popleft())
            for start in range(0, len(piece), _PART_BYTES):
                part = piece[start : start + _PART_BYTES]
                await send({"type": "http.response.body", "body": part, "more_body": True})
                state[UNSENT] -= len(part)
        await send({"type": "http.response.body", "body": b""})
