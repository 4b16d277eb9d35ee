"""The exporter of metrics. It sends the metrics that the SDK has collected, over the same transports as spans."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
)

from tracemw._export import exporter as outcomes
from tracemw._export.answers import printable
from tracemw._export.exporter import Answer, Exporter, ExportRequest, Outcome
from tracemw._process.log import log
from tracemw.config import Backend

_FIRST_PAUSE: Final = 1.0
"""Seconds before the second attempt. Each further pause is twice as long."""

_WORTH_ANOTHER: Final = (Answer.BUSY, Answer.NOT_SENT, Answer.UNKNOWN)

_DELTAS: Final[dict[str, tuple[type, ...]]] = {
    "cumulative": (),
    "delta": (Counter, Histogram, ObservableCounter),
    "lowmemory": (Counter, Histogram),
}
"""The instruments that report changes since the last export, by preference (OpenTelemetry, "OTLP Metrics Exporter")."""


def _ending() -> threading.Lock:
    """Return a lock that `shutdown` releases. A signal handler may do so while the code that it interrupts waits."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class MetricsExporter(MetricExporter):
    """Sends metrics, and says once why they do not arrive.

    The SDK's reader calls an exporter from one thread at a time.

    Args:
        exporter: Makes the attempts.
        backend: Where the metrics go, and how.
        temporality: `cumulative`, `delta` or `lowmemory`.
        histograms: `explicit_bucket_histogram` or `base2_exponential_bucket_histogram`.
    """

    def __init__(self, exporter: Exporter, backend: Backend, *, temporality: str, histograms: str) -> None:
        deltas = _DELTAS[temporality]
        kinds = (Counter, UpDownCounter, Histogram, ObservableCounter, ObservableUpDownCounter, ObservableGauge)
        is_exponential = histograms == "base2_exponential_bucket_histogram"
        aggregation: Aggregation = (
            ExponentialBucketHistogramAggregation() if is_exponential else ExplicitBucketHistogramAggregation()
        )
        super().__init__(
            preferred_temporality={
                kind: AggregationTemporality.DELTA if kind in deltas else AggregationTemporality.CUMULATIVE
                for kind in kinds
            },
            preferred_aggregation={Histogram: aggregation},
        )
        self._exporter = exporter
        self._destination = str(backend.endpoint)
        self._timeout = backend.timeout
        self._pid = os.getpid()
        self._told: tuple[Answer, str] | None = None
        """The reason that is in the log already; None while metrics arrive."""
        self._ending = _ending()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        """Send the metrics that the reader has collected."""
        if self._pid != os.getpid():  # forked; the connection is the parent's
            self._exporter.leave_to_parent()
            self._pid, self._ending = os.getpid(), _ending()
        body: bytes = encode_metrics(metrics_data).SerializeToString()
        deadline = time.monotonic() + min(self._timeout, timeout_millis / 1000)
        outcome = self._attempts(ExportRequest(self._exporter.pack(body), 0), deadline)
        if outcome.answer is Answer.ACCEPTED:
            if self._told is not None:
                self._told = None
                log(logging.WARNING, "metrics reach %s again", self._destination)
            return MetricExportResult.SUCCESS
        self._tell_of(outcome)
        return MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Do nothing: nothing is held back."""
        del timeout_millis
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Close the connection."""
        del timeout_millis
        if self._ending.locked():
            self._ending.release()
        if self._pid == os.getpid():
            self._exporter.close()

    def _attempts(self, request: ExportRequest, deadline: float) -> Outcome:
        pause = _FIRST_PAUSE
        while True:
            outcome = self._exporter.send(request, deadline - time.monotonic())
            if outcome.is_stale and time.monotonic() < deadline:
                continue
            seconds = max(pause, outcome.retry_after)
            # After a failure, one attempt in each interval is enough. So the end of a process waits for no retries.
            is_over = outcome.answer not in _WORTH_ANOTHER or self._told is not None
            if is_over or time.monotonic() + seconds >= deadline or self._ending.acquire(timeout=seconds):
                return outcome
            pause *= 2

    def _tell_of(self, outcome: Outcome) -> None:
        """Log why metrics do not arrive, once for each reason."""
        remedy = outcome.remedy
        if outcome.answer is Answer.REJECTED and remedy == outcomes.TO_FIND_THE_WAY:
            remedy = outcomes.TO_TAKE_METRICS
        reason = (outcome.answer, remedy)
        if reason == self._told:
            return
        self._told = reason
        said = "metrics do not reach %s (this is logged once): %s%s"
        log(logging.WARNING, said, self._destination, printable(outcome.error), f". {remedy}" if remedy else "")
