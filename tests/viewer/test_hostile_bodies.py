"""Bodies that are small and unfold: the viewer refuses each for little CPU time and memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from .cost import MEGABYTE, cost, needs_proc
from .running import JSON, PROTOBUF, Viewer
from .samples import hex_id, one, request

GZIP = {"content-encoding": "gzip"}


pytestmark = needs_proc


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    length, encoded = len(content), b""
    while length > 0x7F:
        encoded += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + encoded + bytes([length]) + content


IDS = field(1, b"\1" * 16) + field(2, b"\2" * 8)
MANY = 9_000_000  # two bytes each: as many as a body has room for


def in_span(content: bytes) -> bytes:
    return field(1, field(2, field(2, IDS + content)))


def in_value(content: bytes) -> bytes:
    return in_span(field(9, field(1, b"a") + field(2, content)))


BOMBS: dict[str, Callable[[], bytes]] = {
    "resources": lambda: field(1, b"") * MANY,
    "scopes": lambda: field(1, field(2, b"") * MANY),
    "spans": lambda: field(1, field(2, field(2, b"") * MANY)),
    "spans with ids": lambda: field(1, field(2, field(2, IDS) * (MANY // 16))),
    "spans with ids, each from its own scope": lambda: field(1, field(2, field(2, IDS)) * (MANY // 18)),
    "spans with ids, each from its own resource": lambda: field(1, field(2, field(2, IDS))) * (MANY // 19),
    "attributes": lambda: in_span(field(9, b"") * MANY),
    "events": lambda: in_span(field(11, b"") * MANY),
    "links": lambda: in_span(field(13, b"") * MANY),
    "attributes of an event": lambda: in_span(field(11, field(3, b"") * MANY)),
    "attributes of a resource": lambda: field(1, field(1, field(1, b"") * MANY) + field(2, field(2, IDS))),
    "elements of a value": lambda: in_value(field(5, field(1, b"") * MANY)),
    "entries of a value": lambda: in_value(field(6, field(1, b"") * MANY)),
    "unknown fields": lambda: in_span(b"\x78\x00" * MANY),
    "statuses": lambda: in_span(field(15, b"") * MANY),
    "groups": lambda: b"\x7b\x7c" * MANY,
    "attributes in a group": lambda: b"\x7b" + field(1, b"") * MANY + b"\x7c",
    "a varint": lambda: b"\x80" * (2 * MANY),
    "many spans of many values": lambda: field(1, field(2, field(2, IDS + field(9, b"") * 90_000) * 90)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_protobuf_body_that_unfolds_is_refused_at_little_cost(attacked: Viewer, bomb: str) -> None:
    body = gzip.compress(BOMBS[bomb](), 6)
    with cost(attacked) as paid:
        response = attacked.http.post("/v1/traces", content=body, headers={**PROTOBUF, **GZIP})
    assert response.status_code in (400, 413)
    assert paid.seconds < 1.5
    assert paid.memory < 150 * MEGABYTE


def document(spans: str) -> str:
    return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}'


def json_span(fields: str) -> str:
    return document(f'{{"traceId":"{hex_id(5)}","spanId":"{5:016x}",{fields}}}')


JSON_BOMBS: dict[str, Callable[[], str]] = {
    "resources": lambda: '{"resourceSpans":[' + "{}," * 6_000_000 + "{}]}",
    "spans": lambda: document("{}," * 6_000_000 + "{}"),
    "attributes": lambda: json_span('"attributes":[' + "{}," * 6_000_000 + "{}]"),
    "arrays": lambda: json_span('"x":[' + "[]," * 6_000_000 + "[]]"),
    "strings": lambda: json_span('"x":[' + '"",' * 6_000_000 + '""]'),
    "numbers": lambda: json_span('"x":[' + "1," * 9_000_000 + "1]"),
    "keys that repeat": lambda: "{" + '"a":1,' * 3_000_000 + '"a":1}',
    "quotes within a string": lambda: '"' + '\\"' * 9_000_000,
    "braces that a string hides": lambda: '{"a":"' + "{[," * 6_000_000 + '"}',
    "deep arrays": lambda: "[" * 9_000_000,
    "deep objects": lambda: '{"a":' * 3_000_000,
    "deep values": lambda: json_span('"attributes":[' + '{"value":{"arrayValue":{"values":[' * 400_000),
    "digits": lambda: json_span('"x":' + "1" * 18_000_000),
    "numbers of many digits": lambda: json_span('"x":[' + ("1" * 4_300 + ",") * 4_000 + "1]"),
    "an exponent": lambda: json_span('"startTimeUnixNano":1e999999999'),
}


@pytest.mark.parametrize("bomb", JSON_BOMBS)
def test_a_small_json_body_that_unfolds_costs_little(attacked: Viewer, bomb: str) -> None:
    body = gzip.compress(JSON_BOMBS[bomb]().encode(), 6)
    with cost(attacked) as paid:
        response = attacked.http.post("/v1/traces", content=body, headers={**JSON, **GZIP})
    assert response.status_code in (200, 400, 413)
    assert paid.seconds < 2
    assert paid.memory < 200 * MEGABYTE


COMPRESSED: dict[str, Callable[[], tuple[bytes, str]]] = {
    "empty members": lambda: (gzip.compress(b"") * 200_000, "gzip"),
    "a request after empty members": lambda: (
        gzip.compress(b"", 1) * 2_000 + gzip.compress(request(one()).SerializeToString()),
        "gzip",
    ),
    "gzip in gzip": lambda: (gzip.compress(gzip.compress(bytes(19_000_000))), "gzip"),
    "zeros": lambda: (gzip.compress(bytes(200_000_000), 6), "gzip"),
    "deflated zeros": lambda: (zlib.compress(bytes(200_000_000), 6), "deflate"),
    "streams": lambda: (zlib.compress(b"") * 100_000, "deflate"),
    "no data": lambda: (gzip.compress(b"x")[:10] + bytes(5_000_000), "gzip"),
}


@pytest.mark.parametrize("bomb", COMPRESSED)
def test_a_compressed_body_costs_little_whatever_it_holds(attacked: Viewer, bomb: str) -> None:
    body, encoding = COMPRESSED[bomb]()
    with cost(attacked) as paid:
        response = attacked.http.post("/v1/traces", content=body, headers={**PROTOBUF, "content-encoding": encoding})
    assert response.status_code in (400, 413)
    assert paid.seconds < 1
    assert paid.memory < 120 * MEGABYTE
