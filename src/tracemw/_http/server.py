"""One request being served: start, response, failure, and end exactly once.

A server door makes one `ServerTracing` from its options and asks it to `begin` each request. What it gets back is the
`ServerExchange` that holds all state of that one request. Its methods are guarded: none raises into the application.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextvars import Token
from typing import TypedDict

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import INVALID_SPAN, Link, NoOpTracer, Span, SpanKind, StatusCode, TracerProvider

from tracemw._context import (
    TracerSource,
    detach,
    incoming_context,
    is_skipped,
    request_span,
    skipped_context,
    with_request_span,
)
from tracemw._errors import put_stage
from tracemw._guard import call_hook, guarded
from tracemw._http import propagation, semconv
from tracemw._http.metrics import Instruments, MeterSource
from tracemw._http.proxies import TrustedProxies
from tracemw._http.semconv import Headers, RequestFacts
from tracemw._http.skip import Skip, SkipRule
from tracemw.config import known_methods

RouteSource = Callable[[], str | None]


class ServerOptions(TypedDict, total=False):
    """The keyword options that every server door takes; see `ServerTracing`."""

    skip: Skip
    span_name: Callable[[RequestFacts, str | None], str] | None
    response_header: str | None
    on_request: Callable[[Span, RequestFacts], object] | None
    on_response: Callable[[Span, RequestFacts, int | None], object] | None
    capture_request_headers: Iterable[str]
    capture_response_headers: Iterable[str]
    trust_inbound: bool
    trusted_proxies: str | Iterable[str]
    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None


class ServerTracing:
    """The options of one server door, checked once, and the way to begin a request.

    Args:
        skip: What is not traced beside health checks: paths, globs or predicates; see `SkipRule`.
        span_name: Called with the request's facts and its route (None when unknown) when the request ends; returns
            the span's name in place of `{method} {route}`.
        response_header: The header that tells the caller the trace id; one that the application has set stays as it
            is, and None turns it off.
        on_request: Called with the span and the request's facts when the span has started.
        on_response: Called with the span, the facts and the status (None when none was sent) before the span ends.
        capture_request_headers: Names of request headers to record, as `http.request.header.<name>`.
        capture_response_headers: Names of response headers to record, as `http.response.header.<name>`.
        trust_inbound: False at a public edge: a new trace starts, linked to the caller's, and baggage is dropped.
        trusted_proxies: Addresses and networks of the proxies whose `Forwarded` and `X-Forwarded-*` headers count;
            see `TrustedProxies`.
        tracer_provider: Use this provider in place of the global one.
        meter_provider: Use this provider in place of the global one.

    Raises:
        TypeError: for an unknown option, or one of the wrong type.
        ValueError: for a header name, `skip` rule or proxy that cannot be one.
    """

    def __init__(
        self,
        *,
        skip: Skip = (),
        span_name: Callable[[RequestFacts, str | None], str] | None = None,
        response_header: str | None = "x-trace-id",
        on_request: Callable[[Span, RequestFacts], object] | None = None,
        on_response: Callable[[Span, RequestFacts, int | None], object] | None = None,
        capture_request_headers: Iterable[str] = (),
        capture_response_headers: Iterable[str] = (),
        trust_inbound: bool = True,
        trusted_proxies: str | Iterable[str] = (),
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        for option, hook in (("span_name", span_name), ("on_request", on_request), ("on_response", on_response)):
            if hook is not None and not callable(hook):
                raise TypeError(f"{option} takes a function, not {type(hook).__name__}")
        if response_header is not None and not semconv.is_header_name(response_header):
            raise ValueError(f"response_header={response_header!r} is no HTTP header name; None turns it off")
        self.response_header = response_header.lower() if response_header else None
        self.span_name = span_name
        self.on_request = on_request
        self.on_response = on_response
        self.known_methods = known_methods() or semconv.KNOWN_METHODS
        self.captured_from_response = semconv.HeaderCapture("response", capture_response_headers)
        self._captured_from_request = semconv.HeaderCapture("request", capture_request_headers)
        self._trust_inbound = trust_inbound
        self._proxies = TrustedProxies(trusted_proxies)
        self._skip = SkipRule(skip)
        self._tracers = TracerSource(tracer_provider)
        self._meters = MeterSource("server", meter_provider)

    @guarded
    def begin(self, facts: RequestFacts) -> ServerExchange:
        """Start the SERVER span of a request, or find out why it gets none."""
        if self._proxies:
            facts = self._proxies.seen_through(facts)
        if is_skipped() or self._skip.matches(facts):
            return ServerExchange(self, facts, skipped_context(), span=None)
        # The parent is what the request carries, or nothing: never a span that happens to be active here.
        here = trace.set_span_in_context(INVALID_SPAN, incoming_context())
        carried = propagation.extract(facts.headers, here)
        adopted = _already_traced(carried)
        if adopted is not None:
            return ServerExchange(self, facts, with_request_span(adopted, carried), span=adopted, owned=False)
        parent = carried if self._trust_inbound else here
        started = time.time_ns()
        instruments = None if facts.scheme in ("ws", "wss") else self._meters.get()
        span = self._start(facts, carried, parent, started)
        context = with_request_span(span, parent) if span is not None else parent
        exchange = ServerExchange(self, facts, context, span=span, started=started, instruments=instruments)
        if span is not None and self.on_request is not None:
            call_hook("on_request", self.on_request, span, facts)
        return exchange

    def _start(self, facts: RequestFacts, carried: Context, parent: Context, started: int) -> Span | None:
        tracer = self._tracers.get()
        if isinstance(tracer, NoOpTracer):
            return None
        attributes = semconv.server_attributes(facts, self.known_methods)
        if self._captured_from_request:
            attributes.update(self._captured_from_request.attributes(facts.headers))
        links: list[Link] = []
        if not self._trust_inbound:
            caller = trace.get_current_span(carried).get_span_context()
            links = [Link(caller)] if caller.is_valid else []
        name = semconv.span_name(facts.method, None, self.known_methods)
        return tracer.start_span(name, parent, SpanKind.SERVER, attributes, links, started)

    def flush(self, timeout: float) -> None:
        """Deliver what is queued, within about `timeout` seconds, when the provider in use can do that."""
        force_flush = getattr(self._tracers.provider, "force_flush", None)
        if force_flush is not None:
            call_hook("tracer_provider", force_flush, int(timeout * 1000))


def _already_traced(parent: Context) -> Span | None:
    """Return the SERVER span that someone else's instrumentation has started for this very request, if any.

    That is so when the current span is a SERVER span whose parent is the context that this request carries. A span
    that a door of ours started belongs to another request, one that this process serves within the first: doors know
    their own requests by the exchange that they leave in them.
    """
    span = trace.get_current_span()
    if getattr(span, "kind", None) is not SpanKind.SERVER or span is request_span():
        return None
    carried = trace.get_current_span(parent).get_span_context()
    actual = getattr(span, "parent", None)
    carried_ids = (carried.trace_id, carried.span_id) if carried.is_valid else None
    actual_ids = (actual.trace_id, actual.span_id) if actual is not None else None
    return span if carried_ids == actual_ids else None


class ServerExchange:
    """One request being served.

    The door calls `attach` and `detach` around whatever runs application code, reports `response` and `failure`, and
    calls `end` when the last byte is out. `route_source`, when set, is asked for the route at the end.
    """

    __slots__ = (
        "_context",
        "_ended",
        "_facts",
        "_failure",
        "_instruments",
        "_labels",
        "_span",
        "_started",
        "_tracing",
        "route_source",
        "status",
    )

    def __init__(
        self,
        tracing: ServerTracing,
        facts: RequestFacts,
        context: Context,
        *,
        span: Span | None,
        owned: bool = True,
        started: int = 0,
        instruments: Instruments | None = None,
    ) -> None:
        self._tracing = tracing
        self._facts = facts
        self._context = context
        self._span = span
        self._started = started
        self._instruments = instruments
        self._labels: dict[str, str | int] = {}
        if instruments is not None:
            self._labels = semconv.server_labels(facts, tracing.known_methods)
            instruments.began(self._labels)
        self._ended = not owned or (span is None and instruments is None)
        self._failure: BaseException | None = None
        self.status: int | None = None
        self.route_source: RouteSource | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is recorded for this request."""
        return self._ended

    def attach(self) -> Token[Context]:
        """Make the request's span current; the token is for `detach` in the same thread or task."""
        return otel_context.attach(self._context)

    def detach(self, token: Token[Context]) -> None:
        """Make current again what was current before `attach`."""
        detach(token, self._context)

    @property
    def response_header(self) -> tuple[str, str] | None:
        """The lower-case name and the value of the header that tells the caller the trace id, if there is one."""
        name = self._tracing.response_header
        if name is None or self._span is None:
            return None
        return name, trace.format_trace_id(self._span.get_span_context().trace_id)

    @guarded
    def response(self, status: int, headers: Headers | None = None) -> None:
        """Note the status that the application sends, and the headers when there are any to capture."""
        self.status = status
        if headers is not None and self.captures_response and self._span is not None and not self._ended:
            self._span.set_attributes(self._tracing.captured_from_response.attributes(headers))

    @property
    def captures_response(self) -> bool:
        """Whether `response` has a use for headers."""
        return bool(self._tracing.captured_from_response)

    @guarded
    def failure(self, error: BaseException) -> None:
        """Note an exception that escaped from the application; the same one twice counts once."""
        if self._ended or error is self._failure:
            return
        self._failure = error
        if self._span is not None:
            self._span.record_exception(error)
            put_stage(self._span, error)

    @guarded
    def annotate(self, name: str, value: str | int) -> None:
        """Put an attribute of the protocol on the span, for what only one kind of door knows."""
        if self._span is not None and not self._ended:
            self._span.set_attribute(name, value)

    @guarded
    def end(self, *, at: int | None = None, incomplete: bool = False) -> None:
        """End the span; every further call does nothing.

        Args:
            at: The end as nanoseconds since the epoch, when it was earlier than now.
            incomplete: The application returned without a complete response, and nobody had hung up.
        """
        if self._ended:
            return
        self._ended = True
        ended = time.time_ns() if at is None else at
        route = self._route()
        error_type = semconv.server_error_type(self.status)
        if error_type is None and self._failure is not None:
            error_type = semconv.exception_type(self._failure)
        if error_type is None and incomplete:
            error_type = semconv.INCOMPLETE_RESPONSE
        try:
            if self._instruments is not None:
                self._measure(self._instruments, ended, route, error_type)
            if self._span is not None:
                self._conclude(self._span, route, error_type)
        finally:
            if self._span is not None:
                self._span.end(ended)

    @guarded
    def _route(self) -> str | None:
        return self.route_source() if self.route_source is not None else None

    def _conclude(self, span: Span, route: str | None, error_type: str | None) -> None:
        self._name(span, route)
        if route is not None:
            span.set_attribute("http.route", route)
        if self.status is not None:
            span.set_attribute("http.response.status_code", self.status)
        if error_type is not None:
            span.set_attribute("error.type", error_type)
            span.set_status(StatusCode.ERROR)
        if self._tracing.on_response is not None:
            call_hook("on_response", self._tracing.on_response, span, self._facts, self.status)

    def _measure(self, instruments: Instruments, ended: int, route: str | None, error_type: str | None) -> None:
        instruments.ended(self._labels)
        labels = dict(self._labels)
        if route is not None:
            labels["http.route"] = route
        if self.status is not None:
            labels["http.response.status_code"] = self.status
        if error_type is not None:
            labels["error.type"] = error_type
        if self._facts.http_version:
            labels["network.protocol.version"] = self._facts.http_version
        instruments.lasted(max(ended - self._started, 0) / 1e9, labels, self._context)

    def _name(self, span: Span, route: str | None) -> None:
        name: str | None = None
        if self._tracing.span_name is not None:
            name = call_hook("span_name", self._tracing.span_name, self._facts, route)
        if not isinstance(name, str) and route is not None:
            name = semconv.span_name(self._facts.method, route, self._tracing.known_methods)
        if isinstance(name, str):  # a hook may return anything, and an exporter takes no other name
            span.update_name(name)
