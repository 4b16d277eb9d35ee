"""Spans with wrong fields, mended for the encoder. One wrong field costs that field alone."""

from __future__ import annotations

import time
from typing import Any, Final

from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from tracemw._otel.cleaning import items_of, shown

LATEST: Final = 2**63 - 1
"""The latest time that is valid, in nanoseconds since the epoch."""


class MendedSpan:
    """A span that the encoder can read. Wrong fields of the given span are left out, or get a default.

    Raises:
        TypeError: for an object without a span context, which is no span.
    """

    def __init__(self, span: Any) -> None:
        context = _field(span, "context")
        if not isinstance(context, SpanContext):
            raise TypeError(f"{type(span).__qualname__} has no span context")
        self._context = context
        parent, kind, status = _field(span, "parent"), _field(span, "kind"), _field(span, "status")
        self._parent = parent if isinstance(parent, SpanContext) else None
        self._name = shown(_field(span, "name"))
        self._kind = kind if isinstance(kind, SpanKind) else SpanKind.INTERNAL
        self._status = status if isinstance(status, Status) and isinstance(status.status_code, StatusCode) else None
        start, end = _nanoseconds(_field(span, "start_time")), _nanoseconds(_field(span, "end_time"))
        self._start_time, self._end_time = mended_times(start, end)
        self._attributes = _attributes_of(_field(span, "attributes"))
        self._events = [_MendedEvent(event, self._start_time) for event in _list(_field(span, "events"))]
        self._links = [
            _MendedLink(link) for link in _list(_field(span, "links")) if isinstance(link.context, SpanContext)
        ]
        self.dropped_attributes = _count(_field(span, "dropped_attributes"))
        self.dropped_events = _count(_field(span, "dropped_events"))
        self.dropped_links = _count(_field(span, "dropped_links"))


class _MendedEvent:
    def __init__(self, event: Any, moment: int) -> None:
        self.name = shown(_field(event, "name"))
        self.timestamp = _nanoseconds(_field(event, "timestamp")) or moment
        self.attributes = _attributes_of(_field(event, "attributes"))
        self.dropped_attributes = _count(_field(event, "dropped_attributes"))


class _MendedLink:
    def __init__(self, link: Any) -> None:
        self.context = link.context
        self.attributes = _attributes_of(_field(link, "attributes"))
        self.dropped_attributes = _count(_field(link, "dropped_attributes"))


def mended_times(start: int | None, end: int | None) -> tuple[int, int]:
    """Return a start, and an end that is not before it. A time that is missing or wrong is taken from the other."""
    start = start if start and 0 < start <= LATEST else None
    end = end if end and 0 < end <= LATEST else None
    start = start or end or time.time_ns()
    return start, max(start, end or 0)


def _field(holder: Any, name: str) -> Any:
    for each in (f"_{name}", name):
        try:
            return getattr(holder, each)
        except Exception:  # noqa: S112  there may be the other name
            continue
    return None


def _list(several: Any) -> list[Any]:
    try:
        return list(several or ())
    except Exception:
        return []


def _attributes_of(attributes: Any) -> dict[str, Any]:
    return {key: value for key, value in items_of(attributes) if type(key) is str}


def _nanoseconds(moment: Any) -> int | None:
    try:
        whole = int(moment)
    except Exception:
        return None
    return whole if 0 < whole <= LATEST else None


def _count(number: Any) -> int:
    return number if type(number) is int and 0 < number < 2**32 else 0
