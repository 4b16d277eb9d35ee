"""The service that the shop calls: it reads a request and answers with a charge."""

from __future__ import annotations

import asyncio

from benchmarks.listening import listen

_ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{"charge":7}'


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(size or 0))
        writer.write(_ANSWER)


if __name__ == "__main__":
    listen(_serve)
