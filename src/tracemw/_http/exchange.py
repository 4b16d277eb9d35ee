"""One request being served: its whole state, from its arrival to its one end."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from time import monotonic_ns
from typing import ClassVar, Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode

from tracemw._http import semconv
from tracemw._http.departures import says_only_that_the_client_has_gone
from tracemw._http.facts import Headers, RequestFacts
from tracemw._http.metrics import Instruments
from tracemw._http.queueing import QUEUED, seconds_queued
from tracemw._http.request import ServerRequest
from tracemw._http.settings import ServerSettings
from tracemw._otel.clock import offset_of
from tracemw._otel.context import attach, current_context
from tracemw._otel.exceptions import exception_type, put_stage, record_exception
from tracemw._otel.guard import call_hook, fault, guarded
from tracemw._otel.recorder import Held
from tracemw._otel.served import Note, enter, leave, watch

# The versions that a metric may tell: some servers pass on what the client has written, and that may be anything.
_VERSIONS: Final = frozenset({"1.0", "1.1", "2", "3"})

_NOWHERE: Final = Context()

RouteSource = Callable[[], str | None]


class ServerExchange:
    """One request being served. Nothing is recorded until `record` is called.

    The door makes `context` current while application code runs. The door says what the application `answered`, and
    reports a `failure`. The door calls `end` when the last byte is out, and `depart` when the application has done its
    part. No method raises into the application.
    """

    # With more than 30 fields in its dictionary, CPython would make a new one for each request.
    __slots__ = (
        *("__weakref__", "settings", "request", "carried", "context", "around", "span", "held", "status"),
        *("server_error", "route_source", "ended_at", "loop", "notes", "answered_at"),
        *("is_open", "is_over", "is_settled", "client_has_gone", "_is_unheard", "_has_switched"),
        *("_failure", "_sign_of_departure", "_instruments", "_labels", "_started", "_offset"),
    )

    protocol: ClassVar[str]
    """The interface that the door serves: `asgi` or `wsgi`."""
    status_of_silence: ClassVar[int | None] = None
    """The status that servers send when an application returns without a response; None where servers differ."""

    settings: ServerSettings
    request: ServerRequest
    carried: Context
    """The context that the request carries."""
    context: Context
    """The context that the application runs in."""
    around: Context
    """The context that the door was called in."""
    span: Span | None
    held: Held | None
    """The span, if it is of an unsampled trace."""
    status: int | None
    """The status that the application has sent."""
    server_error: str | None
    """`error.type` for that status, if the status is an error of the server."""
    route_source: RouteSource | None
    """Called for the route when the request ends."""
    ended_at: int | None
    """The end of the span, in nanoseconds since the epoch, if the response was over before `end` is called."""
    loop: AbstractEventLoop | None
    """The event loop that the request arrived in; None for a request that a thread serves."""
    notes: list[Note] | None
    """What the watch has seen of the request."""
    worker: object = None
    """Who serves the request, for the watch, where neither an event loop nor a thread tells."""
    answered_at: int | None
    """When the response began, by the monotonic clock in nanoseconds."""
    kept_logs: int = 0
    """How many log records have become events of the request's spans."""

    is_open: bool
    """Whether the request is being recorded, and has not ended."""
    is_over: bool
    """Whether the application has done its part. A request that arrives later in its context is not part of it."""
    is_settled: bool
    """Whether nothing is left to do at the end: no span to end, and no count to take down."""
    client_has_gone: bool
    """Whether the door has seen that the client went away, or that the connection broke."""

    _is_unheard: bool
    """Whether the client had gone before the response began."""
    is_connection = False
    """Whether this is a connection, and no request."""
    _has_switched: bool
    """Whether the application has served a connection of another protocol."""
    _failure: BaseException | None
    """The exception that escaped from the application."""
    _sign_of_departure: BaseException | None
    """The exception by which the server told the application that the client has gone."""
    _instruments: Instruments | None
    _facts: RequestFacts | None = None
    """The facts of the request, if metrics or hooks need them."""
    _labels: dict[str, str | int]
    _started: int
    _offset: int | None
    """Nanoseconds that the span's clock is ahead of the monotonic one; None until a time is needed."""

    def prepare(self) -> None:
        """Set all fields to begin with. The door calls this first; an `__init__` would take longer."""
        # To find one default in the class takes as long as to set seven fields here. So only what most requests never
        # read has its default there.
        self.carried = self.context = self.around = _NOWHERE
        self.span = self.held = self.status = self.server_error = self.route_source = self.loop = self.notes = None
        self.is_open = self.is_over = self.client_has_gone = self._is_unheard = self._has_switched = False
        self.is_settled = True
        self._failure = self._sign_of_departure = self._instruments = self._offset = None
        self.ended_at = self.answered_at = None

    # ---- the time ----

    def now(self) -> int:
        """Return the time by the span's clock, in nanoseconds since the epoch."""
        return self.time_of(monotonic_ns())

    def time_of(self, moment: int) -> int:
        """Return a time of the monotonic clock as one of the span's clock, in nanoseconds since the epoch."""
        offset = self._offset
        if offset is None:
            offset = self._offset = offset_of(self.span)
        return moment + offset

    # ---- the beginning ----

    def record(self, instruments: Instruments | None = None, started: int | None = None) -> None:
        """Record the request from now on: it has a span, metrics, or hooks.

        Args:
            instruments: The metrics to record, if there are any.
            started: When the request started, in nanoseconds since the epoch; by default, when the span did.
        """
        settings = self.settings
        self.is_open, self.is_settled = True, False
        if self.span is not None:
            enter(self)
            if watch.wake is not None:
                watch.wake()
            if self.loop is None and watch.find_worker is not None:
                self.worker = watch.find_worker()
        if instruments is None and not settings.names_or_hooks:
            return
        self._facts = facts = self.request.facts()
        if instruments is not None and facts.scheme not in ("ws", "wss"):
            self._instruments = instruments
            self._labels = semconv.server_labels(facts, settings.known_methods)
            self._started = started or getattr(self.span, "start_time", None) or self.now()
            instruments.began(self, self._labels)
        if self.span is not None and settings.on_request is not None:
            call_hook("on_request", settings.on_request, self.span, facts)

    # ---- what the door reports ----

    def told_trace_id(self) -> bytes | None:
        """Return the 16 bytes of the trace id, for the header that tells the caller; None if there is no header."""
        if self.span is None or self.settings.response_header is None:
            return None
        # The first field of a span context, which is a tuple, is its trace id. The property takes four times as long.
        return self.span.get_span_context()[0].to_bytes(16)

    def answered(self, status: int | None) -> None:
        """Note the status that the application answers with; None for one that is no number."""
        self.status = status
        self.server_error = semconv.server_error_type(status)
        if self.client_has_gone:
            self._is_unheard = True  # Flask answers after the failure

    def first_byte(self) -> None:
        """Note that the response has begun. Only the first call counts."""
        if self.answered_at is None:
            self.answered_at = monotonic_ns()
            if self.held is not None:
                self.held.answered()

    @property
    def is_awaited(self) -> bool:
        """Whether the client waits for the response, of which nothing is out yet."""
        return self.status is None and not self.is_connection

    def lasts(self) -> None:
        """Note that this is a connection, and no request. A connection is never slow."""
        self.is_connection = True
        if self.held is not None:
            self.held.lasts()

    def switched(self) -> None:
        """Note that the application has served a connection of another protocol, such as a WebSocket beneath WSGI."""
        self._has_switched = True
        self.lasts()
        if self._instruments is not None:
            self._instruments.ended(self)
            self._instruments = None

    @guarded
    def capture(self, headers: Headers) -> None:
        """Record the response's headers that `capture_response_headers` names."""
        if self.span is not None:
            self.span.set_attributes(self.settings.captured_from_response.attributes(headers))

    @guarded
    def annotate(self, name: str, value: str | int) -> None:
        """Put an attribute on the span that only one kind of door knows, such as a WebSocket's close code."""
        if self.span is not None and self.is_open:
            self.span.set_attribute(name, value)

    def gone(self, sign: BaseException | None = None) -> None:
        """Note that the client has gone away; `sign` is the exception by which the server told the application."""
        self.client_has_gone = True
        if sign is not None and self.is_open:
            self._sign_of_departure = sign

    def says_only_that_the_client_has_gone(self, error: BaseException) -> bool:
        """Tell whether an exception that escaped from the application has no other cause."""
        return self.client_has_gone and says_only_that_the_client_has_gone(error, self._sign_of_departure)

    @guarded
    def failure(self, error: BaseException) -> None:
        """Note an exception that escaped from the application. The same one counts once."""
        if not self.is_open or error is self._failure:
            return
        if self.says_only_that_the_client_has_gone(error):
            self._is_unheard = self._is_unheard or self.status is None
            return
        self._failure = error
        if self.span is not None:
            # By the clock of the end: no exception may be later than the span.
            record_exception(self.span, error, self.now() if self.ended_at is None else self.ended_at)
            put_stage(self.span, error)

    def unanswered(self) -> None:
        """Note the 500 that servers send for an exception that escapes before the response has begun."""
        if self.status is None and not self.client_has_gone and isinstance(self._failure, Exception):
            self.answered(500)

    # ---- the end ----

    def end(self, *, incomplete: bool = False) -> None:
        """End the span, at `ended_at` or now. Every further call does nothing.

        Args:
            incomplete: Whether the application returned without a complete response, while the client was there.
        """
        if not self.is_open:
            return
        at = self.ended_at
        try:
            self.is_open = False
            if at is None and self._offset is not None:
                at = self.now()
            if self._has_switched:
                self.answered(101)
            elif self._is_unheard and self._failure is None and self.server_error is not None:
                self.answered(None)  # an error page that nobody gets, sent because the client has gone
            error_type = self.server_error
            if error_type is None:
                if self._failure is not None:
                    error_type = exception_type(self._failure)
                elif incomplete:
                    error_type = semconv.INCOMPLETE_RESPONSE
            if incomplete and self.status is None:
                self.status = self.status_of_silence
            held = self.held
            if held is not None and error_type is None and not self.settings.names_or_hooks and held.dismiss(at):
                self.span = None
                if self._instruments is None:
                    return
            route = None if self.route_source is None else self._route(self.route_source)
            if self._instruments is not None:
                at = self.now() if at is None else at
                self._measure(self._instruments, at, route, error_type)
            if self.span is not None:
                self._conclude(self.span, route, error_type)
                if self.settings.on_response is not None:
                    call_hook("on_response", self.settings.on_response, self.span, self._facts, self.status)
        except Exception as error:
            fault("ServerExchange.end", error)
        finally:
            self._leave(at)

    def _route(self, source: RouteSource) -> str | None:
        try:
            return source()
        except Exception as error:
            fault("ServerExchange._route", error)
            return None

    @guarded
    def conclude_early(self) -> None:
        """Put on the span what the end would tell, as far as it is known: the process ends while the request runs."""
        if self.is_open and self.span is not None:
            self._conclude(self.span, None if self.route_source is None else self._route(self.route_source), None)

    def _conclude(self, span: Span, route: str | None, error_type: str | None) -> None:
        """Put on the span what only the end tells: name, route, status, error."""
        settings = self.settings
        name = None
        if route is not None:
            name = semconv.span_name(self.request.method, route, settings.known_methods)
            span.set_attribute("http.route", route)
        if settings.span_name is not None:
            named = call_hook("span_name", settings.span_name, self._facts, route)
            if isinstance(named, str):  # a hook may return anything, and exporters take only a string
                name = named
        if name is not None:
            span.update_name(name)
        if self.status is not None:
            span.set_attribute("http.response.status_code", self.status)
        if error_type is not None:
            span.set_attribute("error.type", error_type)
            span.set_status(StatusCode.ERROR)
        request = self.request
        if request.has_marks and watch.blames and (received := request.received()) is not None:
            queued = seconds_queued(received, getattr(span, "start_time", None) or self.now())
            if queued is not None:
                span.set_attribute(QUEUED, queued)

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

    def tell(self) -> None:
        """Make events of what the watch has seen of the request."""
        notes, self.notes = self.notes, None
        if self.span is None or notes is None:
            return
        now = monotonic_ns()
        for note in list(notes):
            told = note.attributes(now)
            if told is not None:
                self.span.add_event(note.name, told, self.time_of(note.at))

    def _leave(self, at: int | None) -> None:
        """End the span, and let go of what leads to the scope or environ: they lead back here, which is a cycle."""
        try:
            if self._instruments is not None:
                self._instruments.ended(self)
            self.route_source = self._failure = self._sign_of_departure = None
            if self.notes is not None:
                self.tell()
            if self.span is not None:
                self.span.end(at)
        except Exception as error:
            fault("ServerExchange.end", error)
        leave(self)
        self.is_settled = True

    def depart(self) -> None:
        """Note that the application has done its part, and finish what an interrupt has cut short.

        Between any two steps of the door an exception may come: a KeyboardInterrupt, or one that a signal handler or
        another thread raises. The door calls this last, whatever has happened.
        """
        self.is_over = True
        if current_context() is self.context:
            attach(self.around)
        if not self.is_settled:
            self.is_open = False
            leave(self)
            if self._instruments is not None:
                self._instruments.ended(self)
            if self.span is not None and self.span.is_recording():
                self._leave(None)
            self.is_settled = True
