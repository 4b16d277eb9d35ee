"""What a request takes over from the context that is current when the request arrives.

A request's context begins with what the request carries. The current context may be of another request: a process may
call itself, and asyncio keeps a copy of the context in which a server resumed reading from a connection. A server, or
an outer application, may also have put something there on purpose. That stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from tracemw._http.baggage import KEYS as BAGGAGE
from tracemw._otel.context import exchange_in, ground_of, request_span, span_in, without

if TYPE_CHECKING:
    from tracemw._http.exchange import ServerExchange


def outer_exchange(here: Context) -> ServerExchange | None:
    """Return the exchange of the request that is being served in `here`; None when there is none, or it is over."""
    found: ServerExchange | None = exchange_in(here)
    return None if found is None or found.is_over else found


def arrival_context(here: Context, outer: ServerExchange | None) -> Context:
    """Return the context that a request begins with when it arrives in `here`, before its own headers are read.

    The span and the baggage of another request are left out. A door notes in which context a request has arrived. When
    that request is over, whatever has been added to the context since is that request's, and is left out, too.
    """
    ground = ground_of(here)
    if ground is not None:
        return ground if outer is None else without(here, BAGGAGE)
    # A current span may be anybody's. It goes, and the baggage that came with it goes, too.
    return without(here, BAGGAGE if span_in(here) is not None else ())


def already_traced(here: Context, caller: Span | None) -> Span | None:
    """Return the SERVER span that another instrumentation has started for this very request; None without one.

    Such a span is current, is a SERVER span, has not ended, and its parent is the span that this request carries. The
    span of one of our own doors does not count: it belongs to an outer request. Doors know their own requests by the
    exchange that they leave in the scope or environ.
    """
    span = span_in(here)
    if span is None or getattr(span, "kind", None) is not SpanKind.SERVER or span is request_span(here):
        return None
    parent = getattr(span, "parent", None)
    if ids(caller) != (_ids(parent) if parent is not None else None):
        return None
    return span if span.is_recording() else None


def is_handed_on(outer: ServerExchange, exchange: ServerExchange) -> bool:
    """Tell whether `exchange` is of the same request as `outer`, handed on by an outer application.

    Within one protocol, doors find the outer exchange in the scope or environ. Across protocols, only the context goes
    along, so the two requests are compared. A request that this process makes to itself differs from the outer one in
    its path, or in the parent that it carries.
    """
    return (
        outer.protocol != exchange.protocol
        and (outer.is_open or outer.span is not None)
        and outer.request.method == exchange.request.method
        and outer.request.path == exchange.request.path
        and ids(span_in(outer.carried)) == ids(span_in(exchange.carried))
    )


def ids(caller: Span | None) -> tuple[int, int] | None:
    """Return the trace id and span id of a caller's span; None without a valid one."""
    return None if caller is None else _ids(caller.get_span_context())


def _ids(context: object) -> tuple[int, int] | None:
    trace_id, span_id = getattr(context, "trace_id", 0), getattr(context, "span_id", 0)
    return (trace_id, span_id) if trace_id and span_id else None
