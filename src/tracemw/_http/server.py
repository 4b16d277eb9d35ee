"""One request being served: start, response, failure, and end exactly once.

A server door makes one `ServerTracing` from its options. For each request it makes a `ServerRequest`, its view of what
the server gives, and a `ServerExchange`, which holds all state of that one request, and lets the tracing `begin` it.
The methods of an exchange are guarded: none raises into the application.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import Token
from time import monotonic_ns
from typing import Any, ClassVar, Final, TypedDict

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, TracerProvider

from tracemw._http import propagation, semconv
from tracemw._http.arrival import already_traced, arrival_context, is_handed_on, outer_exchange
from tracemw._http.departures import says_only_that_the_client_has_gone
from tracemw._http.metrics import Instruments, MeterSource
from tracemw._http.proxies import X_FORWARDED_FOR, TrustedProxies
from tracemw._http.semconv import Headers, RequestFacts, RequestHeaders
from tracemw._http.skip import Skip, SkipRule
from tracemw._otel.attributes import AttributeValue, LazyAttributes
from tracemw._otel.clock import offset_of
from tracemw._otel.context import (
    attach,
    current_context,
    detach,
    ground_of,
    is_skipped,
    skipped_context,
    span_in,
    with_exchange,
    without,
)
from tracemw._otel.exceptions import exception_type, put_stage, record_exception
from tracemw._otel.guard import call_hook, fault, guarded
from tracemw._otel.held import Held, as_held
from tracemw._otel.providers import TracerSource
from tracemw.config import DELIVERY_TIMEOUT, known_methods

_SERVER: Final = SpanKind.SERVER  # a member of an enumeration costs a look-up through its class each time

# What some servers pass on is what the client has written, of which there may be any number.
_VERSIONS: Final = frozenset({"1.0", "1.1", "2", "3"})

_NOWHERE: Final = Context()

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
    proxy_header: str
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
        trusted_proxies: Addresses and networks of the proxies that are believed; see `TrustedProxies`.
        proxy_header: The one header in which they are: `x-forwarded-for`, together with `x-forwarded-proto`, `-host`
            and `-port`; `forwarded` (RFC 7239); or another that holds the client's address, such as
            `cf-connecting-ip`. Name what the proxies write themselves: the others come from the client as they are.
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
        proxy_header: str = X_FORWARDED_FOR,
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
        self.known_methods = known_methods()
        self.captured_from_response = semconv.HeaderCapture("response", capture_response_headers)
        self.captures_response = bool(self.captured_from_response)
        self.captured_from_request = semconv.HeaderCapture("request", capture_request_headers)
        self.captures_request = bool(self.captured_from_request)
        self._trust_inbound = trust_inbound
        proxies = TrustedProxies(trusted_proxies, proxy_header)
        self._proxies = proxies or None
        self._has_hooks = on_request is not None or on_response is not None
        self.keeps_facts = self._has_hooks or span_name is not None
        self._skip = SkipRule(skip)
        self._tracers = TracerSource(tracer_provider)
        self._meters = MeterSource("server", meter_provider)

    def begin(self, exchange: ServerExchange, request: ServerRequest) -> ServerExchange | None:
        """Start the SERVER span of a request, or find out why it gets none; None when that has failed.

        Another exchange than the given one is that of the application around this one, which speaks another protocol
        and has handed the request on: it is traced already.
        """
        try:
            exchange.tracing = request.tracing = self
            exchange.method, exchange.path = request.method, request.path
            exchange.around = ground = here = current_context()
            outer = None
            if here:  # it is empty, but in a process that calls itself, beneath other instrumentation, and after a leak
                outer = outer_exchange(here)
                ground = arrival_context(here, outer)
            mounts = request.mount_points() if request.mount else ()
            if self._skip.matches(request, mounts) or (outer is not None and is_skipped(here)):
                exchange.context = skipped_context(ground, exchange)
                return exchange
            # The parent is what the request carries, or nothing: never a span that happens to be active here.
            exchange.carried = carried = propagation.extract(request.headers, ground)
            if here:
                if outer is not None and is_handed_on(outer, exchange):
                    return outer
                if (adopted := already_traced(here, span_in(carried))) is not None:
                    if outer is None and ground_of(here) is None:  # all that is here has come with this very request
                        carried = propagation.extract(request.headers, without(here))
                    exchange.context, exchange.span = with_exchange(exchange, adopted, carried, ground), adopted
                    exchange.held = as_held(adopted)
                    return exchange
            parent, links = (carried, None) if self._trust_inbound else (ground, _link_to(carried))
            instruments = self._meters.get()
            tracer = self._tracers.get()
            if tracer is None:
                exchange.context = with_exchange(exchange, None, parent, ground)
                if instruments is not None:
                    exchange.record(request, instruments, exchange.now())
                return exchange
            # The clock is our recorder's; another's goes by the wall clock, unless it is told.
            started = None if self._tracers.takes_lazy_attributes else exchange.now()
            method = request.method if request.method in self.known_methods else semconv.UNKNOWN_METHOD
            known: Any = request if self._tracers.takes_lazy_attributes else request.made()
            span = exchange.span = tracer.start_span(method, parent, _SERVER, known, links, started)
            exchange.context = with_exchange(exchange, span, parent, ground)
            if instruments is not None or self._has_hooks or span.is_recording():
                exchange.record(request, instruments, started)
            return exchange
        except Exception as error:
            fault("ServerTracing.begin", error)
            return None

    def take_over(self, *, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        """Use these providers, given to a framework's native telemetry, where the options have named none."""
        if tracer_provider is not None and self._tracers.follows_the_global_one:
            self._tracers = TracerSource(tracer_provider)
        if meter_provider is not None and self._meters.follows_the_global_one:
            self._meters = MeterSource("server", meter_provider)

    def facts(self, request: ServerRequest) -> RequestFacts:
        """Return the facts of a request, as the trusted proxies that it came through tell them."""
        facts = request.read()
        return facts if self._proxies is None else self._proxies.seen_through(facts)

    def flush(self) -> None:
        """Deliver what is queued, as the end of a server has it, when the provider in use can do that."""
        force_flush = getattr(self._tracers.provider, "force_flush", None)
        if force_flush is not None:
            call_hook("tracer_provider", force_flush, int(DELIVERY_TIMEOUT * 1000))


