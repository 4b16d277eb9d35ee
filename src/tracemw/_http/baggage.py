"""W3C Baggage, read and written.

A member goes out as it came in, with its properties, unless the application has changed it. OpenTelemetry's baggage
holds only names and values. So the context keeps the received members beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.baggage import _BAGGAGE_KEY
from opentelemetry.context import Context

from tracemw._otel.guard import unusable

_RECEIVED: Final = otel_context.create_key("tracemw-baggage-received")

KEYS: Final = (_BAGGAGE_KEY, _RECEIVED)
"""The keys of a context under which baggage lies."""

# Section 3.3.1: a token, and a value of printable ASCII without space, quote, comma, semicolon and backslash.
_KEY: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_PROPERTIES: Final = re.compile(r"[\x20\x09\x21-\x2b\x2d-\x7e]*")
_SAFE: Final = "!#$&'()*+-./:<=>?@[]^_`{|}~"

# Section 3.3.2: everybody passes on at least this much. Nobody can rely on more.
_MOST_BYTES: Final = 8192
_MOST_MEMBERS: Final = 64


def extract(headers: Iterable[str], context: Context) -> Context:
    """Return `context` with the members of the `baggage` headers, without those that are not valid or too long."""
    received: dict[str, tuple[str, str]] = {}
    room = _MOST_BYTES + 1
    for member in ",".join(headers).split(","):
        stripped = member.strip(" \t")
        if len(stripped) >= room:
            continue
        pair, semicolon, properties = stripped.partition(";")
        key, equals, value = pair.partition("=")
        key, value = key.strip(" \t"), value.strip(" \t")
        if equals and _KEY.fullmatch(key) and _VALUE.fullmatch(value) and _PROPERTIES.fullmatch(properties):
            text = unquote(value)
            received[key] = (text, f"{key}={value}{semicolon}{properties}")
            context = baggage.set_baggage(key, text, context)
            room -= len(stripped) + 1
            if len(received) == _MOST_MEMBERS:
                break
    return otel_context.set_value(_RECEIVED, received, context) if received else context


def format_members(context: Context) -> str:
    """Return the `baggage` header that hands on the baggage in `context`; empty when there is none.

    A member that cannot be written, or is too long, is left out. The others go on.
    """
    if _BAGGAGE_KEY not in context:
        return ""
    members = baggage.get_all(context)
    kept = otel_context.get_value(_RECEIVED, context)
    received: dict[str, tuple[str, str]] = kept if isinstance(kept, dict) else {}
    written: list[str] = []
    room = _MOST_BYTES + 1
    for key, value in members.items():
        text, member = received.get(key, ("", ""))
        if not member or type(value) is not str or text != value:
            try:
                member = _member(key, value)
            except Exception as error:  # the application's `__str__` raises, or the text has a lone surrogate
                unusable(f"the value of baggage {key!r}", error)
                continue
        if not member or len(member) >= room:
            continue
        written.append(member)
        room -= len(member) + 1
        if len(written) == _MOST_MEMBERS:
            break
    return ",".join(written)


def _member(key: object, value: object) -> str:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        return ""
    text = str(value)
    return f"{key}={quote(text, safe=_SAFE)}" if len(text) <= _MOST_BYTES else ""
