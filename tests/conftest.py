"""What every test has: tracemw's own faults raise, and spans land in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind

from tracemw._otel import guard
from tracemw._recording import TracerProvider

guard.reraise_own_faults = True

settings.register_profile("shared machine", deadline=None)  # a deadline for an example would measure the machine
settings.load_profile("shared machine")

_exporter = InMemorySpanExporter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--recorder",
        choices=("tracemw", "sdk"),
        default="tracemw",
        help="whose tracer provider is the global one: the doors work with either",
    )


def pytest_configure(config: pytest.Config) -> None:
    kind = TracerProvider if config.getoption("recorder") == "tracemw" else SdkTracerProvider
    provider = kind(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(_exporter))
    trace.set_tracer_provider(provider)


class Recorded:
    """The spans that have ended during a test, in the order of their end."""

    @property
    def all(self) -> list[ReadableSpan]:
        return list(_exporter.get_finished_spans())

    def of_kind(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self.all if span.kind is kind]

    @property
    def server(self) -> ReadableSpan:
        """The one SERVER span."""
        (span,) = self.of_kind(SpanKind.SERVER)
        return span

    @property
    def client(self) -> ReadableSpan:
        """The one CLIENT span."""
        (span,) = self.of_kind(SpanKind.CLIENT)
        return span

    def named(self, name: str) -> ReadableSpan:
        """The one span of this name."""
        (span,) = [span for span in self.all if span.name == name]
        return span

    def clear(self) -> None:
        _exporter.clear()


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """The spans of the test; the global provider is the one that `--recorder` says."""
    _exporter.clear()
    yield Recorded()
    _exporter.clear()


@pytest.fixture
def provider() -> SdkTracerProvider:
    """The global provider."""
    provider = trace.get_tracer_provider()
    assert isinstance(provider, SdkTracerProvider)
    return provider


class Meters:
    """What a meter provider has recorded."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def meters() -> Iterator[Meters]:
    made = Meters()
    yield made
    made.provider.shutdown()


@pytest.fixture(autouse=True)
def _no_inherited_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the settings of the machine that the tests run on."""
    import os

    for name in list(os.environ):
        ours = ("TEMPO_ENDPOINT", "SERVICE_VERSION", "ENVIRONMENT")
        if name.startswith(("OTEL_", "TRACEMW_")) or name in ours or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
