"""The answers of backends, over HTTP or gRPC: what they say, and what that means.

A few of them are protobuf messages. These are read by hand: the generated classes take 50 ms to load.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Final

_VARINT: Final = 0
_FIXED64: Final = 1
_SIZED: Final = 2
_FIXED32: Final = 5

_LONGEST: Final = 300
"""Characters that are kept of the words of a backend, or of a library."""

_MOST_READ: Final = 4096
"""Characters of an answer that are read."""

_wants_tenant = re.compile(r"no org id", re.IGNORECASE).search
_has_wrong_tenant = re.compile(r"\btenant id\b|multiple org ids", re.IGNORECASE).search
_is_too_large = re.compile(
    r"(?:body|message|payload|entity|request|content|batch)\b.{0,80}?"
    r"(?:\btoo (?:large|big|long)|larger than|exceeds (?:the )?max|exceeds ingestion limit)|status: 413",
    re.IGNORECASE,
).search
"""The words of Go, gRPC in its languages, proxies, the OpenTelemetry Collector and Tempo."""


def wants_tenant(said: str) -> bool:
    """Tell whether a backend refuses a request that names no tenant. A retry would not help, whatever the status."""
    return _wants_tenant(said) is not None


def has_wrong_tenant(said: str) -> bool:
    """Tell whether the tenant is the reason of a backend that has refused for good."""
    return wants_tenant(said) or _has_wrong_tenant(said) is not None


def is_too_large(said: str) -> bool:
    """Tell whether a backend has refused a request for its size, whatever the status.

    Tempo's `RATE_LIMITED: batch size (5 bytes) exceeds ingestion limit` is one: no pause will help.
    """
    return _is_too_large(said) is not None


def message_in(body: bytes, charset: str | None = None) -> str:
    """Return what the body of an error says: a `google.rpc.Status`, JSON, a page or plain text; "" for anything else.

    The content type is not asked. Proxies and backends get it wrong.
    """
    message = _status_message(body)
    if message is not None:
        return message
    try:
        text = body.decode(charset or "utf-8").strip()
    except (LookupError, UnicodeError):
        return ""
    if text.startswith(("{", "[")):
        return _message_in_json(text)
    return unescape(text)


def plain(text: str) -> str:
    """Return a text in one line. A page gives its title, or its text without tags."""
    text = text[:_MOST_READ]
    if text.startswith("<"):
        title = re.search(r"<title>([^<]*)", text, re.IGNORECASE)
        text = title[1] if title is not None and title[1].strip() else re.sub(r"<[^<>]*>?", " ", text)
    return " ".join(text.split())


def printable(said: str) -> str:
    """Return the words of a backend, made fit for a log line: short, without control characters."""
    short = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
    return "".join(character if character.isprintable() else " " for character in short)


def _status_message(body: bytes) -> str | None:
    """Return the message of a `google.rpc.Status`. None for anything else."""
    message = None
    try:
        for number, value in _fields(body):  # Status: 1 code, 2 message, 3 details
            if number not in (1, 2, 3) or isinstance(value, int) != (number == 1):
                return None
            if number == 2 and isinstance(value, bytes):
                message = value.decode()
    except ValueError:
        return None
    return message


def _message_in_json(text: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for _ in range(4):  # {"error": {"message": "..."}}, {"errors": [{"detail": "..."}]} and the like
        if isinstance(found, str):
            return found
        if isinstance(found, list):
            found = found[0] if found else ""
        elif isinstance(found, dict):
            found = next((found[key] for key in _TELLING_KEYS if found.get(key)), text)
        else:
            break
    return found if isinstance(found, str) else text


_TELLING_KEYS: Final = ("message", "error", "errors", "detail", "title", "reason", "msg")


def partial_success(body: bytes) -> tuple[int, str]:
    """Return the number of rejected spans, and the message, of an `ExportTraceServiceResponse`; else 0 and ""."""
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
        ValueError: when the bytes are no protobuf message.
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
