"""The HTTP metrics of the semantic conventions v1.44: durations of both ends, and requests being served.

They are on when a meter provider is set, globally or by option; without one a request pays one look-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, MeterProvider, UpDownCounter, _internal

from tracemw._context import SCHEMA_URL, is_silent
from tracemw._version import __version__

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# Until a provider is set, get_meter_provider() looks into the environment each time.
_API: Final = vars(_internal)

Labels = Mapping[str, str | int]


def _global_provider() -> MeterProvider | None:
    return _API["_METER_PROVIDER"] if "_METER_PROVIDER" in _API else metrics.get_meter_provider()


class Instruments:
    """The instruments of one provider."""

    __slots__ = ("_active", "_duration")

    def __init__(self, duration: Histogram, active: UpDownCounter | None) -> None:
        self._duration = duration
        self._active = active

    def began(self, labels: Labels) -> None:
        """Count a request that is being served."""
        if self._active is not None:
            self._active.add(1, labels)

    def ended(self, labels: Labels) -> None:
        """Count it no more; `labels` are those it began with."""
        if self._active is not None:
            self._active.add(-1, labels)

    def lasted(self, seconds: float, labels: Labels, context: Context) -> None:
        """Record a duration; `context` has the span that it belongs to, for exemplars."""
        self._duration.record(seconds, labels, context=context)


class MeterSource:
    """The instruments of one provider, or of whichever provider is the global one at the time of the call.

    Args:
        end: `server` or `client`, of which the metrics are.
        provider: Use this provider in place of the global one.
    """

    __slots__ = ("_end", "_instruments", "_instruments_of", "_provider")

    def __init__(self, end: str, provider: MeterProvider | None = None) -> None:
        self._end = end
        self._provider = provider
        self._instruments: Instruments | None = None
        self._instruments_of: MeterProvider | None = None
        metrics.get_meter_provider()  # sets the one that OTEL_PYTHON_METER_PROVIDER names, if any

    def get(self) -> Instruments | None:
        """Return the instruments; None while nobody listens."""
        provider = self._provider or _global_provider()
        if provider is not self._instruments_of:
            self._instruments = self._made_by(provider)
            self._instruments_of = provider
        return self._instruments

    def _made_by(self, provider: MeterProvider | None) -> Instruments | None:
        if provider is None or is_silent(provider):
            return None
        meter = provider.get_meter("tracemw", __version__, SCHEMA_URL)
        duration = meter.create_histogram(
            f"http.{self._end}.request.duration",
            unit="s",
            description=f"Duration of HTTP {self._end} requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        active = None
        if self._end == "server":
            active = meter.create_up_down_counter(
                "http.server.active_requests",
                unit="{request}",
                description="Number of active HTTP server requests.",
            )
        return Instruments(duration, active)
