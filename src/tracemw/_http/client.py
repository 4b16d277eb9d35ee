"""One attempt at an outbound request: start, response, failure, and one end.

A client door makes one `ClientTracing` from its options, and calls `begin` for each attempt. The `ClientExchange` that
comes back holds the attempt's whole state. None of its methods raises into the application.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from time import monotonic_ns
from typing import Any, Final, TypedDict, TypeVar, Unpack

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import NonRecordingSpan, Span, SpanKind, StatusCode, TracerProvider

from tracemw._http import propagation, semconv
from tracemw._http.metrics import Instruments, MeterSource
from tracemw._http.third_parties import ThirdParties
from tracemw._otel.attributes import AttributeValue, LazyAttributes
from tracemw._otel.clock import offset, offset_of
from tracemw._otel.context import (
    attach,
    clients_suppressed,
    current_context,
    detach,
    suppress_clients,
    with_client_span,
)
from tracemw._otel.exceptions import exception_type, put_stage, record_exception
from tracemw._otel.guard import fault, guarded
from tracemw._otel.providers import TracerSource
from tracemw.config import known_methods

R = TypeVar("R")

_CLIENT: Final = SpanKind.CLIENT  # to get a member of an enumeration through its class costs a look-up each time
_NO_HEADERS: Final[dict[str, str]] = {}
_NOWHERE: Final = Context()


class ClientOptions(TypedDict, total=False):
    """The keyword options that every client door takes.

    A door checks its options when it is made. An unknown option, or one string as `third_parties`, is a TypeError. A
    third party that is no host is a ValueError.

    Attributes:
        third_parties: Hosts that get neither trace context nor baggage, such as `("api.stripe.com", "*.openai.com")`.
            Calls to these hosts are traced like all others. `*` stands for any part of a name. `"api.stripe.com:8443"`
            is one port only. An IPv6 address has brackets.
        tracer_provider: Use this provider in place of the global one.
        meter_provider: Use this provider in place of the global one.
    """

    third_parties: Iterable[str]
    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None


class ClientTracing:
    """The options of one client door, and the way to begin an attempt.

    Args:
        tracer_provider: See `ClientOptions`.
        meter_provider: See `ClientOptions`.
        third_parties: See `ClientOptions`.

    Raises:
        TypeError: for an unknown option, and for one string as `third_parties`.
        ValueError: for a third party that is no host.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        third_parties: Iterable[str] = (),
    ) -> None:
        if not isinstance(third_parties, str) and isinstance(third_parties, Iterable):
            third_parties = tuple(third_parties)
        self._options: ClientOptions = {
            "tracer_provider": tracer_provider,
            "meter_provider": meter_provider,
            "third_parties": third_parties,
        }
        self._third_parties = ThirdParties(third_parties) or None
        self._known_methods = known_methods()
        self._tracers = TracerSource(tracer_provider)
        self._meters = MeterSource("client", meter_provider)

    def but(self, **options: Unpack[ClientOptions]) -> ClientTracing:
        """Return a copy with some options replaced."""
        replaced = self._options.copy()
        replaced.update(options)
        return ClientTracing(**replaced)

    def __deepcopy__(self, memo: dict[int, Any]) -> ClientTracing:
        return self  # this object never changes, and providers cannot be copied

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process uses its own providers.
        return _restored, (self._options["third_parties"],)

    def begin(
        self,
        method: str,
        url: str,
        *,
        template: str | None = None,
        resend_count: int = 0,
        context: Context | None = None,
    ) -> ClientExchange | None:
        """Start the CLIENT span of one attempt. Return None if this call must not be traced.

        Args:
            method: The request's method.
            url: The absolute URL that is called.
            template: The URL's template, of low cardinality, for the span's name and `url.template`.
            resend_count: How many attempts at the same request came before this one.
            context: The context of the call; by default, the current one.
        """
        try:
            here = current_context() if context is None else context
            if clients_suppressed(here):
                return None
            tracer = self._tracers.get()
            instruments = self._meters.get()
            request = ClientRequest(method, url, template, resend_count, self._known_methods)
            # All that may fail comes before the span: a span that has started must be ended.
            labels = None if instruments is None else semconv.client_labels(request.made())
            hands_on = self._third_parties is None or not self._third_parties.called_by(url)
            span = ahead = None
            if tracer is None:
                inside = suppress_clients(here)
            else:
                name = semconv.span_name(method, template, self._known_methods)
                if self._tracers.is_ours:
                    lazy: Any = request
                    span = tracer.start_span(name, here, _CLIENT, lazy)
                else:  # other recorders read the wall clock, unless they are told the time
                    ahead = offset()
                    span = tracer.start_span(name, here, _CLIENT, request.made(), None, monotonic_ns() + ahead)
                inside = with_client_span(span, here)
                if type(span) is NonRecordingSpan:
                    span = None
            headers = _NO_HEADERS
            if hands_on:
                try:
                    headers = propagation.inject(inside)
                except Exception as error:
                    fault("ClientTracing.begin: headers", error)
            return ClientExchange(span, inside, headers, resend_count, ahead, instruments, labels)
        except Exception as error:
            fault("ClientTracing.begin", error)
            return None


