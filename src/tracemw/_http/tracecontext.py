"""W3C Trace Context, level 2: `traceparent` and `tracestate`, read and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

# Section 3.2: version, trace id, parent id, flags. A later version may append more, after a dash.
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KNOWN_FLAGS: Final = 0x03
"""Sampled and random. The other bits have no meaning yet, and are not passed on."""

_FLAGS: Final = tuple(TraceFlags(bits) for bits in range(_KNOWN_FLAGS + 1))
_FLAGS_AS_TEXT: Final = tuple(f"{bits:02x}" for bits in range(_KNOWN_FLAGS + 1))

# Section 3.3.1.
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}")
_VALUE: Final = re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_MOST_MEMBERS: Final = 32

_LONGEST_KEPT: Final = 128
"""Characters of the longest header whose state is remembered."""


def parse(traceparent: Sequence[str], tracestate: Sequence[str]) -> SpanContext | None:
    """Return the remote parent that the two headers name; None when `traceparent` is not valid.

    More than one `traceparent` is not valid. Several `tracestate` headers are one list, in their order. A `tracestate`
    that is not valid is left out, and the `traceparent` still counts.
    """
    if len(traceparent) != 1:
        return None
    match = _TRACEPARENT.fullmatch(traceparent[0]) or _TRACEPARENT.fullmatch(traceparent[0].strip(" \t"))
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    context = SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=_FLAGS[int(flags, 16) & _KNOWN_FLAGS],
        trace_state=parse_state(tracestate),
    )
    return context if context.is_valid else None


def format_headers(context: SpanContext) -> dict[str, str]:
    """Return the headers that name `context` as the parent; no headers when `context` is not valid."""
    trace_id, span_id, _, flags, state, is_valid = context
    if not is_valid:
        return {}
    # To format the numbers themselves would take twice the time.
    trace, span = trace_id.to_bytes(16).hex(), span_id.to_bytes(8).hex()
    headers = {"traceparent": f"00-{trace}-{span}-{_FLAGS_AS_TEXT[flags & _KNOWN_FLAGS]}"}
    if state:
        headers["tracestate"] = state.to_header()
    return headers


def parse_state(headers: Sequence[str]) -> TraceState | None:
    """Return the members of `tracestate` headers; None when there are none, or one is not valid.

    Of members with the same key, the first counts: it is the newest.
    """
    if not headers:
        return None
    # Most traces carry the same sampling threshold, and a state is immutable. So short headers are remembered.
    is_short = len(headers) == 1 and len(headers[0]) <= _LONGEST_KEPT
    return _kept_state(headers[0]) if is_short else _state(headers)


@lru_cache(maxsize=256)
def _kept_state(header: str) -> TraceState | None:
    return _state((header,))


def _state(headers: Iterable[str]) -> TraceState | None:
    members: dict[str, str] = {}
    for header in headers:
        for member in header.split(","):
            stripped = member.strip(" \t")
            if not stripped:
                continue
            key, equals, value = stripped.partition("=")
            if not equals or not _valid(key, value):
                return None
            members.setdefault(key, value)
    return State(members) if 0 < len(members) <= _MOST_MEMBERS else None


def _valid(key: str, value: str) -> bool:
    return _KEY.fullmatch(key) is not None and _VALUE.fullmatch(value) is not None


class State(TraceState):
    """A trace state that keeps every key that level 2 allows. The API's own class drops some of them.

    Like the API's, a state is immutable: `add`, `update` and `delete` return a new one. They return the same one for a
    change that is not allowed.
    """

    def __init__(self, members: Mapping[str, str]) -> None:
        super().__init__()
        self._dict = dict(members)

    def add(self, key: str, value: str) -> TraceState:
        """Return this state with a member put in front; unchanged when the key is there already."""
        return self if key in self._dict else self.update(key, value)

    def update(self, key: str, value: str) -> TraceState:
        """Return this state with a member set, and moved to the front. Where there would be 33, the last one goes."""
        if not _valid(key, value):
            return self
        others = [(name, kept) for name, kept in self._dict.items() if name != key]
        return State({key: value, **dict(others[: _MOST_MEMBERS - 1])})

    def delete(self, key: str) -> TraceState:
        """Return this state without a member."""
        if key not in self._dict:
            return self
        return State({name: kept for name, kept in self._dict.items() if name != key})
