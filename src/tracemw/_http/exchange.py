"""One HTTP exchange: start, response, failure, and end exactly once.

A server door makes one `ServerTracing` from its options and asks it to `begin` each request; a client door makes one
`ClientTracing` and asks it to `begin` each attempt. What they get back is the per-request object that holds all state
of that one request. Its methods are guarded: none raises into the application.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import Token
from typing import Final, TypedDict

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, NoOpTracer, Span, SpanKind, StatusCode, TracerProvider

from tracemw._context import (
    TracerSource,
    clients_suppressed,
    detach,
    incoming_context,
    is_skipped,
    request_span,
    skipped_context,
    suppress_clients,
    with_request_span,
)
from tracemw._errors import put_stage
from tracemw._guard import call_hook, guarded
from tracemw._http import propagation, semconv
from tracemw._http.semconv import RequestFacts
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
    tracer_provider: TracerProvider | None


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
        tracer_provider: Use this provider in place of the global one.

    Raises:
        TypeError: for an unknown option, or one of the wrong type.
        ValueError: for a `response_header` that is no header name, or a `skip` rule that cannot match.
    """

    def __init__(
        self,
        *,
        skip: Skip = (),
        span_name: Callable[[RequestFacts, str | None], str] | None = None,
        response_header: str | None = "x-trace-id",
        on_request: Callable[[Span, RequestFacts], object] | None = None,
        on_response: Callable[[Span, RequestFacts, int | None], object] | None = None,
        tracer_provider: TracerProvider | None = None,
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
        self._skip = SkipRule(skip)
        self._tracers = TracerSource(tracer_provider)

    @guarded
    def begin(self, facts: RequestFacts) -> ServerExchange:
        """Start the SERVER span of a request, or find out why it gets none."""
        if is_skipped() or self._skip.matches(facts):
            return ServerExchange(self, facts, skipped_context(), span=None)
        here = incoming_context()
        # The parent is what the request carries, or nothing: never a span that happens to be active here.
        parent = propagation.extract(facts.headers, trace.set_span_in_context(INVALID_SPAN, here))
        adopted = _already_traced(parent)
        if adopted is not None:
            return ServerExchange(self, facts, with_request_span(adopted, here), span=adopted, owned=False)
        tracer = self._tracers.get()
        if isinstance(tracer, NoOpTracer):
            return ServerExchange(self, facts, parent, span=None)
        span = tracer.start_span(
            semconv.span_name(facts.method, None, self.known_methods),
            parent,
            SpanKind.SERVER,
            semconv.server_attributes(facts, self.known_methods),
        )
        exchange = ServerExchange(self, facts, with_request_span(span, parent), span=span)
        if self.on_request is not None:
            call_hook("on_request", self.on_request, span, facts)
        return exchange

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

    The door enters `current` around whatever runs application code, reports `response` and `failure`, and calls
    `end` when the last byte is out. `route_source`, when set, is asked for the route at the end.
    """

    __slots__ = ("_context", "_ended", "_facts", "_failure", "_span", "_tracing", "route_source", "status")

    def __init__(
        self, tracing: ServerTracing, facts: RequestFacts, context: Context, *, span: Span | None, owned: bool = True
    ) -> None:
        self._tracing = tracing
        self._facts = facts
        self._context = context
        self._span = span
        self._ended = not owned or span is None
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
    def response(self, status: int) -> None:
        """Note the status that the application sends."""
        self.status = status

    @guarded
    def failure(self, error: BaseException) -> None:
        """Note an exception that escaped from the application; the same one twice counts once."""
        if self._ended or self._span is None or error is self._failure:
            return
        self._failure = error
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
        span = self._span
        if self._ended or span is None:
            return
        self._ended = True
        route = self.route_source() if self.route_source is not None else None
        self._name(span, route)
        if route is not None:
            span.set_attribute("http.route", route)
        if self.status is not None:
            span.set_attribute("http.response.status_code", self.status)
        error_type = semconv.server_error_type(self.status)
        if error_type is None and self._failure is not None:
            error_type = semconv.exception_type(self._failure)
        if error_type is None and incomplete:
            error_type = semconv.INCOMPLETE_RESPONSE
        if error_type is not None:
            span.set_attribute("error.type", error_type)
            span.set_status(StatusCode.ERROR)
        if self._tracing.on_response is not None:
            call_hook("on_response", self._tracing.on_response, span, self._facts, self.status)
        span.end(at)

    def _name(self, span: Span, route: str | None) -> None:
        name: str | None = None
        if self._tracing.span_name is not None:
            name = call_hook("span_name", self._tracing.span_name, self._facts, route)
        if not isinstance(name, str) and route is not None:
            name = semconv.span_name(self._facts.method, route, self._tracing.known_methods)
        if isinstance(name, str):  # a hook may return anything, and an exporter takes no other name
            span.update_name(name)


class ClientOptions(TypedDict, total=False):
    """The keyword options that every client door takes; see `ClientTracing`."""

    tracer_provider: TracerProvider | None


class ClientTracing:
    """The options of one client door, and the way to begin an attempt.

    Args:
        tracer_provider: Use this provider in place of the global one.
    """

    def __init__(self, *, tracer_provider: TracerProvider | None = None) -> None:
        self.known_methods = known_methods() or semconv.KNOWN_METHODS
        self._tracers = TracerSource(tracer_provider)

    @guarded
    def begin(
        self, method: str, url: str, *, resend_count: int = 0, context: Context | None = None
    ) -> ClientExchange | None:
        """Start the CLIENT span of one attempt; None when this call must not be traced.

        Args:
            method: The request's method.
            url: The absolute URL that is called.
            resend_count: How many attempts at the same request came before this one.
            context: The context of the call, when that is not the current one.
        """
        here = otel_context.get_current() if context is None else context
        if clients_suppressed(here):
            return None
        tracer = self._tracers.get()
        if isinstance(tracer, NoOpTracer):
            return ClientExchange(None, here)
        attributes = semconv.client_attributes(method, url, self.known_methods)
        if resend_count:
            attributes["http.request.resend_count"] = resend_count
        span = tracer.start_span(semconv.span_name(method, None, self.known_methods), here, SpanKind.CLIENT, attributes)
        return ClientExchange(span, trace.set_span_in_context(span, here))


_NO_HEADERS: Final[dict[str, str]] = {}


class ClientExchange:
    """One attempt at an outbound request.

    The door adds `headers()` to a copy of the request, enters `attach` around the call beneath it, reports `response`
    and `failure`, and calls `end` when the body has been read or closed.
    """

    __slots__ = ("_attached", "_context", "_ended", "_error_type", "_headers_at", "_span")

    def __init__(self, span: Span | None, context: Context) -> None:
        self._span = span
        self._context = self._attached = context
        self._ended = span is None
        self._error_type: str | None = None
        self._headers_at: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is recorded for this attempt."""
        return self._ended

    def headers(self) -> dict[str, str]:
        """Return the headers that hand the trace on to the service being called."""
        return self._inject() or _NO_HEADERS

    @guarded
    def _inject(self) -> dict[str, str]:
        return propagation.inject(self._context)

    def attach(self) -> Token[Context]:
        """Make the attempt current, with the instrumentation of clients beneath it switched off."""
        self._attached = suppress_clients(self._context)
        return otel_context.attach(self._attached)

    def detach(self, token: Token[Context]) -> None:
        """Make current again what was current before `attach`."""
        detach(token, self._attached)

    @guarded
    def response(self, status: int, http_version: str | None) -> None:
        """Note the status and the negotiated protocol version (`1.1`, `2`) once the response's headers are there."""
        if self._ended or self._span is None:
            return
        self._headers_at = time.time_ns()
        self._span.set_attribute("http.response.status_code", status)
        if http_version:
            self._span.set_attribute("network.protocol.version", http_version)
        self._error_type = semconv.client_error_type(status)

    @guarded
    def failure(self, error: BaseException, *, at: int | None = None) -> None:
        """Note the error that ended the attempt, and end it.

        A cancellation (any exception that is no `Exception`) is deliberate: the span ends without an error. A status
        that is an error itself stays the `error.type`.

        Args:
            error: The exception.
            at: When it was raised, as nanoseconds since the epoch, if that was earlier than now.
        """
        if self._ended or self._span is None:
            return
        try:
            if isinstance(error, Exception):
                self._error_type = self._error_type or semconv.exception_type(error)
                put_stage(self._span, error)
                self._span.record_exception(error, timestamp=at)
        finally:
            self.end(at=at)

    @guarded
    def end(self, *, at: int | None = None) -> None:
        """End the span; every further call does nothing.

        Args:
            at: The end as nanoseconds since the epoch, when it was earlier than now.
        """
        if self._ended or self._span is None:
            return
        self._ended = True
        if self._error_type is not None:
            self._span.set_attribute("error.type", self._error_type)
            self._span.set_status(StatusCode.ERROR)
        self._span.end(at)

    def abandon(self) -> None:
        """End the span at the time of the response's headers: nobody will read or close the body any more."""
        self.end(at=self._headers_at)
