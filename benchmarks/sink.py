"""The backend that every contestant exports to: it reads the body, counts the spans in it and answers 200.

A process of its own, so that none of it is on a contestant's account. `POST /<name>/v1/<signal>` counts for `<name>`;
`GET /` tells the counts as JSON.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
_counts: Counter[str] = Counter()


def count_spans(body: bytes) -> int:
    """Return how many spans an ExportTraceServiceRequest has; all of its three levels have them in field 2 or 1."""
    return sum(
        1
        for resource_spans in _messages(memoryview(body), 1)
        for scope_spans in _messages(resource_spans, 2)
        for _ in _messages(scope_spans, 2)
    )


def _messages(data: memoryview, field: int) -> Iterator[memoryview]:
    wanted = field << 3 | 2
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        if tag & 7 != 2 or tag >= 128:
            raise ValueError(f"no OTLP: tag {tag} at {at}")
        at, size = _varint(data, at + 1)
        if tag == wanted:
            yield data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return at, value
        shift += 7


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            method, path, _ = lines[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if method == "GET":
                text = json.dumps(_counts).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
                continue
            writer.write(_ANSWER)
            name, _, signal = path.strip("/").partition("/v1/")
            if signal == "traces":
                plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
                _counts[name] += count_spans(plain)
            _counts[f"{name} {signal} posts"] += 1
            _counts[f"{name} {signal} bytes"] += len(body)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, limit=1 << 24)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)  # its end is the parent's word that it is over
    os._exit(0)  # whatever connections are still open


if __name__ == "__main__":
    asyncio.run(_main())
