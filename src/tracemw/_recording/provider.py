"""The SDK's tracer provider, re-armable, with spans that say which stage an exception came from."""

from __future__ import annotations

import os
import threading
import uuid
import weakref
from typing import Any

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace import _Span as SdkSpan
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import Tracer as ApiTracer
from opentelemetry.util.types import Attributes

from tracemw._errors import put_stage


class TracerProvider(SdkTracerProvider):
    """A tracer provider whose sampler and resource can be set anew.

    OpenTelemetry's global provider can be set only once in a process, so that a second `tracemw.init` after a
    shutdown has to go on with the same object, and with the tracers that it has given out.
    """

    def __init__(self, *, sampler: Sampler, resource: Resource) -> None:
        super().__init__(sampler=sampler, resource=resource, shutdown_on_exit=False)
        this = weakref.ref(self)

        def after_fork() -> None:
            if (provider := this()) is not None:
                provider._renew()  # noqa: SLF001  its own class

        os.register_at_fork(after_in_child=after_fork)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> ApiTracer:
        """Return the SDK's tracer, whose spans are `StageSpan`s."""
        tracer = super().get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if type(tracer) is Tracer:
            tracer.__class__ = _Tracer
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


class _Tracer(Tracer):
    def start_span(self, *args: Any, **kwargs: Any) -> Any:
        span = super().start_span(*args, **kwargs)
        if type(span) is SdkSpan:
            span.__class__ = StageSpan
        return span


class StageSpan(SdkSpan):
    """A span that gets `error.stage` with the exception that a `tracemw.stage` has marked, whoever started it."""

    def record_exception(self, exception: BaseException, *args: Any, **kwargs: Any) -> None:
        """Record an exception event, and the stage that the exception came from."""
        put_stage(self, exception)
        super().record_exception(exception, *args, **kwargs)
