"""The backend that every contestant exports to: it reads the body, counts the spans in it and answers 200.

`POST /<name>/v1/<signal>` counts for `<name>`,
as does what others post by protocols of their own; `GET /` tells the counts as JSON.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

from benchmarks.listening import listen

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
_JSON_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
_counts: Counter[str] = Counter()


def count_spans(body: bytes) -> int:
    """Return how many spans an ExportTraceServiceRequest has; all of its three levels have them in field 2 or 1."""
    return sum(
        1
        for resource_spans in _messages(memoryview(body), 1)
        for scope_spans in _messages(resource_spans, 2)
        for _ in _messages(scope_spans, 2)
    )


def _of_elastic(body: bytes) -> int:
    """Return how many transactions and spans an intake of Elastic's has: each is a line of JSON."""
    return sum(line.startswith((b'{"transaction"', b'{"span"')) for line in body.splitlines())


def _of_sentry(body: bytes) -> int:
    """Return how many spans an envelope of Sentry's has: one for its transaction, and those below it."""
    parts = (json.loads(line) for line in body.splitlines() if b'"spans":' in line)
    return sum(1 + len(part["spans"]) for part in parts)


def _of_datadog(body: bytes) -> int:
    """Return how many spans a payload of Datadog's has: each is a map in MessagePack with this key once."""
    return body.count(b"\xa7span_id")


_COUNTED: dict[str, Callable[[bytes], int]] = {
    "v1/traces": count_spans,
    "intake/v2/events": _of_elastic,
    "api/1/envelope": _of_sentry,
    "v0.4/traces": _of_datadog,
}


def _plain(body: bytes, coding: str) -> bytes:
    match coding:
        case "gzip":
            return gzip.decompress(body)
        case "deflate":
            return zlib.decompress(body)
        case _:
            return body


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
        name, _, place = path.partition("?")[0].strip("/").partition("/")
        writer.write(_ANSWER if place.startswith("v1/") else _JSON_ANSWER)
        if (counted := _COUNTED.get(place)) is not None:
            _counts[name] += counted(_plain(body, headers.get("content-encoding", "")))
        _counts[f"{name} {place} posts"] += 1
        _counts[f"{name} {place} bytes"] += len(body)


if __name__ == "__main__":
    listen(_serve)
