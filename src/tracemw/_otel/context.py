"""What doors, clients and business spans share about the current context.

Beside the current span, there travel in the OpenTelemetry context: the span of the request being served, for
`tracemw.annotate()`; its exchange, for a door of another protocol that the same request passes through; the context
that the request arrived in, for the requests that come after it; and, for skipped requests, that tracing is off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import Token
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import ref

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext
from opentelemetry.trace.propagation import _SPAN_KEY

_REQUEST_SPAN: Final = otel_context.create_key("tracemw-request-span")
_EXCHANGE: Final = otel_context.create_key("tracemw-exchange")
_GROUND: Final = otel_context.create_key("tracemw-ground")
_SKIPPED: Final = otel_context.create_key("tracemw-skipped")
# Where the API keeps the current span. Its functions are general, and cost a request as much as a span does.
_SPAN: Final = _SPAN_KEY
# The API's own keys, which the official instrumentations respect: the first silences all of them, the second those
# of HTTP clients beneath another client that is already traced. They have no public name.
_SUPPRESS_ALL: Final = otel_context._SUPPRESS_INSTRUMENTATION_KEY  # noqa: SLF001
_SUPPRESS_HTTP: Final = otel_context._SUPPRESS_HTTP_INSTRUMENTATION_KEY  # noqa: SLF001


# One call into C where the API's functions make three: the context lies in a context variable, unless
# OTEL_PYTHON_CONTEXT has named another place.
current_context: Callable[[], Context] = otel_context.get_current
attach: Callable[[Context], Token[Context]] = otel_context.attach
_runtime: Final = otel_context._RUNTIME_CONTEXT  # noqa: SLF001
if type(_runtime) is ContextVarsRuntimeContext:
    _variable = _runtime._current_context  # noqa: SLF001
    current_context = _variable.get
    attach = _variable.set

    def detach(token: Token[Context], attached: Context) -> None:
        """Make current again what was current before `attached` was, quietly wherever that is.

        A generator may be closed in another thread, task or copy of the context than the one it was entered in, where
        the token means nothing and the API would log an error with its traceback. There, `attached` gives way if it is
        current.
        """
        try:
            _variable.reset(token)
        except ValueError:
            if _variable.get() is attached:
                _variable.set(Context() if token.old_value is token.MISSING else token.old_value)

else:

    def detach(token: Token[Context], attached: Context) -> None:
        """Make current again what was current before `attached` was."""
        del attached
        otel_context.detach(token)


def with_span(span: Span, context: Context) -> Context:
    """Return `context` with `span` current."""
    return Context({**context, _SPAN: span})


def with_exchange(exchange: object, span: Span | None, context: Context, ground: Context) -> Context:
    """Return `context` with the exchange of the request being served noted, and its span, when it has one, current.

    Args:
        exchange: The exchange of the request.
        span: The span of the request.
        context: What the request carries.
        ground: The context that the request has arrived in.
    """
    # Weakly: tasks that outlive a request keep its context, and an exchange leads to all that the server gave for it.
    if span is None:
        return Context({**context, _EXCHANGE: ref(exchange), _GROUND: ground})
    return Context({**context, _SPAN: span, _REQUEST_SPAN: span, _EXCHANGE: ref(exchange), _GROUND: ground})


def exchange_in(context: Context) -> Any:
    """Return the exchange of the request being served in `context`, as long as there is one."""
    found = context.get(_EXCHANGE)
    return found() if isinstance(found, ref) else None


def ground_of(context: Context) -> Context | None:
    """Return the context in which the request arrived that `context` belongs to; None when it belongs to none."""
    found = context.get(_GROUND)
    return found if isinstance(found, Context) else None


def without(context: Context, more: Iterable[str] = ()) -> Context:
    """Return `context` without a current span, the marks of the request being served, and `more`.

    When a traced client has called this very process, its context reaches as far as here, and no further: the clients
    that the request uses are not the ones beneath that client.
    """
    left_out = {*_OF_A_REQUEST, *more}
    if left_out.isdisjoint(context):
        return context
    return Context({key: value for key, value in context.items() if key not in left_out})


_OF_A_REQUEST: Final = frozenset({_SPAN, _SUPPRESS_HTTP, _REQUEST_SPAN, _EXCHANGE, _GROUND})


def with_client_span(span: Span, context: Context) -> Context:
    """Return `context` with `span` current, in which the HTTP clients beneath start no spans of their own."""
    return Context({**context, _SPAN: span, _SUPPRESS_HTTP: True})


def span_in(context: Context) -> Span | None:
    """Return the current span of `context`, or None."""
    found = context.get(_SPAN)
    return found if found is not None and isinstance(found, Span) else None


def request_span(context: Context | None = None) -> Span | None:
    """Return the span of the request being served, in `context` or the current one; None outside a traced request."""
    span = otel_context.get_value(_REQUEST_SPAN, context)
    return span if isinstance(span, Span) else None


class _SkippedSpan(NonRecordingSpan):
    """A span with a random, unsampled context, which is made when somebody asks: most skipped requests never do."""

    _made: SpanContext | None = None

    def __init__(self) -> None:
        pass

    if not TYPE_CHECKING:  # where its base holds it, and looks for it when it is shown

        @property
        def _context(self) -> SpanContext:
            return self.get_span_context()

    def get_span_context(self) -> SpanContext:
        if self._made is None:
            import random  # takes a millisecond of everybody's start, and few skipped requests come here

            unsampled = SpanContext(random.getrandbits(128) or 1, random.getrandbits(64) or 1, is_remote=False)
            # The dictionary, and not the attribute: two threads get one context.
            return cast("SpanContext", vars(self).setdefault("_made", unsampled))
        return self._made


def skipped_context(ground: Context, exchange: object | None = None) -> Context:
    """Return a context in which nothing is traced, for a request that has arrived in `ground`.

    Its current span is a non-recording one, unsampled, so that whatever starts a span in it inherits "not sampled";
    the key switches off tracemw's own spans and header injection, and the API's key those of the official
    instrumentations.
    """
    marks = {} if exchange is None else {_EXCHANGE: ref(exchange), _GROUND: ground}
    return Context({**ground, **marks, _SPAN: _SkippedSpan(), _SKIPPED: True, _SUPPRESS_ALL: True})


def is_skipped(context: Context | None = None) -> bool:
    """Tell whether the request being served is not traced, in `context` or the current one."""
    return _SKIPPED in (current_context() if context is None else context)


def clients_suppressed(context: Context) -> bool:
    """Tell whether an outbound call made in `context` gets no span: an exporter's own, or one already traced above."""
    return bool(context.get(_SUPPRESS_ALL) or context.get(_SUPPRESS_HTTP))


def suppress_clients(context: Context) -> Context:
    """Return `context` in which the HTTP clients beneath the current one start no spans of their own."""
    return Context({**context, _SUPPRESS_HTTP: True})


def suppress_all() -> None:
    """Switch tracing off for the rest of the current thread: an exporter's own traffic is never traced."""
    otel_context.attach(otel_context.set_value(_SUPPRESS_ALL, True))
