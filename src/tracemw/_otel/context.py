"""What travels in the OpenTelemetry context, beside the current span.

* the request being served:
  * its span, for `tracemw.annotate()`
  * its exchange, for a door of another protocol that the same request passes through
  * the ground: the context that the request arrived in, for requests that come after it
* the mark of a skipped request: tracing is off
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import Context as Variables
from contextvars import Token
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import ref

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext
from opentelemetry.trace.propagation import _SPAN_KEY

_REQUEST: Final = otel_context.create_key("tracemw-request")
_SKIPPED: Final = otel_context.create_key("tracemw-skipped")
# The API keeps the current span under this key. The API's own functions would cost a request as much as a span does.
_SPAN: Final = _SPAN_KEY
# The official instrumentations respect these keys of the API. The first silences all of them, the second those of HTTP
# clients beneath another client that is traced already. The keys have no public name.
_SUPPRESS_ALL: Final = otel_context._SUPPRESS_INSTRUMENTATION_KEY  # noqa: SLF001
_SUPPRESS_HTTP: Final = otel_context._SUPPRESS_HTTP_INSTRUMENTATION_KEY  # noqa: SLF001


# The context lies in a context variable, unless OTEL_PYTHON_CONTEXT names another place. To use the variable itself is
# one call into C; the API's functions make three calls.
current_context: Callable[[], Context] = otel_context.get_current
attach: Callable[[Context], Token[Context]] = otel_context.attach
_runtime: Final = otel_context._RUNTIME_CONTEXT  # noqa: SLF001
_variable: Any = None
if type(_runtime) is ContextVarsRuntimeContext:
    _variable = _runtime._current_context  # noqa: SLF001
    current_context = _variable.get
    attach = _variable.set

    def detach(token: Token[Context], attached: Context) -> None:
        """Make the context current again that was current before `attached`.

        A generator may be entered in one thread, task or copy of the context, and closed in another. There the token
        means nothing, and the API would log an error with its traceback. Here, the former context becomes current if
        `attached` is; else nothing changes.
        """
        try:
            _variable.reset(token)
        except ValueError:
            if _variable.get() is attached:
                _variable.set(Context() if token.old_value is token.MISSING else token.old_value)

else:

    def detach(token: Token[Context], attached: Context) -> None:
        """Make the context current again that was current before `attached`."""
        del attached
        otel_context.detach(token)


def with_span(span: Span, context: Context) -> Context:
    """Return `context` with `span` current."""
    return Context({**context, _SPAN: span})


def with_exchange(exchange: object, span: Span | None, context: Context, ground: Context) -> Context:
    """Return `context` with the exchange of the request being served, and with the request's span as the current one.

    Args:
        exchange: The exchange of the request.
        span: The span of the request, if there is one.
        context: The context that the request carries.
        ground: The context that the request arrived in.
    """
    # A weak reference: a task that outlives the request keeps the context, and the exchange leads to all that the
    # server gave for the request.
    request = (span, ref(exchange), ground)
    if span is None:
        return Context({**context, _REQUEST: request})
    entries = {_SPAN: span, _REQUEST: request}
    return Context({**context, **entries} if context else entries)  # most requests carry nothing


def exchange_in(context: Context) -> Any:
    """Return the exchange of the request being served in `context`; None without one."""
    request = _request_in(context)
    return None if request is None else request[1]()


def exchange_within(variables: Variables) -> Any:
    """Return the exchange of the request that context variables of any task or thread belong to; None without one."""
    context = None if _variable is None else variables.get(_variable)
    return None if context is None else exchange_in(context)


def ground_of(context: Context) -> Context | None:
    """Return the ground of the request that `context` belongs to; None outside a request."""
    request = _request_in(context)
    return None if request is None else request[2]


def _request_in(context: Context) -> tuple[Span | None, ref[Any], Context] | None:
    return cast("tuple[Span | None, ref[Any], Context] | None", context.get(_REQUEST))


def without(context: Context, more: Iterable[str] = ()) -> Context:
    """Return `context` without its current span, the marks of the request being served, and the keys in `more`.

    The key that silences HTTP clients goes, too. It was set by a traced client that has called this very process, and
    is meant for clients beneath that client, not for those that the request uses.
    """
    left_out = {*_OF_A_REQUEST, *more}
    if left_out.isdisjoint(context):
        return context
    return Context({key: value for key, value in context.items() if key not in left_out})


_OF_A_REQUEST: Final = frozenset({_SPAN, _SUPPRESS_HTTP, _REQUEST})


def with_client_span(span: Span, context: Context) -> Context:
    """Return `context` with `span` current. HTTP clients beneath start no spans of their own."""
    return Context({**context, _SPAN: span, _SUPPRESS_HTTP: True})


def span_in(context: Context) -> Span | None:
    """Return the current span of `context`; None without one."""
    found = context.get(_SPAN)
    return found if found is not None and isinstance(found, Span) else None


def request_span(context: Context | None = None) -> Span | None:
    """Return the span of the request being served in `context` (by default the current one); None without one."""
    request = _request_in(current_context() if context is None else context)
    return None if request is None else request[0]


class _SkippedSpan(NonRecordingSpan):
    """A span with a random, unsampled span context. It is made when somebody asks: few skipped requests do."""

    _made: SpanContext | None = None

    def __init__(self) -> None:
        pass

    if not TYPE_CHECKING:  # the base class keeps the span context here, and reads it for `repr`

        @property
        def _context(self) -> SpanContext:
            return self.get_span_context()

    def get_span_context(self) -> SpanContext:
        if self._made is None:
            import random  # not at the top: it would take a millisecond of every start, and few requests come here

            unsampled = SpanContext(random.getrandbits(128) or 1, random.getrandbits(64) or 1, is_remote=False)
            # `setdefault` on the dictionary is one step: two threads get the same span context.
            return cast("SpanContext", vars(self).setdefault("_made", unsampled))
        return self._made


def skipped_context(ground: Context, exchange: object | None = None) -> Context:
    """Return a context in which nothing is traced, for a request that has arrived in `ground`.

    Its current span is unsampled and does not record, so each span that starts here is not sampled either. One key
    switches off the spans and headers of tracemw, and a key of the API those of the official instrumentations.
    """
    off = {**ground, _SPAN: _SkippedSpan(), _SKIPPED: True, _SUPPRESS_ALL: True}
    if exchange is not None:
        off[_REQUEST] = (None, ref(exchange), ground)
    return Context(off)


def is_skipped(context: Context | None = None) -> bool:
    """Tell whether `context` (by default the current one) is of a skipped request."""
    return _SKIPPED in (current_context() if context is None else context)


def is_silenced(context: Context) -> bool:
    """Tell whether nothing is traced in `context`: an exporter is at work, or the request is skipped."""
    return bool(context.get(_SUPPRESS_ALL))


def silenced(context: Context) -> Context:
    """Return `context` with tracing off: somebody above traces what is done in it."""
    return Context({**context, _SUPPRESS_ALL: True})


def clients_suppressed(context: Context) -> bool:
    """Tell whether an outbound call in `context` gets no span: an exporter makes it, or a client above traces it."""
    return bool(context.get(_SUPPRESS_ALL) or context.get(_SUPPRESS_HTTP))


def suppress_clients(context: Context) -> Context:
    """Return `context` with the HTTP clients beneath the current one silenced: they start no spans."""
    return Context({**context, _SUPPRESS_HTTP: True})


def suppress_all() -> None:
    """Switch tracing off in the current thread for good: an exporter's own traffic is never traced."""
    otel_context.attach(otel_context.set_value(_SUPPRESS_ALL, True))
