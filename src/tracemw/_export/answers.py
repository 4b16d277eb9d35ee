"""What backends answer, in protobuf: too little of it to load the generated classes for, which take 50 ms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_VARINT: Final = 0
_FIXED64: Final = 1
_SIZED: Final = 2
_FIXED32: Final = 5


def partial_success(body: bytes) -> tuple[int, str]:
    """Return the rejected spans, and the message, of an `ExportTraceServiceResponse`; 0 and "" of anything else."""
    rejected, message = 0, b""
    try:
        for number, value in _fields(body):  # ExportTraceServiceResponse: 1 partial_success
            if number == 1 and isinstance(value, bytes):
                for part, content in _fields(value):  # ExportTracePartialSuccess: 1 rejected_spans, 2 error_message
                    if part == 1 and isinstance(content, int):
                        rejected = content
                    elif part == 2 and isinstance(content, bytes):
                        message = content
    except ValueError:
        return 0, ""
    return (rejected if rejected < 1 << 63 else 0), message.decode(errors="replace")  # it is an int64


def retry_delay(details: bytes) -> float | None:
    """Return the seconds of the `RetryInfo` in a `google.rpc.Status`; None when there is none."""
    try:
        for number, detail in _fields(details):  # Status: 3 details
            if number == 3 and isinstance(detail, bytes):
                parts = dict(_fields(detail))  # Any: 1 type_url, 2 value
                kind, value = parts.get(1), parts.get(2, b"")
                if isinstance(kind, bytes) and kind.endswith(b"/google.rpc.RetryInfo") and isinstance(value, bytes):
                    delay = dict(_fields(value)).get(1, b"")  # RetryInfo: 1 retry_delay
                    return _seconds(delay) if isinstance(delay, bytes) else None
    except ValueError:
        pass
    return None


def _seconds(duration: bytes) -> float:
    parts = dict(_fields(duration))  # Duration: 1 seconds, 2 nanos
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int) or seconds >= 1 << 63 or nanos >= 1 << 63:
        return 0.0
    return seconds + nanos / 1e9


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field.

    Raises:
        ValueError: when it is no message.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _SIZED:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"no field has the wire type {kind}")
        if at + size > len(message):
            raise ValueError("the message is cut short")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number is cut short")
