"""From a span's end to the sink: ours, the SDK's, and the SDK's with fastotel's processor. One in a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opentelemetry import metrics as otel_metrics
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

METRICS_INTERVAL = 60_000
"""Milliseconds, the default of the specification, and of ours."""


@dataclass(frozen=True)
class Pipeline:
    """A tracer provider that has been set globally, and the way to have delivered all that was recorded."""

    provider: TracerProvider
    flush: Callable[[], None]


def none() -> Pipeline:
    """Set up nothing."""
    return Pipeline(trace.get_tracer_provider(), lambda: None)


def ours(
    *, sampling: float = 1.0, keep_errors: bool = True, metrics: bool = False, watch: bool = True, blame: bool = True
) -> Pipeline:
    """Set tracemw up, in its one line.

    Without `watch` nobody looks at the requests being served, and without `blame` only at those that are slow.
    """
    import tracemw
    from tracemw.sampling import Sampling

    # An older checkout that is compared has neither option, and no watch.
    unwatched: dict[str, Any] = {} if watch else {"stack_after": None}
    wanted = Sampling(ratio=sampling, keep_errors=keep_errors, **unwatched)
    more: dict[str, Any] = {} if watch and blame else {"blame": False}
    name = os.environ["BENCH_NAME"]
    tracing = tracemw.init(name, endpoint=sink(), sampling=wanted, metrics=metrics or None, **more)

    def flush() -> None:
        if not tracing.flush(60):
            raise RuntimeError("not delivered")
        _flush_metrics()

    return Pipeline(tracing.provider, flush)


def sdk(*, sampling: float = 1.0, metrics: bool = False, processor: str = "batch") -> Pipeline:
    """Set the SDK up as its documentation has it: provider, batch processor, exporter over HTTP."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    resource = Resource.create({SERVICE_NAME: os.environ["BENCH_NAME"]})
    provider = SdkTracerProvider(sampler=ParentBased(TraceIdRatioBased(sampling)), resource=resource)
    endpoint = f"{sink()}/v1/traces"
    if processor == "fastotel":
        from fastotel import OTLPSpanProcessor

        provider.add_span_processor(OTLPSpanProcessor(endpoint=endpoint))
    else:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    if metrics:
        exporter = OTLPMetricExporter(endpoint=f"{sink()}/v1/metrics")
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=METRICS_INTERVAL)
        otel_metrics.set_meter_provider(MeterProvider([reader], resource=resource))

    def flush() -> None:
        if not provider.force_flush(60_000):
            raise RuntimeError("not delivered")
        _flush_metrics()

    return Pipeline(provider, flush)


def _flush_metrics() -> None:
    provider = otel_metrics.get_meter_provider()
    if isinstance(provider, MeterProvider):
        provider.force_flush()


def sink() -> str:
    """Return the base URL of this contestant's own corner of the sink."""
    return os.environ["BENCH_SINK"]
