"""The delivery's numbers as the self-observability metrics of an OpenTelemetry SDK.

Names and attributes are those of the semantic conventions for SDK metrics (otel.sdk.*), version 1.44. Each is observed
when a reader asks, from the same counters that `Tracing.stats` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracemw._export.delivery import Delivery
from tracemw._export.stats import BREAKER_OPEN, ENCODING, QUEUE_FULL, RETRIES_EXHAUSTED, SHUTDOWN, Stats
from tracemw._version import __version__

Attributes = Mapping[str, str | int]

_PROCESSOR: Final[Attributes] = {
    "otel.component.type": "batching_span_processor",
    "otel.component.name": "batching_span_processor/0",
}


def observe(provider: MeterProvider, current: Callable[[], Delivery | None]) -> None:
    """Make the instruments; `current` returns the delivery whose numbers they show, if there is one."""
    meter = provider.get_meter("tracemw", __version__)

    def reading(read: Callable[[Delivery], Iterable[Observation]]) -> list[Callable[..., Iterable[Observation]]]:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            del options
            delivery = current()
            return () if delivery is None else read(delivery)

        return [callback]

    meter.create_observable_up_down_counter(
        "otel.sdk.processor.span.queue.size",
        reading(lambda delivery: [Observation(delivery.stats().queued, _PROCESSOR)]),
        "{span}",
        "The number of spans in the queue of a given instance of an SDK span processor.",
    )
    meter.create_observable_up_down_counter(
        "otel.sdk.processor.span.queue.capacity",
        reading(lambda delivery: [Observation(delivery.queue_size, _PROCESSOR)]),
        "{span}",
        "The maximum number of spans the queue of a given instance of an SDK span processor can hold.",
    )
    meter.create_observable_counter(
        "otel.sdk.processor.span.processed",
        reading(lambda delivery: _processed(delivery.stats())),
        "{span}",
        "The number of spans for which the processing has finished, either successful or failed.",
    )
    meter.create_observable_up_down_counter(
        "otel.sdk.exporter.span.inflight",
        reading(lambda delivery: [Observation(delivery.stats().in_flight, _exporter(delivery))]),
        "{span}",
        "The number of spans which were passed to the exporter, but that have not been exported yet.",
    )
    meter.create_observable_counter(
        "otel.sdk.exporter.span.exported",
        reading(lambda delivery: _exported(delivery.stats(), _exporter(delivery))),
        "{span}",
        "The number of spans for which the export has finished, either successful or failed.",
    )


def _processed(stats: Stats) -> Iterable[Observation]:
    finished = stats.exported + stats.rejected + stats.unknown
    taken = finished + stats.dropped[RETRIES_EXHAUSTED] + stats.dropped[ENCODING] + stats.in_flight
    yield Observation(taken, _PROCESSOR)
    for cause, error in ((QUEUE_FULL, QUEUE_FULL), (BREAKER_OPEN, BREAKER_OPEN), (SHUTDOWN, "already_shutdown")):
        yield Observation(stats.dropped[cause], {**_PROCESSOR, "error.type": error})


def _exported(stats: Stats, attributes: Attributes) -> Iterable[Observation]:
    yield Observation(stats.exported, attributes)
    for error, count in (
        ("rejected", stats.rejected),
        ("unknown", stats.unknown),
        (RETRIES_EXHAUSTED, stats.dropped[RETRIES_EXHAUSTED]),
        (ENCODING, stats.dropped[ENCODING]),
    ):
        yield Observation(count, {**attributes, "error.type": error})


def _exporter(delivery: Delivery) -> Attributes:
    parts = urlsplit(delivery.destination)
    kind = f"otlp_{delivery.transport}_span_exporter"
    return {
        "otel.component.type": kind,
        "otel.component.name": f"{kind}/0",
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }
