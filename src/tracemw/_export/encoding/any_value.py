"""The values of attributes: `AnyValue` and `KeyValue` of opentelemetry-proto's common.proto."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tracemw._export.encoding.protobuf import double, fits, integer, repeated, sized, text_field, utf8
from tracemw._otel.cleaning import DEEPEST, cut_octets, shown

_ITEM: Final = 8
"""Bytes that an item of a sequence or mapping counts for at least."""

_MARK: Final = 64
"""Bytes that a text gets in any case, so that it can say how much was cut off."""


def any_value(value: object, room: list[int], depth: int = 0) -> bytes:
    """Return the `AnyValue` of a value.

    Args:
        value: The value of an attribute, or an item of one.
        room: A list of one number: the bytes that are left for the rest of the attribute. The number shrinks.
        depth: How many sequences and mappings are around the value.

    Raises:
        TypeError: when the value has no form in OTLP.
        ValueError: when it nests too deep.
    """
    # AnyValue: 1 string_value, 2 bool_value, 3 int_value, 4 double_value, 5 array_value, 6 kvlist_value, 7 bytes_value;
    # ArrayValue and KeyValueList: 1 values
    if isinstance(value, str):
        octets = cut_octets(utf8(value), max(room[0], _MARK))
        room[0] -= max(len(octets), _ITEM)
        return b"\x0a" + sized(octets)
    room[0] -= _ITEM
    if isinstance(value, bool):
        return b"\x10" + integer(value)
    if isinstance(value, int):
        number = int.__int__(value)  # the plain number: a subclass may give another
        return b"\x18" + integer(number) if fits(number) else b"\x0a" + sized(integer(number))
    if isinstance(value, float):
        return b"\x21" + double(value)
    if isinstance(value, bytes):
        octets = bytes.__getitem__(value, slice(None))
        if len(octets) > room[0]:
            kept = octets[: max(room[0] - _MARK, 0)]
            octets = kept + f"... [cut, {len(octets) - len(kept)} bytes]".encode()
        room[0] -= len(octets)
        return b"\x3a" + sized(octets)
    if value is None:
        return b""
    if depth == DEEPEST:  # parsers refuse messages that nest deeper than 100; a mapping in a mapping takes three
        raise ValueError(f"nested more than {DEEPEST} deep")
    if isinstance(value, Sequence):
        items: list[bytes] = []
        for item in value:
            if room[0] <= 0:
                items.append(sized(_left_out(value, len(items))))
                break
            items.append(sized(any_value(item, room, depth + 1)))
        return b"\x2a" + sized(repeated(b"\x0a", items))
    if isinstance(value, Mapping):
        pairs: list[bytes] = []
        for key, item in value.items():
            if room[0] <= 0:
                pairs.append(key_value(text_field(b"\x0a", "…"), _left_out(value, len(pairs))))
                break
            name = key if type(key) is str else _name(key)
            room[0] -= len(name)
            pairs.append(key_value(text_field(b"\x0a", name), any_value(item, room, depth + 1)))
        return b"\x32" + sized(repeated(b"\x0a", pairs))
    raise TypeError(f"{type(value).__qualname__} has no form in OTLP")


def key_value(key: bytes, value: bytes) -> bytes:
    """Return the sized `KeyValue` of a key, with its tag, and an `AnyValue`."""
    # KeyValue: 1 key, 2 value
    return sized(key + b"\x12" + sized(value))


def _name(key: object) -> str:
    try:
        return str(key)
    except Exception:
        return shown(key)


def _left_out(value: Sequence[object] | Mapping[object, object], kept: int) -> bytes:
    return b"\x0a" + sized(f"... [cut, {len(value) - kept} items]".encode())
