"""The numbers of `Tracing.stats` as the self-observability metrics of an OpenTelemetry SDK.

Names and attributes are those of the semantic conventions for SDK metrics (otel.sdk.*), version 1.44. A number is read
when a reader of metrics asks. The conventions have no names for traces that are kept, spans that are not sampled, and
values that are redacted: ours are `tracemw.trace.kept`, `tracemw.span.unsampled` and `tracemw.value.redacted`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracemw._export.delivery import Delivery
from tracemw._export.stats import (
    BREAKER_OPEN,
    CAUSES,
    ENCODING,
    QUEUE_BYTES,
    QUEUE_FULL,
    RETRIES_EXHAUSTED,
    SHUTDOWN,
    TOO_LARGE,
    Stats,
)
from tracemw._process.forks import begin_anew_with
from tracemw._version import __version__

Attributes = Mapping[str, str | int]
Totals = Mapping[str, Counter[frozenset[tuple[str, str | int]]]]
"""The state of the counters, by their names and attributes."""

_PROCESSOR: Final[Attributes] = {
    "otel.component.type": "batching_span_processor",
    "otel.component.name": "batching_span_processor/0",
}


_RECORDER: Final[Attributes] = {  # the conventions do not know this component; its type is the name of its class
    "otel.component.type": "tracemw._recording.FlightRecorder",
    "otel.component.name": "tracemw._recording.FlightRecorder/0",
}


class Source(NamedTuple):
    """Where the numbers of one `init` come from."""

    delivery: Delivery
    stats: Callable[[], Stats]
    """Returns the numbers of this moment."""


class Observer:
    """Instruments that show what becomes of the spans of a process, over all its `init`s.

    Counters never go back: a new source goes on from the numbers of those before.

    Args:
        provider: Makes the instruments.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self._shown: tuple[Totals, Source | None] = ({}, None)  # one object: other threads see it as a whole
        begin_anew_with(self._start_afresh)  # what the parent has counted is the parent's
        meter = provider.get_meter("tracemw", __version__)
        meter.create_observable_up_down_counter(
            "otel.sdk.processor.span.queue.size",
            self._reading(lambda source: Observation(source.stats().queued, _PROCESSOR)),
            "{span}",
            "The number of spans in the queue of a given instance of an SDK span processor.",
        )
        meter.create_observable_up_down_counter(
            "otel.sdk.processor.span.queue.capacity",
            self._reading(lambda source: Observation(source.delivery.config.queue_size, _PROCESSOR)),
            "{span}",
            "The maximum number of spans the queue of a given instance of an SDK span processor can hold.",
        )
        meter.create_observable_up_down_counter(
            "otel.sdk.exporter.span.inflight",
            self._reading(lambda source: Observation(source.stats().in_flight, _exporter(source))),
            "{span}",
            "The number of spans which were passed to the exporter, but that have not been exported yet.",
        )
        for name, (_, unit, description) in _COUNTERS.items():
            meter.create_observable_counter(name, self._adding_up(name), unit, description)

    def follow(self, source: Source | None) -> None:
        """Show the numbers of `source` from now on, added to those of the sources before. None adds nothing."""
        past, before = self._shown
        self._shown = ({name: _total(name, past, before) for name in _COUNTERS}, source)

    def _start_afresh(self) -> None:
        self._shown = ({}, self._shown[1])

    def _reading(self, read: Callable[[Source], Observation]) -> list[Callable[..., Iterable[Observation]]]:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            del options
            source = self._shown[1]
            return [] if source is None else [read(source)]

        return [callback]

    def _adding_up(self, name: str) -> list[Callable[..., Iterable[Observation]]]:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            del options
            total = _total(name, *self._shown)
            return [Observation(count, dict(attributes)) for attributes, count in total.items()]

        return [callback]


def _total(name: str, past: Totals, source: Source | None) -> Counter[frozenset[tuple[str, str | int]]]:
    total = Counter(past.get(name))
    if source is not None:
        count, _, _ = _COUNTERS[name]
        total.update({frozenset(attributes.items()): n for n, attributes in count(source.stats(), source)})
    return total


def _processed(stats: Stats, _: Source) -> Iterator[tuple[int, Attributes]]:
    finished = stats.exported + stats.rejected + stats.unknown + stats.trivial
    yield finished + stats.dropped[RETRIES_EXHAUSTED] + stats.dropped[ENCODING] + stats.in_flight, _PROCESSOR
    for cause in (QUEUE_FULL, QUEUE_BYTES, TOO_LARGE, BREAKER_OPEN, SHUTDOWN):
        error = "already_shutdown" if cause == SHUTDOWN else cause  # the conventions' name for it
        yield stats.dropped[cause], {**_PROCESSOR, "error.type": error}
    for cause, count in stats.dropped.items():
        if cause not in CAUSES:
            yield count, {**_RECORDER, "error.type": cause}


def _exported(stats: Stats, source: Source) -> Iterator[tuple[int, Attributes]]:
    attributes = _exporter(source)
    yield stats.exported, attributes
    for error, count in (
        ("rejected", stats.rejected),
        ("unknown", stats.unknown),
        (RETRIES_EXHAUSTED, stats.dropped[RETRIES_EXHAUSTED]),
        (ENCODING, stats.dropped[ENCODING]),
    ):
        yield count, {**attributes, "error.type": error}


def _kept(stats: Stats, _: Source) -> Iterator[tuple[int, Attributes]]:
    for reason, count in stats.kept.items():
        yield count, {"tracemw.kept": reason}


def _unsampled(stats: Stats, _: Source) -> Iterator[tuple[int, Attributes]]:
    yield stats.unsampled, {}


def _redacted(stats: Stats, _: Source) -> Iterator[tuple[int, Attributes]]:
    for key, count in stats.redacted.items():
        yield count, {"tracemw.redacted.key": key}


_COUNTERS: Final[Mapping[str, tuple[Callable[[Stats, Source], Iterator[tuple[int, Attributes]]], str, str]]] = {
    "otel.sdk.processor.span.processed": (
        _processed,
        "{span}",
        "The number of spans for which the processing has finished, either successful or failed.",
    ),
    "otel.sdk.exporter.span.exported": (
        _exported,
        "{span}",
        "The number of spans for which the export has finished, either successful or failed.",
    ),
    "tracemw.trace.kept": (
        _kept,
        "{trace}",
        "The number of unsampled traces, as far as this process has recorded them, that were kept.",
    ),
    "tracemw.span.unsampled": (
        _unsampled,
        "{span}",
        "The number of spans that were not to be exported: not recorded, or dropped at the end of their local trace.",
    ),
    "tracemw.value.redacted": (
        _redacted,
        "{value}",
        "The number of values that were redacted, by the key of their attribute.",
    ),
}


def _exporter(source: Source) -> Attributes:
    backend = source.delivery.config.traces
    kind = f"otlp_{'grpc' if backend.protocol == 'grpc' else 'http'}_span_exporter"
    return {
        "otel.component.type": kind,
        "otel.component.name": f"{kind}/0",
        "server.address": backend.endpoint.host,
        "server.port": backend.endpoint.port,
    }
