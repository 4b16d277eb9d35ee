"""A server that is a process of its own, so that none of its work is on a contestant's account."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

_LONGEST_HEAD: Final = 1 << 24

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def listen(serve: Serve) -> None:
    """Serve each connection, write the address to standard output, and end when standard input does."""
    asyncio.run(_listen(serve))


async def _listen(serve: Serve) -> None:
    async def until_its_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(until_its_end, "127.0.0.1", 0, limit=_LONGEST_HEAD)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)  # its end is the parent's word that it is over
    os._exit(0)  # whatever connections are still open
