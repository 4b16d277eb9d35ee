"""One attempt at an outbound request: start, response, failure, and end exactly once.

A client door makes one `ClientTracing` from its options and asks it to `begin` each attempt. What it gets back is the
`ClientExchange` that holds all state of that one attempt. Its methods are guarded: none raises into the application.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from time import monotonic_ns
from typing import Any, Final, TypedDict, TypeVar, Unpack

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider

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


class ClientOptions(TypedDict, total=False):
    """The keyword options that every client door takes; see `ClientTracing`."""

    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None
    third_parties: Iterable[str]


class ClientTracing:
    """The options of one client door, and the way to begin an attempt.

    Args:
        tracer_provider: Use this provider in place of the global one.
        meter_provider: Use this provider in place of the global one.
        third_parties: Hosts whose calls are traced, and that get neither trace context nor baggage, such as
            `("api.stripe.com", "*.openai.com")`; see `ThirdParties`.

    Raises:
        TypeError: for an unknown option, and for one string as `third_parties`.
        ValueError: for what is no host.
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
        self._third_parties = ThirdParties(third_parties)
        self._has_third_parties = bool(self._third_parties)
        self.known_methods = known_methods()
        self._tracers = TracerSource(tracer_provider)
        self._meters = MeterSource("client", meter_provider)

    def but(self, **options: Unpack[ClientOptions]) -> ClientTracing:
        """Return the same with some options replaced."""
        replaced = self._options.copy()
        replaced.update(options)
        return ClientTracing(**replaced)

    def __deepcopy__(self, memo: dict[int, Any]) -> ClientTracing:
        return self  # nothing of it changes, and providers cannot be copied

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process the providers are those of that process.
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
        """Start the CLIENT span of one attempt; None when this call must not be traced.

        Args:
            method: The request's method.
            url: The absolute URL that is called.
            template: The URL's template, of low cardinality, for the span's name and `url.template`.
            resend_count: How many attempts at the same request came before this one.
            context: The context of the call, when that is not the current one.
        """
        try:
            here = current_context() if context is None else context
            if clients_suppressed(here):
                return None
            tracer = self._tracers.get()
            instruments = self._meters.get()
            hands_on = not (self._has_third_parties and self._third_parties.called_by(url))
            if tracer is None and instruments is None:
                return ClientExchange(None, suppress_clients(here), hands_on=hands_on)
            attributes = ClientAttributes(method, url, template, resend_count, self.known_methods)
            labels = semconv.client_labels(attributes.made()) if instruments is not None else None
            if tracer is None:
                return ClientExchange(None, suppress_clients(here), instruments, labels, hands_on=hands_on)
            name = semconv.span_name(method, template, self.known_methods)
            known: Any = attributes if self._tracers.takes_lazy_attributes else attributes.made()
            ahead = started = None
            if not self._tracers.takes_lazy_attributes:  # another's recorder, which goes by the wall clock unless told
                ahead = offset()
                started = monotonic_ns() + ahead
            span = tracer.start_span(name, here, _CLIENT, known, None, started)
            inside = with_client_span(span, here)
            return ClientExchange(span, inside, instruments, labels, started, ahead, hands_on=hands_on)
        except Exception as error:
            fault("ClientTracing.begin", error)
            return None


def _restored(third_parties: Iterable[str]) -> ClientTracing:
    return ClientTracing(third_parties=third_parties)


class ClientAttributes(LazyAttributes):
    """The attributes that a CLIENT span has from its start, for whoever wants to know."""

    __slots__ = ("_known", "_method", "_resend_count", "_template", "_url")

    def __init__(self, method: str, url: str, template: str | None, resend_count: int, known: frozenset[str]) -> None:
        self._made = None
        self._method = method
        self._url = url
        self._template = template
        self._resend_count = resend_count
        self._known = known

    def make(self) -> dict[str, AttributeValue]:
        """Return the attributes, in a new dictionary."""
        attributes = semconv.client_attributes(self._method, self._url, self._known)
        if self._resend_count:
            attributes["http.request.resend_count"] = self._resend_count
        if self._template is not None:
            attributes["url.template"] = self._template
        return attributes


_CLIENT: Final = SpanKind.CLIENT  # a member of an enumeration costs a look-up through its class each time
_NO_HEADERS: Final[dict[str, str]] = {}


