"""What it takes until an application is traced, each time in a new process."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.contestants import Burst, pipelines

# CPU time: importing waits for nothing, and others on the machine would show in the time on the clock.
_TIMED = """
import os, time
started = time.process_time()
{code}
ended = time.process_time()
print((ended - started) * 1e3)
os._exit(0)
"""
_OURS = """
import tracemw
tracemw.init("bench", endpoint={sink!r})
"""
_SDK = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider(resource=Resource.create({{"service.name": "bench"}}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint={sink!r} + "/v1/traces")))
trace.set_tracer_provider(provider)
"""


def importing(*, module: str) -> Burst:
    return _timed(f"import {module}")


def setting_up(*, whose: str) -> Burst:
    return _timed((_OURS if whose == "ours" else _SDK).format(sink=pipelines.sink()))


def _timed(code: str) -> Burst:
    program = _TIMED.format(code=code)

    def burst(operations: int) -> dict[str, float]:
        times = []
        for _ in range(operations):
            told = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
            times.append(float(told.stdout))
        return {"ms": sum(times) / operations}

    return burst