class ServerRequest(LazyAttributes):
    """A server door's view of a request: nothing is read that nobody asks for, and so only while it is fresh.

    It is also the attributes that a SERVER span has from its start, for whoever wants to know.
    """

    method: str
    path: str
    """The whole path, the application's mount point included."""
    mount: str
    """The path at which the application is mounted, empty for most."""
    tracing: ServerTracing

    @property
    def headers(self) -> RequestHeaders:
        """The request's headers."""
        raise NotImplementedError

    def mount_points(self) -> tuple[str, ...]:
        """Return the paths at which the application is mounted, as the server and as applications around see it."""
        return (self.mount,)

    def read(self) -> RequestFacts:
        """Return the facts as the server gives them."""
        raise NotImplementedError

    @property
    def facts(self) -> RequestFacts:
        """The facts of the request, as they are now and as trusted proxies tell them."""
        return self.tracing.facts(self)

    def make(self) -> dict[str, AttributeValue]:
        """Return the attributes, in a new dictionary."""
        tracing = self.tracing
        attributes = semconv.server_attributes(self.facts, tracing.known_methods)
        if tracing.captures_request:
            attributes.update(tracing.captured_from_request.attributes(self.headers))
        return attributes


def _link_to(carried: Context) -> list[Link]:
    caller = span_in(carried)
    return [] if caller is None else [Link(caller.get_span_context())]


class ServerExchange:
    """One request being served; until `record` is called, one of which nothing is recorded.

    The door calls `attach` and `detach` around whatever runs application code, sets `status`, reports `failure`, and
    calls `end` when the last byte is out. `route_source`, when set, is asked for the route at the end.
    """

    protocol: ClassVar[str]
    """The interface that the door serves: `asgi` or `wsgi`."""
    status_of_silence: ClassVar[int | None] = None
    """What servers answer for an application that returns without a response, if they are of one mind."""
    tracing: ServerTracing
    method: str
    path: str
    carried: Context
    """The context that the request carries."""
    context: Context = _NOWHERE
    """The context that the application runs in."""
    around: Context = _NOWHERE
    """The context that the door was called in."""
    is_over = False
    """Whether the application has done its part: what still lies about of the request's context counts for nothing."""
    span: Span | None = None
    ended = True
    """Whether nothing more is recorded for this request."""
    status: int | None = None
    """The status that the application has sent."""
    route_source: RouteSource | None = None
    _facts: RequestFacts | None = None
    held: Held | None = None
    """The span, when it is of an unsampled trace."""
    client_has_gone = False
    """Whether the door has seen that the client went away, or broke the connection."""
    _sign_of_it: BaseException | None = None
    _is_unheard = False
    """Whether the response has begun only when the client had gone."""
    _has_switched = False
    _failure: BaseException | None = None
    _instruments: Instruments | None = None
    _labels: dict[str, str | int]
    _started: int
    is_settled = True
    """Whether nothing of the request is left to be ended or counted down."""
    _offset: int | None = None
    """What its times are ahead of the monotonic clock, once somebody has asked for one."""

    def now(self) -> int:
        """Return the time as nanoseconds since the epoch, by the clock that the span goes by."""
        return self.time_of(monotonic_ns())

    def time_of(self, moment: int) -> int:
        """Return a time of the monotonic clock as nanoseconds since the epoch."""
        offset = self._offset
        if offset is None:
            offset = self._offset = offset_of(self.span)
        return moment + offset

    def record(self, request: ServerRequest, instruments: Instruments | None, started: int | None) -> None:
        """Take note of the request from now on: it has a span, metrics, or hooks that want to know of it."""
        tracing = self.tracing
        self.ended = self.is_settled = False
        self.held = as_held(self.span)
        if instruments is None and not tracing.keeps_facts:
            return
        self._facts = facts = request.facts
        if instruments is not None and facts.scheme not in ("ws", "wss"):
            self._instruments = instruments
            self._labels = semconv.server_labels(facts, tracing.known_methods)
            self._started = started or getattr(self.span, "start_time", None) or self.now()
            instruments.began(self, self._labels)
        if self.span is not None and tracing.on_request is not None:
            call_hook("on_request", tracing.on_request, self.span, facts)

    def attach(self) -> Token[Context]:
        """Make the request's span current; the token is for `detach` in the same thread or task."""
        return attach(self.context)

    def detach(self, token: Token[Context]) -> None:
        """Make current again what was current before `attach`."""
        detach(token, self.context)

    def depart(self) -> None:
        """Note that the application has done its part, and do what an interrupted step of the door has left undone.

        An exception may come between any two steps: KeyboardInterrupt, or what a signal handler or another thread
        raises. The door calls this last, whatever has happened.
        """
        self.is_over = True
        if current_context() is self.context:
            attach(self.around)
        if not self.is_settled:
            self.ended = True
            if self._instruments is not None:
                self._instruments.ended(self)
            if self.span is not None and self.span.is_recording():
                self._leave(None)
            self.is_settled = True

    @property
    def response_header(self) -> tuple[str, str] | None:
        """The lower-case name and the value of the header that tells the caller the trace id, if there is one."""
        name = self.tracing.response_header
        if name is None or self.span is None:
            return None
        return name, self.span.get_span_context().trace_id.to_bytes(16, "big").hex()

    @property
    def captures_response(self) -> bool:
        """Whether `capture` has a use for the response's headers."""
        return self.tracing.captures_response and not self.ended

    def answered(self, status: int | None) -> None:
        """Note the status that the application has sent, and with it the first byte of the response."""
        self.status = status
        self._is_unheard = self.client_has_gone
        self.first_byte()

    def first_byte(self) -> None:
        """Note that the response has begun, unless that is noted already."""
        if self.held is not None:
            self.held.answered()

    def lasts(self) -> None:
        """Note that this is no request but a connection, which is never slow."""
        if self.held is not None:
            self.held.lasts()

    @guarded
    def capture(self, headers: Headers) -> None:
        """Record those of the response's headers that are to be captured."""
        if self.span is not None:
            self.span.set_attributes(self.tracing.captured_from_response.attributes(headers))

    def gone(self, sign: BaseException | None = None) -> None:
        """Note that the client has gone away, and the exception by which the server has told the application."""
        self.client_has_gone = True
        if sign is not None and not self.ended:
            self._sign_of_it = sign

    def says_only_that_the_client_has_gone(self, error: BaseException) -> bool:
        """Tell whether an exception that escaped from the application says no more than that."""
        return self.client_has_gone and says_only_that_the_client_has_gone(error, self._sign_of_it)

    @guarded
    def failure(self, error: BaseException) -> None:
        """Note an exception that escaped from the application; the same one twice counts once."""
        if self.ended or error is self._failure:
            return
        if self.says_only_that_the_client_has_gone(error):
            self._is_unheard = self._is_unheard or self.status is None
            return
        self._failure = error
        if self.span is not None:
            record_exception(self.span, error)
            put_stage(self.span, error)

    def unanswered(self) -> None:
        """Note what becomes of an exception that escapes before the response has begun: servers answer with a 500."""
        if self.status is None and not self.client_has_gone and isinstance(self._failure, Exception):
            self.status = 500

    def switched(self) -> None:
        """Note that this was no request but a connection, of another protocol, that the application has served."""
        self._has_switched = True
        self.lasts()
        if self._instruments is not None:
            self._instruments.ended(self)
            self._instruments = None

    @guarded
    def annotate(self, name: str, value: str | int) -> None:
        """Put an attribute of the protocol on the span, for what only one kind of door knows."""
        if self.span is not None and not self.ended:
            self.span.set_attribute(name, value)

    def end(self, *, at: int | None = None, incomplete: bool = False) -> None:
        """End the span; every further call does nothing.

        Args:
            at: The end as nanoseconds since the epoch, when it was earlier than now.
            incomplete: The application returned without a complete response, and nobody had hung up.
        """
        if self.ended:
            return
        try:
            self.ended = True
            if at is None and self._offset is not None:
                at = self.now()
            if self._has_switched:
                self.status = 101
            elif self._is_unheard and self._failure is None and (self.status or 0) >= 500:
                self.status = None  # an error page for nobody, of which the cause is that nobody is there
            error_type = self._error_type(incomplete=incomplete)
            if incomplete and self.status is None:
                self.status = self.status_of_silence
            if self.held is not None and error_type is None and not self.tracing.keeps_facts:
                at = self.now() if at is None else at
                if self.held.is_dismissed(at):
                    self.span = None
                    if self._instruments is None:
                        return
            route = None if self.route_source is None else self._route(self.route_source)
            if self._instruments is not None:
                at = self.now() if at is None else at
                self._measure(self._instruments, at, route, error_type)
            if self.span is not None:
                self._conclude(self.span, route, error_type)
        except Exception as error:
            fault("ServerExchange.end", error)
        finally:
            self._leave(at)

    def _leave(self, at: int | None) -> None:
        # The scope or environ leads to the exchange: what leads back would leave both to the garbage collector.
        try:
            if self._instruments is not None:
                self._instruments.ended(self)
            self.route_source = self._failure = self._sign_of_it = self._facts = None
            if self.span is not None:
                self.span.end(at)
        except Exception as error:
            fault("ServerExchange.end", error)
        self.is_settled = True

    def _error_type(self, *, incomplete: bool) -> str | None:
        error_type = semconv.server_error_type(self.status)
        if error_type is None and self._failure is not None:
            error_type = exception_type(self._failure)
        return semconv.INCOMPLETE_RESPONSE if error_type is None and incomplete else error_type

    @guarded
    def _route(self, source: RouteSource) -> str | None:
        return source()

    def _conclude(self, span: Span, route: str | None, error_type: str | None) -> None:
        tracing = self.tracing
        name: object = None
        if tracing.span_name is not None:
            name = call_hook("span_name", tracing.span_name, self._facts, route)
        if not isinstance(name, str) and route is not None:
            name = semconv.span_name(self.method, route, tracing.known_methods)
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

    def _measure(self, instruments: Instruments, ended: int, route: str | None, error_type: str | None) -> None:
        labels = dict(self._labels)
        if route is not None:
            labels["http.route"] = route
        if self.status is not None:
            labels["http.response.status_code"] = self.status
        if error_type is not None:
            labels["error.type"] = error_type
        if self._facts is not None and self._facts.http_version in _VERSIONS:
            labels["network.protocol.version"] = self._facts.http_version
        instruments.lasted(max(ended - self._started, 0) / 1e9, labels, self.context)
