"""The exporter of metrics. It sends the metrics that the SDK has collected, over the same transports as spans."""

from __future__ import annotations

import logging
import os
import time
from typing import Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricsData

from tracemw._export import exporter as outcomes
from tracemw._export.answers import printable
from tracemw._export.exporter import AttemptResult, Exporter, ExportRequest, Outcome
from tracemw._export.redacted_metrics import redact_metrics
from tracemw._process.log import log
from tracemw._process.native import make_taken_lock
from tracemw.config import Backend
from tracemw.redaction.policy import RedactionPolicy

_FIRST_PAUSE: Final = 1.0
"""Seconds before the second attempt. Each further pause is twice as long."""

_WORTH_ANOTHER: Final = (AttemptResult.BUSY, AttemptResult.NOT_SENT, AttemptResult.UNKNOWN)


class MetricsExporter:
    """Sends metrics, and says once why they do not arrive.

    The reader calls an exporter from one thread at a time.

    Args:
        exporter: Makes the attempts.
        backend: Where the metrics go, and how.
        policy: What may leave.
    """

    def __init__(self, exporter: Exporter, backend: Backend, policy: RedactionPolicy) -> None:
        self._exporter = exporter
        self._policy = policy
        self._destination = str(backend.endpoint)
        self._timeout = backend.timeout
        self._pid = os.getpid()
        self._told: tuple[AttemptResult, str] | None = None
        """The reason that is in the log already; None while metrics arrive."""
        self._ending = make_taken_lock()
        """`shutdown` releases this lock. A signal handler may do so while the code that it interrupts waits."""

    def export(self, metrics_data: MetricsData, timeout: float) -> None:
        """Send the metrics that the reader has collected, within `timeout` seconds."""
        if self._pid != os.getpid():  # forked; the connection is the parent's
            self._exporter.leave_to_parent()
            self._pid, self._ending = os.getpid(), make_taken_lock()
        body: bytes = encode_metrics(redact_metrics(metrics_data, self._policy)).SerializeToString()
        deadline = time.monotonic() + min(self._timeout, timeout)
        outcome = self._attempts(ExportRequest(self._exporter.pack(body), 0), deadline)
        if outcome.answer is AttemptResult.ACCEPTED:
            if self._told is not None:
                self._told = None
                log(logging.WARNING, "metrics reach %s again", self._destination)
        else:
            self._tell_of(outcome)

    def shutdown(self) -> None:
        """Close the connection."""
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
        if outcome.answer is AttemptResult.REJECTED and remedy == outcomes.TO_FIND_THE_WAY:
            remedy = outcomes.TO_TAKE_METRICS
        reason = (outcome.answer, remedy)
        if reason == self._told:
            return
        self._told = reason
        said = "metrics do not reach %s (this is logged once): %s%s"
        log(logging.WARNING, said, self._destination, printable(outcome.error), f". {remedy}" if remedy else "")
