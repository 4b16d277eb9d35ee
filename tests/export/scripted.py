"""A scripted exporter, outcomes for its script, and spans for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.context import get_current
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from tracemw._export import Delivery
from tracemw._export.exporter import AttemptResult, Exporter, ExportRequest, Outcome
from tracemw._otel.context import clients_suppressed
from tracemw.config import Backend, Config, Endpoint

ACCEPTED = Outcome(AttemptResult.ACCEPTED)
REJECTED = Outcome(AttemptResult.REJECTED, error="HTTP 401", remedy="Who are you?")
TOO_LARGE = Outcome(AttemptResult.TOO_LARGE, error="HTTP 413")
INVALID = Outcome(AttemptResult.INVALID, error="HTTP 400")
BUSY = Outcome(AttemptResult.BUSY, error="HTTP 503")
REFUSED = Outcome(AttemptResult.NOT_SENT, error="ConnectionRefusedError", remedy="Is anybody there?")
BROKEN = Outcome(AttemptResult.UNKNOWN, error="ConnectionResetError")

REQUEST = ExportRequest(b"", 1)

CAUSES = ("queue_full", "queue_bytes", "too_large", "breaker_open", "retries_exhausted", "encoding", "shutdown")
NONE_DROPPED = dict.fromkeys(CAUSES, 0)

Made = Callable[..., Delivery]


class Scripted(Exporter):
    """Answers what it is told to, and keeps the batches that it accepts; can raise or block."""

    def __init__(self) -> None:
        self.script: list[Outcome] = []
        """The outcomes of the attempts to come; after them, `outcome`."""

        self.outcome = ACCEPTED
        self.error: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[str]] = []
        self.attempts: list[float] = []
        self.timeouts: list[float] = []
        self.packings = 0
        self.suppressed: list[bool] = []
        self.closed = 0
        self._names: list[str] = []

    def pack(self, body: bytes) -> bytes:
        self.packings += 1
        self._names = names_in(body)
        return super().pack(body)

    def send(self, request: ExportRequest, timeout: float) -> Outcome:
        self.attempts.append(time.monotonic())
        self.timeouts.append(timeout)
        self.suppressed.append(clients_suppressed(get_current()))
        self.gate.wait(30)
        if self.error is not None:
            raise self.error
        outcome = self.script.pop(0) if self.script else self.outcome
        if outcome.answer is AttemptResult.ACCEPTED:
            self.batches.append(self._names)
        return outcome

    def close(self) -> None:
        self.closed += 1

    def leave_to_parent(self) -> None:
        pass

    @property
    def names(self) -> list[str]:
        return [name for batch in self.batches for name in batch]

    @property
    def pauses(self) -> list[float]:
        """The seconds between attempts."""
        return [later - earlier for earlier, later in zip(self.attempts, self.attempts[1:], strict=False)]


def settings(*, timeout: float = 10.0, **options: Any) -> Config:
    """Return the settings of a delivery to http://the.test that is soon full."""
    small = {"queue_size": 100, "queue_bytes": 10**6, "batch_size": 10, "batch_bytes": 10**6, "delay": 0.02, **options}
    traces = Backend(endpoint=Endpoint.parse("http://the.test"), timeout=timeout)
    return Config(service=None, version=None, environment=None, traces=traces, **small)


def names_in(body: bytes) -> list[str]:
    request = ExportTraceServiceRequest.FromString(body)
    return [span.name for origin in request.resource_spans for scope in origin.scope_spans for span in scope.spans]


def record(to: Delivery, count: int, *, sampled: bool = True) -> None:
    """End so many spans, named by their number."""
    provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(to)
    tracer = provider.get_tracer("test")
    for number in range(count):
        tracer.start_span(str(number)).end()


def ended_span() -> ReadableSpan:
    span: Any = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("a")
    span.end()
    readable: ReadableSpan = span._readable_span()
    return readable


def dropped(**causes: int) -> dict[str, int]:
    return {**NONE_DROPPED, **causes}


def open_the_breaker(to: Delivery, exporter: Scripted) -> None:
    """Have five batches rejected."""
    exporter.outcome = REJECTED
    for _ in range(5):
        record(to, 1)
        assert to.flush(timeout=5) is False
    assert to.stats().breaker == "open"
