"""The span processor that hands a user's pseudonym on to the spans that start later in the same local trace."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from tracemw._otel.context import current_context, request_span, span_in
from tracemw._otel.recorder import mark_user, user_of


class UserHashes(SpanProcessor):
    """Puts the pseudonym that `tracemw.user` has put on the request, or on the parent, on each span that starts."""

    is_tracemw = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        context = current_context() if parent_context is None else parent_context
        made = user_of(request_span(context)) or user_of(span_in(context))
        if made is not None:
            mark_user(span, made)
