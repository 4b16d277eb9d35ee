"""`Tracing`, which `init` returns to the application."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from opentelemetry import trace

from tracemw._export import Delivery
from tracemw._export import Stats as Stats
from tracemw._export.orders import LONGEST_WAIT
from tracemw._process.forks import check
from tracemw._recording import Books, FlightRecorder
from tracemw._watch import Watchdog
from tracemw.config import DELIVERY_TIMEOUT
from tracemw.redaction.report import Report
from tracemw.sampling import ConsistentSampler
from tracemw.spikes import ControlFileWatch, Spike, require_duration

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider

    from tracemw._watch.swallowed import Swallowed


class Tracing:
    """What `init` has set up. As a context manager it shuts down at the end of its block.

    Made by `init` only.
    """

    def __init__(
        self,
        provider: trace.TracerProvider,
        description: str,
        *,
        delivery: Delivery | Foreign | None = None,
        meter_provider: MeterProvider | None = None,
        sampler: ConsistentSampler | None = None,
        recorder: FlightRecorder | None = None,
        watch: ControlFileWatch | None = None,
        watchdog: Watchdog | None = None,
        report: Report | None = None,
        swallowed: Swallowed | None = None,
    ) -> None:
        self._provider = provider
        self._description = description
        self._delivery = delivery
        self._meter_provider = meter_provider
        self._sampler = sampler
        self._recorder = recorder
        self._watch = watch
        self._watchdog = watchdog
        self._report = report
        self._swallowed = swallowed
        self._active = True

    @property
    def provider(self) -> trace.TracerProvider:
        """The tracer provider; a no-op one under `OTEL_SDK_DISABLED=true`."""
        return self._provider

    @property
    def active(self) -> bool:
        """Whether spans are recorded: True until the shutdown."""
        return self._active

    def flush(self, timeout: float = DELIVERY_TIMEOUT) -> bool:
        """Send the queued spans. Return whether the backend has accepted all of them within `timeout` seconds."""
        return self._delivery.flush(timeout) if self._delivery is not None else True

    def shutdown(self, timeout: float = DELIVERY_TIMEOUT) -> bool:
        """Send the queued spans within `timeout` seconds, and stop recording.

        A second call does nothing. If the first is still under way, the second waits for it.

        Returns:
            Whether the backend has accepted all spans.
        """
        deadline = time.monotonic() + min(timeout, LONGEST_WAIT)
        delivered = self._delivery.shutdown(timeout) if self._delivery is not None else True
        if self._active:
            self._active = False
            if self._swallowed is not None:
                self._swallowed.end()
            if self._meter_provider is not None:
                self._meter_provider.shutdown(timeout_millis=max(deadline - time.monotonic(), 0.1) * 1000)
            if self._watchdog is not None:
                self._watchdog.stop(max(deadline - time.monotonic(), 0.0))
            if self._watch is not None:
                self._watch.stop(max(deadline - time.monotonic(), 0.0))
        return delivered

    def spike(self, ratio: float, *, seconds: float, path: str | None = None) -> None:
        """Sample more in this process for a while. `tracemw spike` does so in all processes that share a control file.

        A spike only raises sampling, and only for traces that begin in this process. Its traces carry its own threshold
        (`th` in `tracestate`). If only the spike had a trace sampled, the root of the trace has `tracemw.spike`. A new
        spike replaces one with the same path. Other spikes stay.

        Args:
            ratio: The share of new traces to sample, above 0 and at most 1.
            seconds: How long the spike lasts: at most 24 hours. It ends by itself.
            path: Only requests such as `"POST /checkout/*"`, where `*` crosses slashes; by default, all requests.

        Raises:
            ValueError: for a value that is not accepted. The error says what is.
            TypeError: for a value of the wrong type.
            RuntimeError: after the shutdown.
        """
        checked = Spike(ratio=ratio, path=path, until=time.time() + require_duration(seconds))
        if not self._active:
            raise RuntimeError(
                "tracing has been shut down; spike() is for the Tracing that a later tracemw.init() returns"
            )
        if self._sampler is not None:
            self._sampler.spike(checked.ratio, seconds=seconds, path=path)

    def end_spike(self, path: str | None = None) -> None:
        """End the spike that this process has begun for `path`, if there is one."""
        if self._sampler is not None:
            self._sampler.end_spike(path)

    def stats(self) -> Stats:
        """Return what has become of this process's spans so far."""
        check()
        if self._recorder is None:
            return Stats()
        return self._recorder.at_rest(self._count)

    def _count(self, books: Books) -> Stats:
        sent = self._delivery.stats() if isinstance(self._delivery, Delivery) else Stats()
        return replace(
            sent,
            unsampled=books.unsampled,
            held=books.held,
            folded=books.folded,
            swallowed=0 if self._swallowed is None else self._swallowed.count,
            kept=dict(books.kept),
            redacted={} if self._report is None else self._report.counts(),
            processor_errors=books.processor_errors,
            dropped={**sent.dropped, **books.lost},
        )

    def __repr__(self) -> str:
        return f"<Tracing, {'active' if self._active else 'shut down'}: {self._description}>"

    def __enter__(self) -> Tracing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()


class Foreign:
    """The delivery of a provider that somebody else has installed, and will shut down."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._flush: Callable[[int], object] | None = getattr(provider, "force_flush", None)

    def flush(self, timeout: float) -> bool:
        """Have the provider deliver what it has, within `timeout` seconds."""
        return True if self._flush is None else bool(self._flush(int(min(timeout, LONGEST_WAIT) * 1000)))

    def shutdown(self, timeout: float) -> bool:
        """Have the provider deliver what it has, and leave it running."""
        return self.flush(timeout)
