"""The propagator: from headers to the caller's context, and from a context to headers.

W3C Trace Context and W3C Baggage are read and written by our own code, as their specifications say. If
`OTEL_PROPAGATORS` or `set_global_textmap` names another propagator, that one is called. A header that cannot be read is
ignored: the request starts a new trace, and never fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

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
except ValueError as error:  # this very import looks up the names in OTEL_PROPAGATORS
    raise unknown_propagators() or error from None


def extract(headers: RequestHeaders, context: Context) -> Context:
    """Return `context` with the caller's span and baggage, as far as `headers` carry them."""
    propagator = propagate.get_global_textmap()  # the API's own field would save a call, and is not what others replace
    known, formats = _read
    if known is not propagator:
        formats = _formats_of(propagator)
    if not formats.parts:
        return _extract_own(formats, headers, context) if headers.has_marks else context
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

    If a foreign propagator raises, its own headers are missing, and no others.
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


@dataclass(frozen=True, slots=True)
class _Formats:
    trace_context: bool
    baggage: bool
    parts: tuple[TextMapPropagator, ...]
    """The parts of the propagator, if any part is of a format that our own code does not handle."""


_OWN: Final = {
    TraceContextTextMapPropagator: _Formats(True, False, ()),
    W3CBaggagePropagator: _Formats(False, True, ()),
}

_read: tuple[TextMapPropagator | None, _Formats] = (None, _Formats(False, False, ()))
"""The propagator in use, and its formats. It is compared by identity: a foreign object may have no hash."""


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
    """Tell whether an HTTP client can send a header; if not, the header would make the call fail."""
    name, value = header
    return isinstance(name, str) and is_header_name(name) and isinstance(value, str) and bool(_VALUE.fullmatch(value))


class _HeaderGetter(Getter[Headers]):
    """Lets an OpenTelemetry propagator read `Headers`."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        """Return the header's values. Several `baggage` headers are one list, so they come as one value."""
        values = carrier.get(key.lower())
        if len(values) > 1 and key == "baggage":
            return [",".join(values)]
        return values or None

    def keys(self, carrier: Headers) -> list[str]:
        """Return the names of all headers."""
        return carrier.keys()


_GETTER: Final = _HeaderGetter()
