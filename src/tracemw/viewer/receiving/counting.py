"""How many fields, values and spans one request may hold. They are counted before anything is built.

Two bytes of protobuf, or three of JSON, can be a message, and its object takes fifty times as much memory. So a limit
in bytes bounds neither memory nor time.
"""

from __future__ import annotations

import re
from typing import Any

MAX_FIELDS = 1_000_000  # of the protobuf messages of one request
MAX_VALUES = 1_000_000  # of the JSON of one request: strings, arrays, objects and commas
MAX_SPANS = 50_000  # of one request
MAX_SPAN_BYTES = 4 * 1024 * 1024  # of one span, and of one resource or scope
MAX_SPAN_FIELDS = 200_000  # of one span; the limits of an OpenTelemetry SDK let it have about 130,000

_SMALLEST_FIELD = 2  # bytes: a tag, and a length or a number
_LONGEST_VARINT = 10  # bytes
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)

_Table = dict[int, Any]  # the tag of a field that holds messages -> the table of those messages
_tables: dict[str, _Table] = {}


def has_more_fields(body: bytes, descriptor: Any, limit: int) -> bool:
    """Tell whether an encoded message has more than ``limit`` fields, at any depth.

    For bytes that are no such message, the result means nothing. The parser refuses those.
    """
    return len(body) > _SMALLEST_FIELD * limit and _count_fields(body, _table_of(descriptor), limit) > limit


def has_more_values(body: bytes, limit: int) -> bool:
    """Tell whether UTF-8 JSON has more than ``limit`` strings, arrays, objects and commas."""
    if body.count(b'"') // 2 + _count_structure(body) <= limit:
        return False
    values = end = 0  # count again, outside of strings only
    for string in _JSON_STRING.finditer(body):
        values += 1 + _count_structure(body[end : string.start()])
        end = string.end()
        if values > limit:
            return True
    return values + _count_structure(body[end:]) > limit


def _count_structure(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[") + text.count(b",")


def _table_of(descriptor: Any) -> _Table:
    name: str = descriptor.full_name
    if name not in _tables:
        table = _tables[name] = {}  # stored before its fields are read: a value can hold values
        for field in descriptor.fields:
            if field.message_type is not None:
                table[field.number << 3 | _DELIMITED] = _table_of(field.message_type)
    return _tables[name]


def _count_fields(body: bytes, table: _Table, limit: int) -> int:
    """Walk the wire format and count fields, until there are more than ``limit``."""
    around: list[tuple[int, _Table]] = []  # the messages around this one: end and table of each
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
                tag, position = _read_varint(body, position - 1)
            kind = tag & 7
            if kind == _DELIMITED:
                length = body[position]
                position += 1
                if length > 0x7F:
                    length, position = _read_varint(body, position - 1)
                inner = table.get(tag)
                if inner is None:
                    position += length
                elif length:
                    around.append((end, table))
                    end, table = position + length, inner
            elif kind == _VARINT:
                if body[position] > 0x7F:
                    _, position = _read_varint(body, position)
                else:
                    position += 1
            elif kind == _FIXED64:
                position += 8
            elif kind == _FIXED32:
                position += 4
            else:  # a group: OTLP has none, and fields could hide in one
                return limit + 1
    except IndexError:
        pass
    return count


def _read_varint(body: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        byte = body[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise IndexError
