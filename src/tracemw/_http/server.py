"""The beginning of a request: the caller's context, skipped or traced already, and the start of the span.

A server door makes one `ServerTracing` from its options. For each request the door makes a `ServerRequest`, which is
its view of what the server gives, and a `ServerExchange`, which holds the request's whole state. Then the door calls
`begin` with both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Unpack

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, SpanKind, TracerProvider

from tracemw._http import propagation, semconv
from tracemw._http.arrival import already_traced, arrival_context, is_handed_on, outer_exchange
from tracemw._http.exchange import ServerExchange
from tracemw._http.metrics import MeterSource
from tracemw._http.options import refuse_unknown
from tracemw._http.request import ServerRequest
from tracemw._http.settings import ServerOptions, ServerSettings
from tracemw._otel.context import (
    current_context,
    ground_of,
    is_skipped,
    skipped_context,
    span_in,
    with_exchange,
    without,
)
from tracemw._otel.guard import call_hook, fault
from tracemw._otel.providers import TracerSource
from tracemw._otel.recorder import as_held
from tracemw.config import DELIVERY_TIMEOUT

_SERVER: Final = SpanKind.SERVER  # to get a member of an enumeration through its class costs a look-up each time


class ServerTracing:
    """One server door's settings and providers, and the way to begin a request.

    Args:
        **options: See `ServerOptions`.

    Raises:
        TypeError: for an unknown option, or one of the wrong type.
        ValueError: for a header name, `skip` rule or proxy that is not valid.
    """

    def __init__(self, **options: Unpack[ServerOptions]) -> None:
        refuse_unknown("TraceMiddleware", options, ServerOptions)  # the name of every server door
        self.settings = ServerSettings(**options)
        self._tracers = TracerSource(options.get("tracer_provider"))
        self._meters = MeterSource("server", options.get("meter_provider"))

    def begin(self, exchange: ServerExchange, request: ServerRequest) -> ServerExchange | None:
        """Start the SERVER span of a request, or find out why the request gets none.

        Returns:
            The exchange of the request. If an outer application of another protocol traces the request already, this
            is that application's exchange, and not the given one. None means that tracing has failed.
        """
        try:
            settings = exchange.settings = self.settings
            exchange.request = request
            exchange.around = ground = here = current_context()
            outer = None
            if here:  # not empty when this process calls itself, beneath other instrumentation, and after a leak
                outer = outer_exchange(here)
                ground = arrival_context(here, outer)
            skips = settings.skips  # a function in a field: `settings.skips(request)` would look for a method first
            if skips(request) or (outer is not None and is_skipped(here)):
                exchange.context = skipped_context(ground, exchange)
                return exchange
            request.note_headers()
            # The parent is the span that the request carries, or none. It is never a span that happens to be current.
            exchange.carried = carried = propagation.extract(request, ground)
            if here:
                if outer is not None and is_handed_on(outer, exchange):
                    return outer
                if (adopted := already_traced(here, span_in(carried))) is not None:
                    if outer is None and ground_of(here) is None:  # all of `here` has come with this very request
                        carried = propagation.extract(request, without(here))
                    exchange.context, exchange.span = with_exchange(exchange, adopted, carried, ground), adopted
                    exchange.held = as_held(adopted)
                    return exchange
            parent, links = carried, None
            if not settings.trust_inbound:
                parent, links = ground, _link_to(carried)
            instruments = self._meters.get()
            tracer = self._tracers.get()
            if tracer is None:
                exchange.context = with_exchange(exchange, None, parent, ground)
                if instruments is not None:
                    exchange.record(instruments, exchange.now())
                return exchange
            method = request.method if request.method in settings.known_methods else semconv.UNKNOWN_METHOD
            attributes: Any = request
            started = None
            if not self._tracers.is_ours:  # other recorders read the wall clock, unless they are told the time
                attributes, started = request.made(), exchange.now()
            span: Any = tracer.start_span(method, parent, _SERVER, attributes, links, started)
            exchange.span = span
            exchange.context = with_exchange(exchange, span, parent, ground)
            is_held = getattr(span, "is_held", None)  # see `as_held`; spans that do not say are not ours
            if is_held:
                exchange.held = span
            if is_held is not None or instruments is not None or settings.has_hooks or span.is_recording():
                exchange.record(instruments, started)
            return exchange
        except Exception as error:
            fault("ServerTracing.begin", error)
            return None

    def take_over(
        self,
        *,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        excludes: Callable[[ServerRequest], bool] | None,
    ) -> None:
        """Use the providers of a framework's native telemetry, where the door's options have named none.

        The requests that the native telemetry excludes are skipped, beside those that the door's options skip.
        """
        if tracer_provider is not None and self._tracers.follows_the_global_one:
            self._tracers = TracerSource(tracer_provider)
        if meter_provider is not None and self._meters.follows_the_global_one:
            self._meters = MeterSource("server", meter_provider)
        if excludes is not None:
            skips = self.settings.skips
            self.settings.skips = lambda request: skips(request) or bool(call_hook("exclude", excludes, request))

    def flush(self) -> None:
        """Deliver the queued spans, if the provider in use can do that. Doors call this when their server ends."""
        force_flush = getattr(self._tracers.provider, "force_flush", None)
        if force_flush is not None:
            call_hook("tracer_provider", force_flush, int(DELIVERY_TIMEOUT * 1000))


def _link_to(carried: Context) -> list[Link]:
    caller: Span | None = span_in(carried)
    return [] if caller is None else [Link(caller.get_span_context())]
