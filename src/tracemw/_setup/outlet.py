"""The span processor by which spans leave our provider.

There is one for the life of the process: a provider never lets go of a processor. Each `init` makes a delivery, and
leads the outlet to it.
"""

from __future__ import annotations

import math
import time
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from tracemw._export import Delivery

_BETWEEN_REQUESTS: Final = 1.0
"""Seconds that sending may take where it holds up the next request."""


class Outlet(SpanProcessor):
    """The way out of our provider: leads to the delivery of the latest `init`."""

    delivery: Delivery | None = None
    is_tracemw = True
    waited = (-math.inf, -math.inf)
    """When the latest flush that failed began, and when it ended."""

    def lead_to(self, delivery: Delivery | None) -> None:
        """Have the provider pass ended spans straight to `delivery` from now on."""
        self.delivery = delivery
        if delivery is None:
            vars(self).pop("on_end", None)
        else:
            self.on_end = delivery.on_end  # type: ignore[method-assign]

    def on_end(self, span: ReadableSpan) -> None:
        """Let a span go: nothing is exported."""

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
