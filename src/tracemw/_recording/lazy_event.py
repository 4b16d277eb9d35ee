"""An event whose attributes are made only when somebody wants them: most traces are never sampled."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import Event

from tracemw._otel.attributes import LazyAttributes
from tracemw._otel.guard import fault
from tracemw._recording.limits import Limits


class LazyEvent(Event):
    """An event with `LazyAttributes`.

    Args:
        name: The event's name.
        lazy: What makes the attributes.
        timestamp: When it was, in nanoseconds since the epoch.
        limits: The limits for attributes.
    """

    def __init__(self, name: str, lazy: LazyAttributes, timestamp: int, limits: Limits) -> None:
        # The SDK's constructor calls another one.
        self._name = name
        self._timestamp = timestamp
        self._lazy: LazyAttributes | None = lazy
        self._limits = limits

    @property
    def attributes(self) -> Any:
        """The attributes. The first look makes them."""
        lazy = self._lazy
        if lazy is not None:
            try:
                self._attributes = self._limits.of_lazy_event(lazy)
            except Exception as error:
                fault("LazyEvent.attributes", error)
                self._attributes = self._limits.of_event(None)
            self._lazy = None
        return self._attributes

    @property
    def dropped_attributes(self) -> int:
        """How many attributes the limits have kept out."""
        return getattr(self.attributes, "dropped", 0)
