"""What every test has: tracemw's own faults raise, and spans land in memory."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings
from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
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

# A deadline for an example, or for making one up, would measure the machine.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")
settings.register_profile("quick", settings.get_profile("shared machine"), max_examples=10)
"""A tenth of the examples, for another interpreter or other versions: `--hypothesis-profile=quick`."""

_exporter = InMemorySpanExporter()

OLDER_SDK: Final = "_extended_attributes" in vars(BoundedAttributes(immutable=False))
"""Whether this SDK's own spans drop values that ours, and those of newer SDKs, keep: mappings, and what is nested."""


NO_BLAME: Final = ("TRACEMW_BLAME", "false")
"""On a busy machine an event loop waits for the processor, and looks blocked. Only tests of that are to see it."""

ALL_KEYS: Final = ("TRACEMW_ALLOW", "*")
"""Tests record attributes of their own. Only tests of redaction are to see them redacted."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--recorder",
        choices=("tracemw", "sdk"),
        default="tracemw",
        help="whose tracer provider is the global one: the doors work with either",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell has what it starts in the background ignore Ctrl-C, which the processes of tests would inherit.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Hundreds of httpx clients would read the certificates of all authorities, half of their tests' time.
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)
    os.environ.update([NO_BLAME, ALL_KEYS])  # for servers that several tests share
    os.environ["TRACEMW_WARN"] = "false"  # whether or not somebody looks on at a terminal
    kind = TracerProvider if config.getoption("recorder") == "tracemw" else SdkTracerProvider
    provider = kind(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(_exporter))
    trace.set_tracer_provider(provider)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    functions = [item for item in items if isinstance(item, pytest.Function)]
    if config.getoption("recorder") == "sdk":
        _choose(config, items, [each for each in functions if {"recorded", "provider"} & set(each.fixturenames)])
    if settings.get_current_profile_name() == "quick":
        _make_up_fewer({each.function for each in functions if is_hypothesis_test(each.function)})


def _choose(config: pytest.Config, items: list[pytest.Item], chosen: list[pytest.Function]) -> None:
    """Leave out the tests that never see the global provider: they would do the same with another."""
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


def _make_up_fewer(tests: set[Any]) -> None:
    """Take nine tenths of the examples away from tests that say how many they want, too."""
    for test in tests:
        wanted = test._hypothesis_internal_use_settings
        fewer = max(wanted.max_examples // 10, settings().max_examples)
        test._hypothesis_internal_use_settings = settings(wanted, max_examples=fewer)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let a report with lone surrogates, which tests have logged, leave a worker of pytest-xdist."""
    return _encodable((yield))


def _encodable(told: Any) -> Any:
    match told:
        case str():
            return told.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_encodable(key): _encodable(value) for key, value in told.items()}
        case list():
            return [_encodable(each) for each in told]
        case tuple():
            return tuple(_encodable(each) for each in told)
    return told


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
    for name in list(os.environ):
        ours = ("TEMPO_ENDPOINT", "SERVICE_VERSION", "ENVIRONMENT")
        if name.startswith(("OTEL_", "TRACEMW_")) or name in ours or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv(*NO_BLAME)
    monkeypatch.setenv(*ALL_KEYS)


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"


def pytest_collection_finish() -> None:
    """Spare every later collection of garbage, of which many tests ask for some, the walk through all tests."""
    gc.collect()
    gc.freeze()
