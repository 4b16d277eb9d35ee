"""The span processor by which spans leave our provider.

There is one for the life of the process, since a provider never lets go of a processor. Each `init` leads it to the
delivery that it has made.
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
