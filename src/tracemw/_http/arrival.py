"""What a request may believe of the context that it arrives in.

A request's context begins with what that request carries. The current context may hold that of another request: asyncio
keeps a copy of the one in which a server resumes reading from a connection, and a process may call itself. Beside
these, a server or an application around may have put something there on purpose, which stays.
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
    """Return the exchange of the request that is being served in `here`; one that is over counts for nothing."""
    found: ServerExchange | None = exchange_in(here)
    return None if found is None or found.is_over else found


def arrival_context(here: Context, outer: ServerExchange | None) -> Context:
    """Return what of `here` a request that arrives there begins with, whatever it carries itself.

    Nothing of another request is in it: neither its span nor its baggage. Where a door has noted which context a
    request arrived in, and that request is over, all that has come since then is of that request.
    """
    ground = ground_of(here)
    if ground is not None:
        return ground if outer is None else without(here, BAGGAGE)
    # Whose the span is, nobody can tell; its baggage came with it.
    return without(here, BAGGAGE if span_in(here) is not None else ())


def already_traced(here: Context, caller: Span | None) -> Span | None:
    """Return the SERVER span that someone else's instrumentation has started for this very request, if any.

    That is so when the current span is a SERVER span that has not ended, and its parent is the span that this request
    carries. A span that a door of ours started belongs to another request, one that this process serves within the
    first: doors know their own requests by the exchange that they leave in them.
    """
    span = span_in(here)
    if span is None or getattr(span, "kind", None) is not SpanKind.SERVER or span is request_span(here):
        return None
    parent = getattr(span, "parent", None)
    if ids(caller) != (_ids(parent) if parent is not None else None):
        return None
    return span if span.is_recording() else None


def is_handed_on(outer: ServerExchange, exchange: ServerExchange) -> bool:
    """Tell whether the request of `exchange` is that of `outer`, in the application that this one is mounted in.

    Within one protocol, the exchange lies in what the server gives for the request. From one protocol to the other,
    only the context goes along; there, a request that this process makes to itself has another path, or carries
    another parent.
    """
    return (
        outer.protocol != exchange.protocol
        and (outer.is_open or outer.span is not None)
        and outer.request.method == exchange.request.method
        and outer.request.path == exchange.request.path
        and ids(span_in(outer.carried)) == ids(span_in(exchange.carried))
    )


def ids(caller: Span | None) -> tuple[int, int] | None:
    """Return what identifies a caller's span, None without a valid one."""
    return None if caller is None else _ids(caller.get_span_context())


def _ids(context: object) -> tuple[int, int] | None:
    trace_id, span_id = getattr(context, "trace_id", 0), getattr(context, "span_id", 0)
    return (trace_id, span_id) if trace_id and span_id else None
