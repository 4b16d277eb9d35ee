"""How much one request may hold, counted before anything is built from it.

Two bytes of protobuf, or three of JSON, are a message of their own, which takes fifty times as much once it is an
object. Bytes alone are no bound for memory or time, therefore: what is counted here are the things in them.
"""

from __future__ import annotations

import re
from typing import Any

MAX_FIELDS = 1_000_000  # of the protobuf messages of one request
MAX_VALUES = 1_000_000  # of the JSON of one request: its strings, arrays, objects, and commas
MAX_SPANS = 50_000  # of one request
MAX_SPAN_BYTES = 4 * 1024 * 1024  # of one span, and of one resource or scope
MAX_SPAN_FIELDS = 200_000  # of one span; the limits of an OpenTelemetry SDK let it have about 130,000

_SMALLEST_FIELD = 2  # bytes: a tag, and a length or a number
_LONGEST_VARINT = 10  # bytes
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)

_Table = dict[int, Any]  # tag of a field that holds messages -> the same for those
_tables: dict[str, _Table] = {}


def has_more_fields(body: bytes, descriptor: Any, limit: int) -> bool:
    """Whether a message's encoding has more than ``limit`` fields, at any depth.

    Bytes that are no such message have any answer: the parser refuses them.
    """
    return len(body) > _SMALLEST_FIELD * limit and _fields(body, _table(descriptor), limit) > limit


def has_more_values(body: bytes, limit: int) -> bool:
    """Whether UTF-8 JSON has more than ``limit`` strings, arrays, objects and commas."""
    if body.count(b'"') // 2 + _structure(body) <= limit:
        return False
    values = end = 0  # once more, without what stands inside strings
    for string in _JSON_STRING.finditer(body):
        values += 1 + _structure(body[end : string.start()])
        end = string.end()
        if values > limit:
            return True
    return values + _structure(body[end:]) > limit


def _structure(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[") + text.count(b",")


def _table(descriptor: Any) -> _Table:
    name: str = descriptor.full_name
    if name not in _tables:
        table = _tables[name] = {}  # known before its fields, since values hold values
        for field in descriptor.fields:
            if field.message_type is not None:
                table[field.number << 3 | _DELIMITED] = _table(field.message_type)
    return _tables[name]


def _fields(body: bytes, table: _Table, limit: int) -> int:
    """Count fields until there are more than ``limit``, walking the wire format without building anything."""
    around: list[tuple[int, _Table]] = []  # the messages that the present one stands in: where they end, what they hold
    position, end, count = 0, len(body), 0
    try:
        while count <= limit:
            if position >= end:
                if not around:
                    break
                end, table = around.pop()
                continue
            count += 1
            tag = body[position]
            position += 1
            if tag > 0x7F:
                tag, position = _varint(body, position - 1)
            kind = tag & 7
            if kind == _DELIMITED:
                length = body[position]
                position += 1
                if length > 0x7F:
                    length, position = _varint(body, position - 1)
                inner = table.get(tag)
                if inner is None:
                    position += length
                elif length:
                    around.append((end, table))
                    end, table = position + length, inner
            elif kind == _VARINT:
                if body[position] > 0x7F:
                    _, position = _varint(body, position)
                else:
                    position += 1
            elif kind == _FIXED64:
                position += 8
            elif kind == _FIXED32:
                position += 4
            else:  # a group, which OTLP does not have, and in which fields could hide
                return limit + 1
    except IndexError:
        pass
    return count


def _varint(body: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        byte = body[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise IndexError
