"""The span processors that our provider begins with: the way out, and the keys of baggage.

There is one of each for the life of the process, since a provider never lets go of a processor; each `init` sets them.
"""

from __future__ import annotations

import math
import time
from typing import Final

from opentelemetry.baggage import get_baggage
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from tracemw._export import Delivery
from tracemw._otel.guard import unusable

_BETWEEN_REQUESTS: Final = 1.0
"""Seconds that sending may take where it holds up the next request."""


class Outlet(SpanProcessor):
    """The way out of our provider: leads to the delivery of the latest `init`."""

    delivery: Delivery | None = None
    is_tracemw = True
    waited = (-math.inf, -math.inf)
    """When the latest flush that failed began, and when it ended."""

    def lead_to(self, delivery: Delivery | None) -> None:
        """Pass spans on to `delivery` from now on, with no call between."""
        self.delivery = delivery
        if delivery is None:
            vars(self).pop("on_end", None)
        else:
            self.on_end = delivery.on_end  # type: ignore[method-assign]

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that is not to be exported."""

    def take(self, span: ReadableSpan) -> None:
        """Pass on a span of an unsampled trace that is kept."""
        if self.delivery is not None:
            self.delivery.take(span)

    def send_here(self) -> None:
        """Send in this thread, which holds up the next request."""
        if self.delivery is not None:
            self.delivery.send_here(_BETWEEN_REQUESTS)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        began = time.monotonic()
        if self.delivery is None or self.delivery.force_flush(timeout_millis):
            return True
        self.waited = began, time.monotonic()
        return False

    def shutdown(self) -> None:
        if self.delivery is not None:
            self.delivery.shutdown()


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
