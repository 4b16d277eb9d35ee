"""One request being served: start, response, failure, and end exactly once.

A server door makes one `ServerTracing` from its options and asks it to `begin` each request. What it gets back is the
`ServerExchange` that holds all state of that one request. Its methods are guarded: none raises into the application.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextvars import Token
from typing import Any, Final, TypedDict

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TracerProvider

from tracemw._attributes import AttributeValue, LazyAttributes
from tracemw._context import (
    TracerSource,
    attach,
    current_context,
    detach,
    incoming_context,
    is_skipped,
    request_span,
    skipped_context,
    span_in,
    with_request_span,
)
from tracemw._errors import exception_type, put_stage
from tracemw._guard import call_hook, fault, guarded
from tracemw._http import propagation, semconv
from tracemw._http.metrics import Instruments, MeterSource
from tracemw._http.proxies import TrustedProxies
from tracemw._http.semconv import Facts, Headers, Request, RequestFacts
from tracemw._http.skip import Skip, SkipRule
from tracemw.config import known_methods

_SERVER: Final = SpanKind.SERVER  # a member of an enumeration costs a look-up through its class each time

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
        self.captures_response = bool(self.captured_from_response)
        self.captured_from_request = semconv.HeaderCapture("request", capture_request_headers)
        self.captures_request = bool(self.captured_from_request)
        self._trust_inbound = trust_inbound
        proxies = TrustedProxies(trusted_proxies)
        self._proxies = proxies or None
        self._has_hooks = on_request is not None or on_response is not None
        self._keeps_facts = self._has_hooks or span_name is not None or self._proxies is not None
        self._skip = SkipRule(skip)
        self._tracers = TracerSource(tracer_provider)
        self._meters = MeterSource("server", meter_provider)

    def begin(self, request: Request) -> ServerExchange | None:
        """Start the SERVER span of a request, or find out why it gets none; None when that fails."""
        try:
            facts = self._facts(request) if self._keeps_facts else request
            here = current_context()  # empty, but in a process that calls itself, or beneath other instrumentation
            if self._skip.matches(facts) or (here and is_skipped(here)):
                return ServerExchange(self, skipped_context(), None)
            # The parent is what the request carries, or nothing: never a span that happens to be active here.
            bare = incoming_context(here) if here else here
            carried = propagation.extract(request.headers, bare)
            if bare is not here and (adopted := _already_traced(here, carried)) is not None:
                return ServerExchange(self, with_request_span(adopted, carried), adopted)
            parent, links = (carried, None) if self._trust_inbound else (bare, _link_to(carried))
            instruments = self._meters.get()
            started = None if instruments is None else time.time_ns()
            tracer = self._tracers.get()
            if tracer is None and instruments is None:
                return ServerExchange(self, parent, None)
            attributes = ServerAttributes(self, facts)
            span = None
            if tracer is not None:
                method = request.method if request.method in self.known_methods else semconv.UNKNOWN_METHOD
                known: Any = attributes if self._tracers.takes_lazy_attributes else attributes.made()
                span = tracer.start_span(method, parent, _SERVER, known, links, started)
                parent = with_request_span(span, parent)
                if instruments is None and not self._has_hooks and not span.is_recording():
                    return ServerExchange(self, parent, span)
            return RecordedExchange(self, parent, span, facts, started, instruments)
        except Exception as error:
            fault("ServerTracing.begin", error)
            return None

    def _facts(self, request: Request) -> Facts:
        """Return the facts of a request, as the trusted proxies that it came through tell them."""
        facts = semconv.snapshot(request)
        return facts if self._proxies is None else self._proxies.seen_through(facts)

    def flush(self, timeout: float) -> None:
        """Deliver what is queued, within about `timeout` seconds, when the provider in use can do that."""
        force_flush = getattr(self._tracers.provider, "force_flush", None)
        if force_flush is not None:
            call_hook("tracer_provider", force_flush, int(timeout * 1000))


class ServerAttributes(LazyAttributes):
    """The attributes that a SERVER span has from its start, for whoever wants to know."""

    __slots__ = ("_facts", "_tracing")

    def __init__(self, tracing: ServerTracing, facts: Facts) -> None:
        self._made = None
        self._facts = facts
        self._tracing = tracing

    def make(self) -> dict[str, AttributeValue]:
        """Return the attributes, in a new dictionary."""
        attributes = semconv.server_attributes(self._facts, self._tracing.known_methods)
        if self._tracing.captures_request:
            attributes.update(self._tracing.captured_from_request.attributes(self._facts.headers))
        return attributes


def _link_to(carried: Context) -> list[Link]:
    caller = span_in(carried)
    return [] if caller is None else [Link(caller.get_span_context())]


def _already_traced(here: Context, carried: Context) -> Span | None:
    """Return the SERVER span that someone else's instrumentation has started for this very request, if any.

    That is so when the current span is a SERVER span whose parent is the context that this request carries. A span
    that a door of ours started belongs to another request, one that this process serves within the first: doors know
    their own requests by the exchange that they leave in them.
    """
    span = span_in(here)
    if span is None or getattr(span, "kind", None) is not _SERVER or span is request_span(here):
        return None
    caller = span_in(carried)
    parent = getattr(span, "parent", None)
    carried_ids = _ids(caller.get_span_context()) if caller is not None else None
    return span if carried_ids == (_ids(parent) if parent is not None else None) else None


def _ids(context: SpanContext) -> tuple[int, int] | None:
    return (context.trace_id, context.span_id) if context.is_valid else None


class ServerExchange:
    """One request being served: as it stands, one of which nothing is recorded.

    The door calls `attach` and `detach` around whatever runs application code, sets `status`, reports `failure`, and
    calls `end` when the last byte is out. `route_source`, when set, is asked for the route at the end.
    """

    __slots__ = ("_context", "_span", "_tracing", "ended", "route_source", "status")

    def __init__(self, tracing: ServerTracing, context: Context, span: Span | None) -> None:
        self._tracing = tracing
        self._context = context
        self._span = span
        self.ended = True
        """Whether nothing more is recorded for this request."""
        self.status: int | None = None
        """The status that the application has sent."""
        self.route_source: RouteSource | None = None

    def attach(self) -> Token[Context]:
        """Make the request's span current; the token is for `detach` in the same thread or task."""
        return attach(self._context)

    def detach(self, token: Token[Context]) -> None:
        """Make current again what was current before `attach`."""
        detach(token, self._context)

    @property
    def response_header(self) -> tuple[str, str] | None:
        """The lower-case name and the value of the header that tells the caller the trace id, if there is one."""
        name = self._tracing.response_header
        if name is None or self._span is None:
            return None
        return name, self._span.get_span_context().trace_id.to_bytes(16, "big").hex()

    @property
    def captures_response(self) -> bool:
        """Whether `capture` has a use for the response's headers."""
        return self._tracing.captures_response and not self.ended

    def capture(self, headers: Headers) -> None:
        """Record those of the response's headers that are to be captured."""

    def failure(self, error: BaseException) -> None:
        """Note an exception that escaped from the application; the same one twice counts once."""

    def annotate(self, name: str, value: str | int) -> None:
        """Put an attribute of the protocol on the span, for what only one kind of door knows."""

    def end(self, *, at: int | None = None, incomplete: bool = False) -> None:
        """End the span; every further call does nothing.

        Args:
            at: The end as nanoseconds since the epoch, when it was earlier than now.
            incomplete: The application returned without a complete response, and nobody had hung up.
        """


