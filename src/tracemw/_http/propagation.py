"""Headers -> remote context, and current context -> headers.

W3C Trace Context and W3C Baggage are read and written here, as their specifications say. When `OTEL_PROPAGATORS` or
`set_global_textmap` has set OpenTelemetry to any other propagator, that one is used instead. What cannot be read is
ignored: a malformed header starts a new trace, it never fails a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import NonRecordingSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tracemw._http import baggage, tracecontext
from tracemw._http.facts import Headers, RequestHeaders
from tracemw._http.semconv import is_header_name
from tracemw._otel.context import span_in, with_span
from tracemw._otel.guard import call_hook
from tracemw.config import unknown_propagators

try:
    from opentelemetry import propagate
except ValueError as error:  # what OTEL_PROPAGATORS names is looked up in this very import
    raise unknown_propagators() or error from None


def extract(headers: RequestHeaders, context: Context) -> Context:
    """Return `context` with the caller's span and baggage, as far as `headers` carry them."""
    propagator = propagate.get_global_textmap()
    known, formats = _read
    if known is not propagator:
        formats = _formats_of(propagator)
    if not formats.parts:
        return _extract_own(formats, headers, context) if headers.carries_context else context
    for part in formats.parts:
        own = _OWN.get(type(part))
        if own is not None:
            context = _extract_own(own, headers, context)
        else:
            extracted = call_hook("propagator", part.extract, headers, context, _GETTER)
            context = extracted if isinstance(extracted, Context) else context
    return context


def _extract_own(formats: _Formats, headers: Headers, context: Context) -> Context:
    if formats.trace_context:
        parent = headers.get("traceparent")
        remote = tracecontext.parse(parent, headers.get("tracestate")) if parent else None
        if remote is not None:
            context = with_span(NonRecordingSpan(remote), context)
    if formats.baggage:
        members = headers.get("baggage")
        if members:
            context = baggage.extract(members, context)
    return context


def inject(context: Context) -> dict[str, str]:
    """Return the headers that hand `context` on to the service being called.

    A propagator of others that raises costs headers of its own, and none of anybody else's.
    """
    propagator = propagate.get_global_textmap()
    known, formats = _read
    if known is not propagator:
        formats = _formats_of(propagator)
    if formats.parts:
        headers: dict[str, str] = {}
        for part in formats.parts:
            own = _OWN.get(type(part))
            if own is not None:
                headers.update(_inject_own(own, context))
            else:
                written: dict[str, str] = {}
                call_hook("propagator", part.inject, written, context)
                headers.update(filter(_is_sendable, written.items()))
        return headers
    return _inject_own(formats, context)


def _inject_own(formats: _Formats, context: Context) -> dict[str, str]:
    headers: dict[str, str] = {}
    span = span_in(context)
    if span is not None and formats.trace_context:
        headers = tracecontext.format_headers(span.get_span_context())
    if formats.baggage:
        members = baggage.format_members(context)
        if members:
            headers["baggage"] = members
    return headers


# Section 5.5 of RFC 9110.
_VALUE: Final = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")


class _Formats(NamedTuple):
    trace_context: bool
    baggage: bool
    parts: tuple[TextMapPropagator, ...]
    """What the propagator is made of, when any of it is of a format that we do not handle ourselves."""


_OWN: Final = {
    TraceContextTextMapPropagator: _Formats(True, False, ()),
    W3CBaggagePropagator: _Formats(False, True, ()),
}

_read: tuple[TextMapPropagator | None, _Formats] = (None, _Formats(False, False, ()))
"""The propagator in use, and its formats. It is known by identity: anybody's object need not have a hash."""


def _formats_of(propagator: TextMapPropagator) -> _Formats:
    global _read
    parts = tuple(_parts_of(propagator))
    kinds = {type(part) for part in parts}
    formats = _Formats(
        TraceContextTextMapPropagator in kinds,
        W3CBaggagePropagator in kinds,
        () if kinds <= _OWN.keys() else parts,
    )
    _read = (propagator, formats)
    return formats


def _parts_of(propagator: TextMapPropagator) -> Iterator[TextMapPropagator]:
    if type(propagator) is CompositePropagator:
        for part in propagator._propagators:  # noqa: SLF001  it has no public name
            yield from _parts_of(part)
    else:
        yield propagator


def _is_sendable(header: tuple[object, object]) -> bool:
    """Tell whether a header would not make the call fail."""
    name, value = header
    return isinstance(name, str) and is_header_name(name) and isinstance(value, str) and bool(_VALUE.fullmatch(value))


class _HeaderGetter(Getter[Headers]):
    """Lets an OpenTelemetry propagator read `Headers`."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        """Return the header's values; `baggage` as one, since several baggage headers mean one list."""
        values = carrier.get(key.lower())
        if len(values) > 1 and key == "baggage":
            return [",".join(values)]
        return values or None

    def keys(self, carrier: Headers) -> list[str]:
        """Return the names of all headers."""
        return carrier.keys()


_GETTER: Final = _HeaderGetter()
