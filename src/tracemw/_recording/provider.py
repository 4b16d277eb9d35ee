"""The tracer provider: the SDK's, with our own tracers, and with settings that can be replaced."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource, ServiceInstanceIdResourceDetector
from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    ReadableSpan,
    SpanLimits,
    SynchronousMultiSpanProcessor,
)
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import Tracer as ApiTracer
from opentelemetry.util.types import AnyValue, Attributes

from tracemw._process.forks import begin_anew_with
from tracemw._recording.flight_recorder import FlightRecorder
from tracemw._recording.limits import OwnLimits
from tracemw._recording.processors import Processors
from tracemw._recording.tracer import KNOWS_THE_SDK, Tracer


class TracerProvider(SdkTracerProvider):
    """The SDK's tracer provider, with our own tracers, and with settings that can be replaced.

    OpenTelemetry's global provider can be set only once in a process. So a second `tracemw.init`, after a shutdown,
    goes on with the same provider, and with the tracers that it has given out.

    Args:
        sampler: Decides which traces are recorded. The decision of an SDK sampler is computed without a call.
        resource: The resource of the spans.
        shutdown_on_exit: Whether the processors are shut down at the end of the process.
        active_span_processor: Holds the span processors, in place of our `Processors`.
        id_generator: Makes the ids of spans and traces.
        span_limits: The limits of a span; by default, those of the `OTEL_SPAN_*` and `OTEL_ATTRIBUTE_*` variables.
        recorder: Holds unsampled traces, and keeps some. Without a recorder, unsampled traces are not recorded.
        **more: Further arguments of the SDK's provider.
    """

    own_limits = OwnLimits()
    """The limits that the SDK does not have."""
    redact: Callable[[ReadableSpan], ReadableSpan] | None = None
    """Makes of an ended span the copy that foreign processors see; None if they see the span."""

    def __init__(
        self,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
        shutdown_on_exit: bool = True,
        active_span_processor: SynchronousMultiSpanProcessor | ConcurrentMultiSpanProcessor | None = None,
        id_generator: IdGenerator | None = None,
        span_limits: SpanLimits | None = None,
        *,
        recorder: FlightRecorder | None = None,
        **more: Any,
    ) -> None:
        processors = active_span_processor or Processors()
        super().__init__(sampler, resource, shutdown_on_exit, processors, id_generator, span_limits, **more)
        self._recorder = recorder
        self._given_out: dict[tuple[str, str | None, str | None], ApiTracer] = {}
        self._instance = _instance()
        self._process = os.getpid()
        begin_anew_with(self._handle_fork)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> ApiTracer:
        """Return the tracer of an instrumentation scope. The same scope gets the same tracer."""
        scope = (instrumenting_module_name, instrumenting_library_version, schema_url)
        if not attributes and scope in self._given_out:
            return self._given_out[scope]
        tracer = super().get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if KNOWS_THE_SDK and type(tracer) is SdkTracer:
            tracer = self._adopted(tracer)
        if not attributes and instrumenting_module_name:  # the SDK logs a missing name each time
            self._given_out[scope] = tracer
        return tracer

    def _adopted(self, tracer: SdkTracer) -> ApiTracer:
        """Return a tracer of ours in place of the SDK's, also for others who ask for the same scope."""
        scope = tracer._instrumentation_scope
        with self._tracers_lock:
            if self._tracers[scope] is tracer:  # else another thread was faster
                self._tracers[scope] = adopted = Tracer.adopt(tracer, self._recorder, self.own_limits)
                adopted.redact = self.redact
            return self._tracers[scope]

    def rearm(
        self,
        *,
        sampler: Sampler,
        resource: Resource,
        recorder: FlightRecorder | None = None,
        own_limits: OwnLimits | None = None,
    ) -> None:
        """Use another sampler, resource, recorder and limits from now on, also in the tracers given out so far."""
        self.sampler = sampler
        self._resource = resource
        self._recorder = recorder
        self.own_limits = own_limits or OwnLimits()
        with self._tracers_lock:
            for tracer in self._tracers.values():
                tracer.sampler = sampler
                tracer.resource = resource
                if isinstance(tracer, Tracer):
                    tracer.recorder = recorder
                    tracer.use(self.own_limits)

    def show_redacted(self, redact: Callable[[ReadableSpan], ReadableSpan]) -> None:
        """Have foreign processors see copies of ended spans from now on."""
        self.redact = redact
        if isinstance(self._active_span_processor, Processors):
            self._active_span_processor.redact = redact
        with self._tracers_lock:
            for tracer in self._tracers.values():
                if isinstance(tracer, Tracer):
                    tracer.redact = redact

    def show_unsampled(self, shows: bool) -> None:
        """Say whether foreign processors hear of all held spans at once, or only of kept ones."""
        if isinstance(self._active_span_processor, Processors):
            self._active_span_processor.show_unsampled(shows)

    def _handle_fork(self) -> None:
        """Give a forked child an instance id of its own, unless the id was configured.

        Newer SDKs call this method, too. Their own version of it replaces even a configured id.
        """
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        self._tracers_lock = threading.Lock()  # the parent may have held the old one at the fork
        was = self.resource.attributes.get(SERVICE_INSTANCE_ID)
        if theirs := getattr(super(), "_handle_fork", None):
            theirs()
        if was is None or was == self._instance:
            self._instance = was = _instance()
        resource = self.resource.merge(Resource({SERVICE_INSTANCE_ID: was}))
        self.rearm(sampler=self.sampler, resource=resource, recorder=self._recorder, own_limits=self.own_limits)


def _instance() -> AnyValue:
    """Return the instance id that the SDK has made up for this process. Its metrics have the same id."""
    return ServiceInstanceIdResourceDetector().detect().attributes[SERVICE_INSTANCE_ID]