class ClientExchange:
    """One attempt at an outbound request.

    The door adds `headers()` to a copy of the request, lets it `run` the call beneath it, reports `response`
    and `failure`, and calls `end` when the body has been read or closed.
    """

    __slots__ = (
        "_context",
        "_ended",
        "_error_type",
        "_hands_on",
        "_headers_at",
        "_instruments",
        "_labels",
        "_offset",
        "_span",
        "_started",
    )

    def __init__(
        self,
        span: Span | None,
        context: Context,
        instruments: Instruments | None = None,
        labels: dict[str, str | int] | None = None,
        started: int | None = None,
        ahead: int | None = None,
        *,
        hands_on: bool = True,
    ) -> None:
        self._span = span
        self._hands_on = hands_on
        self._context = context
        self._offset = offset_of(span) if ahead is None else ahead
        if instruments is not None:
            self._started: int = started or getattr(span, "start_time", None) or self.now()
        self._instruments = instruments
        self._labels = labels or {}
        self._ended = span is None and instruments is None
        self._error_type: str | None = None
        self._headers_at: int | None = None

    def now(self) -> int:
        """Return the time as nanoseconds since the epoch, by the clock that the span goes by."""
        return monotonic_ns() + self._offset

    @property
    def ended(self) -> bool:
        """Whether nothing more is recorded for this attempt."""
        return self._ended

    def headers(self) -> dict[str, str]:
        """Return the headers that hand the trace on to the service being called; none for a third party."""
        if not self._hands_on:
            return _NO_HEADERS
        try:
            return propagation.inject(self._context)
        except Exception as error:
            fault("ClientExchange.headers", error)
            return _NO_HEADERS

    def run(self, send: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Return `send(*args, **kwargs)`, called with the attempt current, and clients beneath it switched off.

        An interrupt between any two steps, such as KeyboardInterrupt, leaves the context as it was before.
        """
        around, token = current_context(), None
        # Both begin before anything else does: where a `try` begins, no other catches an interrupt.
        try:
            try:
                token = attach(self._context)
                return send(*args, **kwargs)
            finally:
                if token is not None:
                    detach(token, self._context)
        finally:
            if current_context() is self._context:
                attach(around)

    async def run_async(self, send: Callable[..., Awaitable[R]], *args: Any, **kwargs: Any) -> R:
        """Do the same with an asynchronous `send`."""
        around, token = current_context(), None
        try:
            try:
                token = attach(self._context)
                result = await send(*args, **kwargs)
                return result  # noqa: RET504  an interrupt between `await` and `return` would find nothing around it
            finally:
                if token is not None:
                    detach(token, self._context)
        finally:
            if current_context() is self._context:
                attach(around)

    def response(self, status: int, http_version: str | None) -> None:
        """Note the status and the negotiated protocol version (`1.1`, `2`) once the response's headers are there."""
        if self._ended:
            return
        try:
            self._headers_at = monotonic_ns() + self._offset
            self._note("http.response.status_code", status)
            if http_version:
                self._note("network.protocol.version", http_version)
            if status >= 400:
                self._error_type = semconv.client_error_type(status)
        except Exception as error:
            fault("ClientExchange.response", error)

    def _note(self, name: str, value: str | int) -> None:
        """Put an attribute on the span, and on the metric alike."""
        if self._span is not None:
            self._span.set_attribute(name, value)
        if self._instruments is not None:
            self._labels[name] = value

    @guarded
    def failure(self, error: BaseException, *, at: int | None = None) -> None:
        """Note the error that ended the attempt, and end it.

        A cancellation (any exception that is no `Exception`) is deliberate: the span ends without an error. A status
        that is an error itself stays the `error.type`.

        Args:
            error: The exception.
            at: When it was raised, as nanoseconds since the epoch, if that was earlier than now.
        """
        if self._ended:
            return
        try:
            if isinstance(error, Exception):
                self._error_type = self._error_type or exception_type(error)
                if self._span is not None:
                    put_stage(self._span, error)
                    record_exception(self._span, error, at)
        finally:
            self.end(at=at)

    def end(self, *, at: int | None = None) -> None:
        """End the span; every further call does nothing.

        Args:
            at: The end as nanoseconds since the epoch, when it was earlier than now.
        """
        if self._ended:
            return
        self._ended = True
        ended = monotonic_ns() + self._offset if at is None else at
        if self._error_type is not None or self._instruments is not None:
            self._conclude(ended)
        try:
            if self._span is not None:
                self._span.end(ended)
        except Exception as error:
            fault("ClientExchange.end", error)

    @guarded
    def _conclude(self, ended: int) -> None:
        """Note the error, and how long the attempt lasted."""
        if self._error_type is not None:
            self._note("error.type", self._error_type)
            if self._span is not None:
                self._span.set_status(StatusCode.ERROR)
        if self._instruments is not None:
            self._instruments.lasted(max(ended - self._started, 0) / 1e9, self._labels, self._context)

    def abandon(self) -> None:
        """End the span at the time of the response's headers: nobody will read or close the body any more."""
        if not self._ended:
            self.end(at=self._headers_at)
