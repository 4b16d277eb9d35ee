"""The tracer provider: the SDK's, with tracers whose spans are cheap, and re-armable."""

from __future__ import annotations

import os
import threading
import uuid
import weakref
from typing import Any

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, SpanLimits, SynchronousMultiSpanProcessor
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import Tracer as ApiTracer
from opentelemetry.util.types import Attributes

from tracemw._recording.tracer import KNOWS_THE_SDK, Processors, Tracer


class TracerProvider(SdkTracerProvider):
    """The SDK's tracer provider, with tracers whose spans are cheap, and with a sampler and resource to set anew.

    OpenTelemetry's global provider can be set only once in a process, so that a second `tracemw.init` after a
    shutdown has to go on with the same object, and with the tracers that it has given out.

    Args:
        sampler: Decides which traces are recorded; those of the SDK are computed, any other is asked.
        resource: What the spans are of.
        shutdown_on_exit: Whether the processors are shut down at the end of the process.
        active_span_processor: Holds the span processors, in place of one of our own.
        id_generator: Makes the ids of spans and traces.
        span_limits: How much a span takes; the `OTEL_SPAN_*` and `OTEL_ATTRIBUTE_*` variables unless given.
        **more: What else the SDK's provider takes.
    """

    def __init__(
        self,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
        shutdown_on_exit: bool = True,
        active_span_processor: SynchronousMultiSpanProcessor | ConcurrentMultiSpanProcessor | None = None,
        id_generator: IdGenerator | None = None,
        span_limits: SpanLimits | None = None,
        **more: Any,
    ) -> None:
        processors = active_span_processor or Processors()
        super().__init__(sampler, resource, shutdown_on_exit, processors, id_generator, span_limits, **more)
        self._given_out: dict[tuple[str, str | None, str | None], ApiTracer] = {}
        this = weakref.ref(self)

        def after_fork() -> None:
            if (provider := this()) is not None:
                provider._renew()

        os.register_at_fork(after_in_child=after_fork)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> ApiTracer:
        """Return the tracer of an instrumentation scope; the same one for the same scope."""
        scope = (instrumenting_module_name, instrumenting_library_version, schema_url)
        if not attributes and scope in self._given_out:
            return self._given_out[scope]
        tracer = super().get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if KNOWS_THE_SDK and type(tracer) is SdkTracer:
            tracer = Tracer.adopt(tracer)
        if not attributes:
            self._given_out[scope] = tracer
        return tracer

    def rearm(self, *, sampler: Sampler, resource: Resource) -> None:
        """Use another sampler and resource from now on, in every tracer given out so far too."""
        self.sampler = sampler
        self._resource = resource
        with self._tracers_lock:
            for tracer in self._tracers.values():
                tracer.sampler = sampler
                tracer.resource = resource

    def _renew(self) -> None:
        """Make a forked child an instance of its own; a lock that the parent held at the fork would stay held."""
        self._tracers_lock = threading.Lock()
        if "service.instance.id" not in OTELResourceDetector().detect().attributes:
            instance = Resource({SERVICE_INSTANCE_ID: str(uuid.uuid4())})
            self.rearm(sampler=self.sampler, resource=self.resource.merge(instance))
