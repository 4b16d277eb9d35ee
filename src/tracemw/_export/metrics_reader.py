"""The reader of metrics: in every process, it has the metrics collected and sent, at intervals and at the end.

The SDK's own reader runs in a thread of `threading`. uWSGI forks in C, and its workers lack that thread. gunicorn's
gevent workers patch `threading` after the fork, where the start of such a thread never ends.

The thread here is the operating system's, or a greenlet where threads are greenlets: what is collected may have locks
that only greenlets can wait for. Then a thread of the operating system sends, and the other greenlets run on.
"""

from __future__ import annotations

import _thread
import contextvars
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

from tracemw._export.metrics_exporter import MetricsExporter
from tracemw._otel.context import suppress_all
from tracemw._process.forks import begin_anew_with
from tracemw._process.log import log
from tracemw._process.native import (
    Thread,
    is_about_to_fork,
    is_without_threads,
    make_lock,
    make_taken_lock,
    sleep,
    wait_for,
)

if TYPE_CHECKING:
    from tracemw._process.native import Lock

_KINDS: Final = (Counter, UpDownCounter, Histogram, ObservableCounter, ObservableUpDownCounter, ObservableGauge)

_DELTAS: Final[dict[str, tuple[type, ...]]] = {
    "cumulative": (),
    "delta": (Counter, Histogram, ObservableCounter),
    "lowmemory": (Counter, Histogram),
}
"""Which instruments tell what came since the last time, by preference (OpenTelemetry, "OTLP Metrics Exporter")."""

_LONGEST_PAUSE: Final = 3600.0
_LONGEST_PAUSE_OF_A_GREENLET: Final = 0.1
"""Seconds after which a greenlet looks again. Nothing wakes it."""


class MetricsReader(MetricReader):
    """Has the metrics of a meter provider collected and sent.

    Args:
        exporter: Sends the metrics.
        resource: Tells the resource of this process; a forked process has an instance id of its own.
        interval: Seconds between two collections.
        timeout: Seconds that a collection and its sending may take.
        temporality: `cumulative`, `delta` or `lowmemory`.
        histograms: `explicit_bucket_histogram` or `base2_exponential_bucket_histogram`.

    Raises:
        RuntimeError: where no thread can be started.
    """

    def __init__(
        self,
        exporter: MetricsExporter,
        resource: Callable[[], Resource],
        *,
        interval: float,
        timeout: float,
        temporality: str,
        histograms: str,
    ) -> None:
        if is_without_threads():
            raise RuntimeError("uWSGI runs no threads; set enable-threads = true in its configuration")
        deltas = _DELTAS[temporality]
        is_exponential = histograms == "base2_exponential_bucket_histogram"
        aggregation = ExponentialBucketHistogramAggregation if is_exponential else ExplicitBucketHistogramAggregation
        super().__init__(
            preferred_temporality={
                kind: AggregationTemporality.DELTA if kind in deltas else AggregationTemporality.CUMULATIVE
                for kind in _KINDS
            },
            preferred_aggregation={Histogram: aggregation()},
        )
        self._exporter = exporter
        self._resource = resource
        self._interval = interval
        self._timeout = timeout
        self._stop_by: float | None = None
        """When the shutdown has to be over; None before it."""
        self._thread: Thread | None = None
        self._begin()
        begin_anew_with(self._begin)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Have what was measured until now collected and sent, within a time, and close the connection."""
        if self._stop_by is not None:
            return
        seconds = timeout_millis / 1000
        self._stop_by = time.monotonic() + seconds
        if self._is_running:
            # Not collected here: a signal handler may have interrupted a measurement, which holds a lock.
            self._wake.release()
            wait_for(self._done, seconds)
            if self._thread is not None:
                self._thread.join(max(self._stop_by - time.monotonic(), 0.0))
        else:
            contextvars.copy_context().run(self._collect_last)
        self._exporter.shutdown()

    def _begin(self) -> None:
        """Begin to collect in this process."""
        self._sending = make_lock()
        self._wake, self._done = make_taken_lock(), make_taken_lock()
        self._is_running, self._thread = False, None
        # A greenlet goes on in a forked process. It stops when the turn is another's.
        self._turn = turn = object()
        if self._stop_by is not None or is_about_to_fork():
            return
        if time.sleep is sleep:
            self._thread = Thread(self._run, turn, partial(_pause_in_a_thread, self._wake))
        else:
            _thread.start_new_thread(self._run, (turn, _pause_in_a_greenlet))  # as patched, a greenlet
        self._is_running = True

    def _run(self, turn: object, pause: Callable[[float], object]) -> None:
        suppress_all()
        due = time.monotonic() + self._interval
        while self._turn is turn and self._stop_by is None:
            left = due - time.monotonic()
            if left > 0:
                pause(left)
            else:
                self._collect_within(self._timeout)
                due = time.monotonic() + self._interval
        if self._turn is turn:
            self._collect_last()
            self._done.release()

    def _collect_last(self) -> None:
        suppress_all()
        if self._stop_by is not None:
            self._collect_within(self._stop_by - time.monotonic())

    def _collect_within(self, seconds: float) -> None:
        try:
            self.collect(timeout_millis=max(seconds, 0.0) * 1000)
        except Exception as error:  # a callback of an instrument raises, or takes too long
            log(logging.WARNING, "metrics are not collected", error=error)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        deadline = time.monotonic() + timeout_millis / 1000
        if not wait_for(self._sending, timeout_millis / 1000):  # somebody flushes
            return
        # The SDK's provider does not notice a fork in C, and replaces even an instance id that was configured.
        resource = self._resource()
        data = MetricsData([replace(each, resource=resource) for each in metrics_data.resource_metrics])
        sending, sent = self._sending, make_taken_lock()

        def send() -> None:
            try:
                suppress_all()
                self._exporter.export(data, deadline - time.monotonic())
            except Exception as error:
                log(logging.WARNING, "metrics are not sent", error=error)
            finally:
                sending.release()
                sent.release()

        if time.sleep is sleep:
            contextvars.copy_context().run(send)
        else:
            Thread(send)
            wait_for(sent, max(deadline - time.monotonic(), 0.0))


def _pause_in_a_thread(wake: Lock, seconds: float) -> None:
    wake.acquire(timeout=min(seconds, _LONGEST_PAUSE))


def _pause_in_a_greenlet(seconds: float) -> None:
    time.sleep(min(seconds, _LONGEST_PAUSE_OF_A_GREENLET))
