"""The span processor that makes attributes of baggage.

The first `init` that names keys adds this processor for the life of the process. Each `init` sets the keys.
"""

from __future__ import annotations

from opentelemetry.baggage import get_baggage
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from tracemw._otel.guard import unusable


class BaggageKeys(SpanProcessor):
    """Makes span attributes of the baggage that the latest `init` has named."""

    keys: tuple[str, ...] = ()
    is_tracemw = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        for key in self.keys:
            value = get_baggage(key, parent_context)
            if value is not None:
                try:
                    span.set_attribute(key, str(value))
                except Exception as error:  # the application's own `__str__`
                    unusable(f"the value of baggage {key!r}", error)
