"""Which tracer and meter provider are in use, and the tracer of a door."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, cast

from opentelemetry import trace
from opentelemetry.trace import NoOpTracer, ProxyTracerProvider, Tracer, TracerProvider

from tracemw._otel.recorder import is_ours
from tracemw._version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"


def installed_provider() -> TracerProvider | None:
    """Return the global tracer provider that somebody has set; none, when there is but one that a variable names.

    `OTEL_PYTHON_TRACER_PROVIDER=sdk_tracer_provider` has the API load the SDK's as soon as anybody asks. That one leads
    nowhere: it has no span processors.
    """
    found = cast("TracerProvider | None", _API.get("_TRACER_PROVIDER"))
    return None if _is_placeholder(found) else found


def _is_placeholder(provider: object) -> bool:
    if "OTEL_PYTHON_TRACER_PROVIDER" not in os.environ or type(provider).__module__ != "opentelemetry.sdk.trace":
        return False
    processors = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None)
    return processors == ()


def install_provider(provider: TracerProvider) -> None:
    """Set the global tracer provider, in place of one that a variable names and that leads nowhere."""
    if _is_placeholder(_API.get("_TRACER_PROVIDER")):
        _API["_TRACER_PROVIDER"] = provider
    else:
        trace.set_tracer_provider(provider)


def installed_meter_provider() -> MeterProvider | None:
    """Return the global meter provider, without having the API load one that a variable names."""
    metrics = sys.modules.get("opentelemetry.metrics._internal")
    return getattr(metrics, "_METER_PROVIDER", None)


def is_silent(provider: MeterProvider | None) -> bool:
    """Tell whether nobody listens to a meter provider: a no-op one, or what the API gives out before one is set."""
    # By name, since the API for metrics takes as long to import as all of tracemw; and the latter has no public one.
    if provider is None:
        return True
    kind = type(provider)
    return kind.__module__ == "opentelemetry.metrics._internal" and kind.__name__ in _SILENT_METERS


_SILENT_METERS: Final = frozenset({"NoOpMeterProvider", "_ProxyMeterProvider"})


# Where the API keeps the global provider once one is set; until then, its function looks into the environment.
_API: Final = vars(trace)


class TracerSource:
    """The tracer of one provider, or of whichever provider is the global one at the time of the call."""

    __slots__ = ("_provider", "_tracer", "_tracer_provider", "is_ours")

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer_provider: TracerProvider | None = None
        self._tracer: Tracer | None = None
        self.is_ours = False
        """Whether the tracer that `get` has returned takes `LazyAttributes`, as our recorder's do."""

    @property
    def follows_the_global_one(self) -> bool:
        """Whether no provider was given."""
        return self._provider is None

    @property
    def provider(self) -> TracerProvider:
        """The provider in use now."""
        return trace.get_tracer_provider() if self._provider is None else self._provider

    def get(self) -> Tracer | None:
        """Return the tracer, or None while nobody listens; the provider is asked only when it is another one."""
        provider = self._provider
        if provider is None:
            provider = _API.get("_TRACER_PROVIDER")
            if provider is None:
                provider = trace.get_tracer_provider()
        if provider is not self._tracer_provider:
            tracer = None
            # Before a provider is set, the API gives out a tracer that looks like any other.
            if not isinstance(provider, ProxyTracerProvider):
                tracer = provider.get_tracer("tracemw", __version__, SCHEMA_URL)
            self._tracer = None if isinstance(tracer, NoOpTracer) else tracer
            self.is_ours = is_ours(tracer)
            self._tracer_provider = provider
        return self._tracer