def _restored(third_parties: Iterable[str]) -> ClientTracing:
    return ClientTracing(third_parties=third_parties)


class ClientRequest(LazyAttributes):
    """The request of one attempt. It makes the attributes that its span starts with, when somebody asks."""

    __slots__ = ("_known", "_method", "_resend_count", "_template", "_url")

    def __init__(self, method: str, url: str, template: str | None, resend_count: int, known: frozenset[str]) -> None:
        self._method = method
        self._url = url
        self._template = template
        self._resend_count = resend_count
        self._known = known
        self._made = None

    def make(self) -> dict[str, AttributeValue]:
        """Return the attributes, in a new dictionary."""
        attributes = semconv.client_attributes(self._method, self._url, self._known)
        if self._resend_count:
            attributes["http.request.resend_count"] = self._resend_count
        if self._template is not None:
            attributes["url.template"] = self._template
        return attributes


class ClientExchange:
    """One attempt at an outbound request.

    The door adds `headers` to a copy of the request, and lets the exchange `run` the call. Then the door reports
    `response` or `failure`, and calls `end` when the body has been read or closed.

    An exchange lets go of its span and context when it ends. httpx keeps each response, and all that the response
    leads to, until the garbage collector comes.
    """

    __slots__ = (
        "_ahead",
        "_context",
        "_error_type",
        "_headers_at",
        "_instruments",
        "_labels",
        "_span",
        "_started",
        "headers",
        "resend_count",
    )

    def __init__(
        self,
        span: Span | None,
        context: Context,
        headers: dict[str, str],
        resend_count: int,
        ahead: int | None,
        instruments: Instruments | None,
        labels: dict[str, str | int] | None,
    ) -> None:
        self.headers = headers
        """The headers that hand the trace on to the service being called; empty for a third party."""
        self.resend_count = resend_count
        """How many attempts at the same request came before this one."""
        self._span = span
        self._context = context
        self._ahead = ahead
        """Nanoseconds that the span's clock is ahead of the monotonic one; None until a time is needed."""
        self._instruments = instruments
        self._error_type: str | None = None
        self._headers_at: int | None = None
        if labels is not None:
            now = self.now()
            self._labels = labels
            self._started: int = getattr(span, "start_time", None) or now

    def now(self) -> int:
        """Return the time by the span's clock, in nanoseconds since the epoch."""
        return self._time_of(monotonic_ns())

    def _time_of(self, moment: int) -> int:
        """Return a time of the monotonic clock as one of the span's clock, in nanoseconds since the epoch."""
        if self._ahead is None:
            self._ahead = offset_of(self._span)
        return moment + self._ahead

    def has_ended(self) -> bool:
        """Tell whether nothing more is recorded for this attempt."""
        return self._span is None and self._instruments is None

    def run(self, send: Callable[..., R], *args: Any) -> R:
        """Return `send(*args)`. Meanwhile the attempt's span is current, and clients beneath start no spans.

        An interrupt between any two steps, such as KeyboardInterrupt, leaves the context as it was before.
        """
        around, inside, token = current_context(), self._context, None
        # Both `try`s come first. An interrupt may come at the start of the inner one, and the outer one catches it.
        try:
            try:
                token = attach(inside)
                return send(*args)
            finally:
                if token is not None:
                    detach(token, inside)
        except BaseException:
            if current_context() is inside:  # an interrupt came before the `detach`
                attach(around)
            raise

    async def run_async(self, send: Callable[..., Awaitable[R]], *args: Any) -> R:
        """Do the same as `run` for an asynchronous `send`."""
        around, inside, token = current_context(), self._context, None
        try:
            try:
                token = attach(inside)
                result = await send(*args)
                return result  # noqa: RET504  an interrupt between `await` and `return` would escape this `try`
            finally:
                if token is not None:
                    detach(token, inside)
        except BaseException:
            if current_context() is inside:
                attach(around)
            raise

    def response(self, status: int, http_version: str | None) -> None:
        """Note that the response's headers are there, with the status and the protocol version (`1.1`, `2`)."""
        span, instruments = self._span, self._instruments
        if span is None and instruments is None:
            return
        try:
            self._headers_at = monotonic_ns()
            if span is not None:
                span.set_attribute("http.response.status_code", status)
                if http_version:
                    span.set_attribute("network.protocol.version", http_version)
            if instruments is not None:
                self._labels["http.response.status_code"] = status
                if http_version:
                    self._labels["network.protocol.version"] = http_version
            if status >= 400:
                self._error_type = semconv.client_error_type(status)
        except Exception as error:
            fault("ClientExchange.response", error)

    @guarded
    def failure(self, error: BaseException, *, at: int | None = None) -> None:
        """Note the exception that ended the attempt, and end the span.

        A cancellation (any exception that is no `Exception`) is deliberate: the span ends without an error. If the
        status is an error already, the status stays the `error.type`.

        Args:
            error: The exception.
            at: When the exception was raised, in nanoseconds since the epoch, if that was earlier than now.
        """
        if self.has_ended():
            return
        try:
            if isinstance(error, Exception):
                self._error_type = self._error_type or exception_type(error)
                if self._span is not None:
                    put_stage(self._span, error)
                    record_exception(self._span, error, self.now() if at is None else at)
        finally:
            self.end(at=at)

    def end(self, *, at: int | None = None) -> None:
        """End the span. Every further call does nothing.

        Args:
            at: The end in nanoseconds since the epoch, if it was earlier than now.
        """
        # No call from here to the reset of `_context`: of two threads, one ends the span.
        span, instruments, context = self._span, self._instruments, self._context
        if span is None and instruments is None:
            return
        self._span = self._instruments = None
        self._context = _NOWHERE
        if at is None and self._ahead is not None:  # otherwise the span reads the clock itself
            at = monotonic_ns() + self._ahead
        if self._error_type is not None or instruments is not None:
            self._conclude(span, instruments, context, at)
        if span is not None:
            try:
                span.end(at)
            except Exception as error:
                fault("ClientExchange.end", error)

    @guarded
    def _conclude(
        self, span: Span | None, instruments: Instruments | None, context: Context, ended: int | None
    ) -> None:
        """Put the error on the span, and record how long the attempt lasted."""
        if self._error_type is not None and span is not None:
            span.set_attribute("error.type", self._error_type)
            span.set_status(StatusCode.ERROR)
        if instruments is not None and ended is not None:
            if self._error_type is not None:
                self._labels["error.type"] = self._error_type
            instruments.lasted(max(ended - self._started, 0) / 1e9, self._labels, context)

    def abandon(self) -> None:
        """End the span with the time of the response's headers. Nobody is left to read or close the body."""
        if self._span is None and self._instruments is None:
            return
        self.end(at=None if self._headers_at is None else self._time_of(self._headers_at))
