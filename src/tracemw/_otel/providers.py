"""The tracer provider and meter provider in use, and the tracer of a door."""

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
    """Return the global tracer provider that somebody has set; None without one. A placeholder does not count.

    With `OTEL_PYTHON_TRACER_PROVIDER=sdk_tracer_provider`, the API loads the SDK's provider as soon as anybody asks.
    That one is a placeholder: it has no span processors, so its spans go nowhere.
    """
    found = cast("TracerProvider | None", _API.get("_TRACER_PROVIDER"))
    return None if _is_placeholder(found) else found


def _is_placeholder(provider: object) -> bool:
    if "OTEL_PYTHON_TRACER_PROVIDER" not in os.environ or type(provider).__module__ != "opentelemetry.sdk.trace":
        return False
    processors = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None)
    return processors == ()


def install_provider(provider: TracerProvider) -> None:
    """Set the global tracer provider, also in place of a placeholder."""
    if _is_placeholder(_API.get("_TRACER_PROVIDER")):
        _API["_TRACER_PROVIDER"] = provider
    else:
        trace.set_tracer_provider(provider)


def replace_provider(provider: TracerProvider | None) -> TracerProvider | None:
    """Set the global tracer provider in place of another one, for a while, and return the other one; None for none.

    OpenTelemetry takes one provider for good. This is for tests, which put the other one back.
    """
    was = cast("TracerProvider | None", _API.get("_TRACER_PROVIDER"))
    _API["_TRACER_PROVIDER"] = provider
    return was


def installed_meter_provider() -> MeterProvider | None:
    """Return the global meter provider, if one is loaded. The API's own function loads one that a variable names."""
    metrics = sys.modules.get("opentelemetry.metrics._internal")
    return getattr(metrics, "_METER_PROVIDER", None)


def is_silent(provider: MeterProvider | None) -> bool:
    """Tell whether a meter provider records nothing: a no-op, or the API's proxy before a provider is set."""
    # By name: to import the API's metrics takes as long as to import all of tracemw. And the proxy is private.
    if provider is None:
        return True
    kind = type(provider)
    return kind.__module__ == "opentelemetry.metrics._internal" and kind.__name__ in _SILENT_METERS


_SILENT_METERS: Final = frozenset({"NoOpMeterProvider", "_ProxyMeterProvider"})


# The API keeps the global provider here once one is set. Until then, its own function looks into the environment.
_API: Final = vars(trace)


class TracerSource:
    """The tracer of one provider, or of the provider that is the global one at the time of the call."""

    __slots__ = ("_provider", "_tracer", "_tracer_provider", "is_ours")

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer_provider: TracerProvider | None = None
        self._tracer: Tracer | None = None
        self.is_ours = False
        """Whether the tracer that `get` has returned is ours: then it takes `LazyAttributes`."""

    @property
    def follows_the_global_one(self) -> bool:
        """Whether no provider was given."""
        return self._provider is None

    @property
    def provider(self) -> TracerProvider:
        """The provider in use now."""
        return trace.get_tracer_provider() if self._provider is None else self._provider

    def get(self) -> Tracer | None:
        """Return the tracer; None while no provider is set. A provider is asked for its tracer once."""
        provider = self._provider
        if provider is None:
            provider = trace._TRACER_PROVIDER  # noqa: SLF001  as in `_API`; a field of a module is looked up at once
            if provider is None:
                provider = trace.get_tracer_provider()
        if provider is not self._tracer_provider:
            tracer = None
            # The API's proxy, before a provider is set, would give out a tracer that looks like any other.
            if not isinstance(provider, ProxyTracerProvider):
                tracer = provider.get_tracer("tracemw", __version__, SCHEMA_URL)
            self._tracer = None if isinstance(tracer, NoOpTracer) else tracer
            self.is_ours = is_ours(tracer)
            self._tracer_provider = provider
        return self._tracer