class RecordedExchange(ServerExchange):
    """One request being served that has a span, metrics, or hooks that want to know of it."""

    __slots__ = ("_facts", "_failure", "_instruments", "_labels", "_started")

    def __init__(
        self,
        tracing: ServerTracing,
        context: Context,
        span: Span | None,
        facts: Facts,
        started: int | None,
        instruments: Instruments | None,
    ) -> None:
        self._tracing = tracing  # not by super(): every recorded request comes here
        self._context = context
        self._span = span
        self.ended = False
        self.status = None
        self.route_source = None
        self._facts = facts
        self._failure: BaseException | None = None
        self._started = started or 0
        self._instruments: Instruments | None = None
        if instruments is not None and facts.scheme not in ("ws", "wss"):
            self._instruments = instruments
            self._labels = semconv.server_labels(facts, tracing.known_methods)
            instruments.began(self, self._labels)
        if span is not None and tracing.on_request is not None:
            call_hook("on_request", tracing.on_request, span, facts)

    @guarded
    def capture(self, headers: Headers) -> None:
        if self._span is not None:
            self._span.set_attributes(self._tracing.captured_from_response.attributes(headers))

    @guarded
    def failure(self, error: BaseException) -> None:
        if self.ended or error is self._failure:
            return
        self._failure = error
        if self._span is not None:
            self._span.record_exception(error)
            put_stage(self._span, error)

    @guarded
    def annotate(self, name: str, value: str | int) -> None:
        if self._span is not None and not self.ended:
            self._span.set_attribute(name, value)

    def end(self, *, at: int | None = None, incomplete: bool = False) -> None:
        if self.ended:
            return
        self.ended = True
        try:
            if self._instruments is not None:
                self._instruments.ended(self)
            error_type = self._error_type(incomplete=incomplete)
            if self._instruments is not None:
                at = time.time_ns() if at is None else at
                self._measure(self._instruments, at, error_type)
            if self._span is not None:
                self._conclude(self._span, error_type)
        except Exception as error:
            fault("RecordedExchange.end", error)
        finally:
            self._leave(at)

    def _leave(self, at: int | None) -> None:
        # The scope or environ leads to the exchange: what leads back would leave both to the garbage collector.
        try:
            del self._facts
            self.route_source = self._failure = None
            if self._span is not None:
                self._span.end(at)
        except Exception as error:
            fault("RecordedExchange.end", error)

    def _error_type(self, *, incomplete: bool) -> str | None:
        error_type = semconv.server_error_type(self.status)
        if error_type is None and self._failure is not None:
            error_type = exception_type(self._failure)
        return semconv.INCOMPLETE_RESPONSE if error_type is None and incomplete else error_type

    def _conclude(self, span: Span, error_type: str | None) -> None:
        route = self._route()
        tracing = self._tracing
        name: object = None
        if tracing.span_name is not None:
            name = call_hook("span_name", tracing.span_name, self._facts, route)
        if not isinstance(name, str) and route is not None:
            name = semconv.span_name(self._facts.method, route, tracing.known_methods)
        if isinstance(name, str):  # a hook may return anything, and an exporter takes no other name
            span.update_name(name)
        if route is not None:
            span.set_attribute("http.route", route)
        if self.status is not None:
            span.set_attribute("http.response.status_code", self.status)
        if error_type is not None:
            span.set_attribute("error.type", error_type)
            span.set_status(StatusCode.ERROR)
        if tracing.on_response is not None:
            call_hook("on_response", tracing.on_response, span, self._facts, self.status)

    @guarded
    def _route(self) -> str | None:
        return self.route_source() if self.route_source is not None else None

    def _measure(self, instruments: Instruments, ended: int, error_type: str | None) -> None:
        labels = dict(self._labels)
        route = self._route()
        if route is not None:
            labels["http.route"] = route
        if self.status is not None:
            labels["http.response.status_code"] = self.status
        if error_type is not None:
            labels["error.type"] = error_type
        if self._facts.http_version:
            labels["network.protocol.version"] = self._facts.http_version
        instruments.lasted(max(ended - self._started, 0) / 1e9, labels, self._context)
