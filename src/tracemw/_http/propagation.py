"""Headers -> remote context, and current context -> headers.

W3C Trace Context and W3C Baggage are read and written here, as their specifications say. When `OTEL_PROPAGATORS` or
`set_global_textmap` has set OpenTelemetry to any other propagator, that one is used instead. What cannot be read is
ignored: a malformed header starts a new trace, it never fails a request.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import NonRecordingSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tracemw._context import span_in, with_span
from tracemw._guard import call_hook
from tracemw._http import baggage, tracecontext
from tracemw._http.semconv import Headers, RequestHeaders
from tracemw.config import unknown_propagators

try:
    from opentelemetry import propagate
except ValueError as error:  # what OTEL_PROPAGATORS names is looked up in this very import
    raise unknown_propagators() or error from None


def extract(headers: RequestHeaders, context: Context) -> Context:
    """Return `context` with the caller's span and baggage, as far as `headers` carry them."""
    propagator = propagate.get_global_textmap()
    formats = _own_formats(propagator)
    if formats is None:
        extracted = call_hook("the global propagator", propagator.extract, headers, context, _GETTER)
        return extracted if isinstance(extracted, Context) else context
    if not headers.carries_context():
        return context
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
    """Return the headers that hand `context` on to the service being called."""
    propagator = propagate.get_global_textmap()
    formats = _own_formats(propagator)
    headers: dict[str, str] = {}
    if formats is None:
        propagator.inject(headers, context)
        return headers
    span = span_in(context)
    if span is not None and formats.trace_context:
        headers = tracecontext.format_headers(span.get_span_context())
    if formats.baggage:
        members = baggage.format_members(context)
        if members:
            headers["baggage"] = members
    return headers


class _Formats(NamedTuple):
    trace_context: bool
    baggage: bool


_read: tuple[TextMapPropagator | None, _Formats | None] = (None, None)
"""The propagator in use, and its formats."""


def _own_formats(propagator: TextMapPropagator) -> _Formats | None:
    """Return which formats a propagator stands for, when it stands for nothing but those that we handle ourselves."""
    global _read
    # By identity, since anybody's object may be one: it need not have a hash, or be equal to itself.
    read, formats = _read
    if read is not propagator:
        formats = _formats_of(propagator)
        _read = (propagator, formats)
    return formats


def _formats_of(propagator: TextMapPropagator) -> _Formats | None:
    if type(propagator) is not CompositePropagator:
        return None
    kinds = {type(part) for part in propagator._propagators}  # noqa: SLF001  it has no public name
    if not kinds <= {TraceContextTextMapPropagator, W3CBaggagePropagator}:
        return None
    return _Formats(TraceContextTextMapPropagator in kinds, W3CBaggagePropagator in kinds)


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
