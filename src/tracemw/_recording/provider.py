"""The SDK's tracer provider, re-armable and with a flush that keeps its timeout."""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.sampling import Sampler

from tracemw._errors import put_current_stage


class TracerProvider(SdkTracerProvider):
    """A tracer provider whose sampler and resource can be set anew.

    OpenTelemetry's global provider can be set only once in a process, so that a second `tracemw.init` after a
    shutdown has to go on with the same object, and with the tracers that it has given out.
    """

    def __init__(self, *, sampler: Sampler, resource: Resource) -> None:
        super().__init__(sampler=sampler, resource=resource, shutdown_on_exit=False)
        self.add_span_processor(_StageProcessor())

    def rearm(self, *, sampler: Sampler, resource: Resource) -> None:
        """Use another sampler and resource from now on, in every tracer given out so far too."""
        self.sampler = sampler
        self._resource = resource
        with self._tracers_lock:
            for tracer in self._tracers.values():
                tracer.sampler = sampler
                tracer.resource = resource


class _StageProcessor(SpanProcessor):
    """Puts `error.stage` on spans that others made, while the exception that a stage has marked passes through them."""

    def _on_ending(self, span: Span) -> None:
        put_current_stage(span)
