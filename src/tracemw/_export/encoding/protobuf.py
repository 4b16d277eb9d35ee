"""The wire format of protobuf: varints, lengths, and the fields of messages.

A message is built from the inside out, since its length precedes it: `sized` puts the length in front, `repeated` the
tag before each of several messages. Tags (field number << 3 | wire type) are bytes literals and stand where a message
is put together, beside a comment with the numbers of its fields.

Source: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from tracemw._otel.cleaning import LONGEST, cut_octets, shown

TABLED: Final = 2048
"""The varints of smaller numbers are in `VARINTS`. Nearly all lengths are among these."""

VARINTS: Final = tuple(
    bytes((number,)) if number < 0x80 else bytes((number & 0x7F | 0x80, number >> 7)) for number in range(TABLED)
)
_CONTINUED: Final = tuple(bytes((low | 0x80,)) for low in range(0x80))

fixed64: Final = Struct("<Q").pack
double: Final = Struct("<d").pack


def varint(number: int) -> bytes:
    """Return a number that is not negative, seven bits a byte."""
    if number < TABLED:
        return VARINTS[number]
    rest = number >> 7  # of a port or a size, mostly, which needs no further call
    return _CONTINUED[number & 0x7F] + (VARINTS[rest] if rest < TABLED else varint(rest))


def integer(number: int) -> bytes:
    """Return an int64 as a varint, and a number beyond 64 bits as text (OTLP specification).

    The text has at least 19 octets, and a varint at most ten. So their lengths tell the two apart.
    """
    if 0 <= number < 2**63:
        return varint(number)
    return varint(number + 2**64) if fits(number) else shown(number).encode()


def fits(number: int) -> bool:
    """Tell whether a number is an int64."""
    return -(2**63) <= number < 2**63


def utf8(text: str) -> bytes:
    """Return a text in UTF-8. Lone surrogates, which stand for undecodable bytes of paths and headers, are escaped."""
    return str.encode(text, "utf-8", "backslashreplace")


def sized(message: bytes) -> bytes:
    """Return a message, or the octets of a text, with the length in front."""
    size = len(message)
    return (VARINTS[size] if size < TABLED else varint(size)) + message


def repeated(tag: bytes, messages: list[bytes]) -> bytes:
    """Return a repeated field: the tag before each of these sized messages."""
    return tag + tag.join(messages) if messages else b""


def text_field(tag: bytes, text: str | None) -> bytes:
    """Return a field with a text, cut at `LONGEST` octets. An empty text has no field."""
    if not text:
        return b""
    return tag + sized(cut_octets(utf8(text), LONGEST))


def count_field(tag: bytes, count: int) -> bytes:
    """Return a field with a number. 0 has no field."""
    return tag + varint(count) if count else b""


def time_field(tag: bytes, time: int | None) -> bytes:
    """Return a field with nanoseconds since the epoch. A missing time has no field."""
    return tag + fixed64(time) if time else b""
