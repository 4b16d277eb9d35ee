"""Whatever object is a propagator, a provider or a hook: requests are traced."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import propagate
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from calls import WSGIServer, ask, carrying
from conftest import TRACE_ID, TRACEPARENT, Recorded
from test_asgi import ok
from test_wsgi import ok as wsgi_ok
from tracemw import asgi, wsgi


class Odd:
    """What cannot be a key, is equal to nothing, is false, and cannot be shown."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError("not to be compared")

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        raise ArithmeticError("not to be shown")


class OddPropagator(Odd, TraceContextTextMapPropagator):
    pass


class Broken(Odd, TextMapPropagator):
    def extract(self, *args: Any, **kwargs: Any) -> Any:
        raise ArithmeticError("not today")

    def inject(self, *args: Any, **kwargs: Any) -> None:
        raise ArithmeticError("not today")

    @property
    def fields(self) -> set[str]:
        raise ArithmeticError("not today")


class Nothing(Broken):
    def extract(self, *args: Any, **kwargs: Any) -> Any:
        return None


class OddTracerProvider(Odd, TracerProvider):
    pass


class OddMeterProvider(Odd, MeterProvider):
    pass


class OddHook(Odd):
    def __call__(self, *args: Any) -> Any:
        raise ArithmeticError("not today")


@pytest.mark.parametrize(
    ("propagator", "continues"),
    [(OddPropagator(), True), (Broken(), False), (Nothing(), False)],
    ids=["odd", "raises", "None"],
)
async def test_any_object_may_be_the_global_propagator(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, propagator: Any, *, continues: bool
) -> None:
    monkeypatch.setattr(propagate, "get_global_textmap", lambda: propagator)
    for _ in range(2):
        recorded.clear()
        assert (await ask(asgi.TraceMiddleware(ok), headers=carrying(TRACEPARENT))).status == 200
        assert (f"{recorded.server.context.trace_id:032x}" == TRACE_ID) is continues


async def test_any_object_may_be_a_provider() -> None:
    exporter = InMemorySpanExporter()
    tracers = OddTracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    reader = InMemoryMetricReader()
    measuring = OddMeterProvider([reader], shutdown_on_exit=False)
    try:
        for _ in range(2):
            await ask(asgi.TraceMiddleware(ok, tracer_provider=tracers, meter_provider=measuring))
            WSGIServer().ask(wsgi.TraceMiddleware(wsgi_ok, tracer_provider=tracers, meter_provider=measuring))
        data: Any = reader.get_metrics_data()
        (scope,) = data.resource_metrics[0].scope_metrics
        (duration,) = [metric for metric in scope.metrics if metric.name == "http.server.request.duration"]
        assert sum(point.count for point in duration.data.data_points) == len(exporter.get_finished_spans()) == 4
        active = [metric for metric in scope.metrics if metric.name == "http.server.active_requests"]
        assert [point.value for metric in active for point in metric.data.data_points] == [0]
    finally:
        measuring.shutdown()


async def test_any_object_may_be_a_hook(recorded: Recorded) -> None:
    hooks: Any = dict.fromkeys(("on_request", "on_response", "span_name"), OddHook())
    assert (await ask(asgi.TraceMiddleware(ok, skip=OddHook(), **hooks))).status == 200
    assert (recorded.server.attributes or {})["http.response.status_code"] == 200


LOGFIRE = """
import asyncio, logfire, warnings
warnings.simplefilter("ignore")
logfire.configure(send_to_logfire=False, console=False, metrics=False)
import tracemw.asgi
from calls import ask, carrying
from test_asgi import ok
answer = asyncio.run(ask(tracemw.asgi.TraceMiddleware(ok), headers=carrying("%s")))
print(answer.header(b"x-trace-id").decode())
"""


@pytest.mark.skipif(find_spec("logfire") is None, reason="logfire cannot be installed for this Python")
def test_beside_logfire_a_request_continues_its_callers_trace() -> None:
    code = LOGFIRE % TRACEPARENT
    ran = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert (ran.stdout.strip(), ran.returncode) == (TRACE_ID, 0), ran.stderr
