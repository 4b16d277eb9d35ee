"""What tracemw really emits: the metrics as Prometheus stores them, and the attributes of spans."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from backend import Backend, backend_serving
from deploy.stack import loaded
from servers import answers, free_port, process, wait_until

_UNITS: Final = {"s": "seconds", "By": "bytes", "1": "ratio"}
OF_THE_STACK: Final = {"job", "instance", "team"}
"""Labels that the collector and Prometheus add to every series."""


@dataclass(frozen=True)
class Emitted:
    """What a service has sent."""

    series: dict[str, set[str]]
    """The names of time series, and their labels."""
    exemplars: set[str]
    """Of which of them a point led to a trace."""
    attributes: set[str]
    """Of spans."""
    resource: set[str]
    """Attributes of the resource."""
    kept: set[str]
    """Why traces were kept."""


def series_of(metric: Metric) -> dict[str, set[str]]:
    """The time series that Prometheus makes of a metric, with their labels ("OTLP to Prometheus" of OpenTelemetry)."""
    kind = str(metric.WhichOneof("data"))
    data: Any = getattr(metric, kind)
    promoted = map(_name, loaded("prometheus/prometheus.yaml")["otlp"]["promote_resource_attributes"])
    labels = {_name(pair.key) for point in data.data_points for pair in point.attributes} | {*promoted, *OF_THE_STACK}
    unit = _UNITS.get(metric.unit, "")  # a unit in braces, such as {span}, is left out
    name = "_".join(filter(None, (_name(metric.name), unit)))
    if kind == "histogram":
        return {f"{name}_bucket": labels | {"le"}, f"{name}_count": labels, f"{name}_sum": labels}
    return {f"{name}_total" if kind == "sum" and data.is_monotonic else name: labels}


def emit() -> Emitted:
    """Run the service, have it do what there is to do, and return what it has sent."""
    port, folder = free_port(), Path(__file__).parents[1]
    with backend_serving() as backend:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url,
            "NOWHERE": f"http://127.0.0.1:{free_port()}/pay",
            "TRACEMW_ALLOW": "",
        }
        command = ("-m", "uvicorn", "deploy.service:app", "--port", str(port), "--log-level", "warning")
        with process(*command, env=environment, cwd=folder) as running:
            base = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(f"{base}/quiet"))
            for path in ("/orders/7", "/payments", "/orders/copied", "/slow", "/refunds", "/nowhere"):
                httpx.get(base + path, trust_env=False, timeout=60)
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) in (0, -signal.SIGTERM)
        return _emitted(backend)


def _emitted(backend: Backend) -> Emitted:
    series: dict[str, set[str]] = {}
    exemplars: set[str] = set()
    for body in backend.metrics_bodies:
        for resource_metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (metric for scope in resource_metrics.scope_metrics for metric in scope.metrics):
                for name, labels in series_of(metric).items():
                    series.setdefault(name, set()).update(labels)
                    if any(point.exemplars for point in metric.histogram.data_points):
                        exemplars.add(name)
    attributes = [pair for span in backend.spans for pair in span.attributes]
    return Emitted(
        series,
        exemplars,
        {pair.key for pair in attributes},
        set(backend.resource),
        {pair.value.string_value for pair in attributes if pair.key == "tracemw.kept"},
    )


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text)
