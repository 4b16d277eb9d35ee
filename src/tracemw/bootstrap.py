"""`init` and `shutdown`: the one place that builds providers and installs globals."""

from __future__ import annotations

import atexit
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics as otel_metrics
from opentelemetry import trace
from opentelemetry.baggage import get_baggage
from opentelemetry.context import Context
from opentelemetry.sdk.resources import (
    SERVICE_NAME,
    SERVICE_VERSION,
    Resource,
)
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider

from tracemw._context import is_silent
from tracemw._export import Delivery
from tracemw._export import Stats as Stats
from tracemw._export.delivery import LONGEST_WAIT
from tracemw._export.exporter import Exporter
from tracemw._recording import Books, FlightRecorder, TracerProvider
from tracemw.config import DELIVERY_TIMEOUT, Config, Otlp
from tracemw.control import Spike, Watch, require_duration
from tracemw.sampling import ConsistentSampler, Sampling, sampler_for

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExporter

    from tracemw._export.metrics import Observer

_logger = logging.getLogger("tracemw")

_SAME_END: Final = 1.0
"""Seconds between the end of a server's lifespan and that of its process, at most."""


class Tracing:
    """What `init` has set up. As a context manager it shuts down at the end of its block.

    Made by `init` only.
    """

    def __init__(
        self,
        provider: trace.TracerProvider,
        description: str,
        delivery: Delivery | None = None,
        meter_provider: MeterProvider | None = None,
        sampler: ConsistentSampler | None = None,
        recorder: FlightRecorder | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._provider = provider
        self._description = description
        self._delivery = delivery
        self._meter_provider = meter_provider
        self._sampler = sampler
        self._recorder = recorder
        self._watch = watch
        self._active = True

    @property
    def provider(self) -> trace.TracerProvider:
        """The tracer provider; a no-op one under `OTEL_SDK_DISABLED=true`."""
        return self._provider

    @property
    def active(self) -> bool:
        """Whether it has not been shut down."""
        return self._active

    def flush(self, timeout: float = DELIVERY_TIMEOUT) -> bool:
        """Send what is queued; tell whether the backend had accepted all of it within `timeout` seconds."""
        return self._delivery.flush(timeout) if self._delivery is not None else True

    def shutdown(self, timeout: float = DELIVERY_TIMEOUT) -> bool:
        """Send what is queued, within `timeout` seconds, and stop recording; tell whether all spans were accepted.

        A second call does nothing more; when the first is still at it, it waits with it.
        """
        deadline = time.monotonic() + min(timeout, LONGEST_WAIT)
        delivered = self._delivery.shutdown(timeout) if self._delivery is not None else True
        if self._active:
            self._active = False
            if self._meter_provider is not None:
                self._meter_provider.shutdown(timeout_millis=max(deadline - time.monotonic(), 0.1) * 1000)
            if self._watch is not None:
                self._watch.stop(max(deadline - time.monotonic(), 0.0))
        return delivered

    def spike(self, ratio: float, *, seconds: float, path: str | None = None) -> None:
        """Sample more in this process, for a while; `tracemw spike` does so in all that share a control file.

        It only raises sampling, and only that of traces which begin here. Those that it applies to carry its own
        `th`, and those that are there for it alone `tracemw.spike`. One of the same path is replaced; others stay.

        Args:
            ratio: The share of new traces to sample, above 0 and at most 1.
            seconds: How long; it ends by itself, and lasts at most 24 hours.
            path: Only requests such as `"POST /checkout/*"`; `*` crosses slashes.

        Raises:
            ValueError: for a value that is not accepted; it says what is.
            TypeError: for one of the wrong type.
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
        """End the spike that this process has begun for `path`; when there is none, do nothing."""
        if self._sampler is not None:
            self._sampler.end_spike(path)

    def stats(self) -> Stats:
        """Return what became of this process's spans so far."""
        if self._recorder is None:
            return Stats()
        return self._recorder.at_rest(self._count)

    def _count(self, books: Books) -> Stats:
        sent = self._delivery.stats() if self._delivery is not None else Stats()
        return replace(
            sent,
            unsampled=books.unsampled,
            held=books.held,
            kept=dict(books.kept),
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


class _Outlet(SpanProcessor):
    """The way out of our provider, to the delivery of the latest `init`."""

    delivery: Delivery | None = None
    takes_live_spans = True
    waited = (-math.inf, -math.inf)
    """When the latest flush that was in vain began, and ended."""

    def lead_to(self, delivery: Delivery | None) -> None:
        """Pass spans on to `delivery` from now on, without a step of its own between."""
        self.delivery = delivery
        if delivery is None:
            vars(self).pop("on_end", None)
        else:
            self.on_end = delivery.on_end  # type: ignore[method-assign]

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that is not to be exported."""

    def take(self, span: ReadableSpan) -> None:
        """Pass on a span of an unsampled trace that is kept."""
        if self.delivery is not None:
            self.delivery.take(span)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        began = time.monotonic()
        if self.delivery is None or self.delivery.force_flush(timeout_millis):
            return True
        self.waited = began, time.monotonic()
        return False

    def shutdown(self) -> None:
        if self.delivery is not None:
            self.delivery.shutdown()


class _BaggageKeys(SpanProcessor):
    """Makes attributes of the baggage that the latest `init` has named; there from the first that named any."""

    keys: tuple[str, ...] = ()
    takes_live_spans = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        for key in self.keys:
            value = get_baggage(key, parent_context)
            if value is not None:
                span.set_attribute(key, str(value))


_outlet: Final = _Outlet()
_baggage: _BaggageKeys | None = None
_lock = threading.Lock()
_provider: TracerProvider | None = None
_tracing: Tracing | None = None
_observer: Observer | None = None


def init(
    service: str | None = None,
    *,
    version: str | None = None,
    environment: str | None = None,
    endpoint: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    tenant: str | None = None,
    certificate: str | None = None,
    client_certificate: str | None = None,
    client_key: str | None = None,
    compression: str | None = None,
    timeout: float | None = None,
    proxy: str | None = None,
    sampling: float | Sampling | None = None,
    metrics: bool | None = None,
    baggage: Iterable[str] = (),
    stacktrace_limit: int | None = None,
) -> Tracing:
    """Set up tracing for this process: provider, resource, sampling, export over OTLP, and a clean shutdown.

    Every argument wins over its environment variable. `OTEL_EXPORTER_OTLP_...` goes for spans and metrics;
    `OTEL_EXPORTER_OTLP_TRACES_...` and `OTEL_EXPORTER_OTLP_METRICS_...` win for the one and the other. The end of the
    process, by `exit` or SIGTERM, delivers what is queued within 5 seconds.

    Args:
        service: `service.name`, else `OTEL_SERVICE_NAME`.
        version: `service.version`, else `OTEL_RESOURCE_ATTRIBUTES`, else `SERVICE_VERSION`.
        environment: `deployment.environment.name`, else `OTEL_RESOURCE_ATTRIBUTES`, else `ENVIRONMENT`.
        endpoint: The base URL of the backend, with no query, such as `http://tempo:4318`, else
            `OTEL_EXPORTER_OTLP_ENDPOINT`, else `TEMPO_ENDPOINT`, else `http://localhost:4318`, or
            `http://localhost:4317` for gRPC.
        protocol: `http/protobuf` or `grpc`, else `OTEL_EXPORTER_OTLP_PROTOCOL`, else the former.
        headers: Headers of each export, of spans and of metrics, added to `OTEL_EXPORTER_OTLP_HEADERS`.
        tenant: The header `X-Scope-OrgID` of each export, else `TRACEMW_TENANT`.
        certificate: The path of the CA certificates (PEM) to trust, else `OTEL_EXPORTER_OTLP_CERTIFICATE`, else those
            that the system trusts; gRPC, and metrics over HTTP, trust those that come with grpc and requests instead.
        client_certificate: The path of the certificate (PEM) to show, else `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`.
        client_key: The path of its key (PEM), unless both are in one file, else `OTEL_EXPORTER_OTLP_CLIENT_KEY`.
        compression: `gzip` or `none`, else `OTEL_EXPORTER_OTLP_COMPRESSION`, else gzip unless the backend is on this
            machine.
        timeout: Seconds that one export may take, its retries included, else `OTEL_EXPORTER_OTLP_TIMEOUT`, which is in
            milliseconds, else 10.
        proxy: The http:// URL of a proxy to go through, else `HTTP_PROXY` or `HTTPS_PROXY`, by the endpoint's scheme,
            unless `NO_PROXY` names the backend. The empty string means none.
        sampling: The share of new traces to sample, 0 to 1, or a `tracemw.sampling.Sampling`, else
            `OTEL_TRACES_SAMPLER`, else by environment: production 0.1, staging 0.5, anything else 1.
        metrics: Whether to export HTTP metrics too, to the same backend, with a meter provider of our own. Doors use
            a meter provider that is set globally in any case.
        baggage: The keys of incoming baggage that become attributes of the spans of this process, such as
            `("tenant.id",)`. Everything else in baggage is passed on and recorded nowhere.
        stacktrace_limit: Bytes that the stack trace of a recorded exception takes, else `TRACEMW_STACKTRACE_LIMIT`,
            else 2000, a little below what Grafana Tempo shows of a value. The first frame, the last ones and what the
            exceptions say are kept, and what is left out is counted.

    Raises:
        ValueError: for a value that is not accepted; it names the argument or variable, the value, and what is.
        TypeError: for an unknown argument, or one of the wrong type.
        RuntimeError: when tracing has been set up already, here or by somebody else.
    """
    if not isinstance(sampling, Sampling):
        sampling = Sampling(ratio=sampling)
    config = Config.resolve(
        service=service,
        version=version,
        environment=environment,
        endpoint=endpoint,
        protocol=protocol,
        headers=headers,
        tenant=tenant,
        certificate=certificate,
        client_certificate=client_certificate,
        client_key=client_key,
        compression=compression,
        timeout=timeout,
        proxy=proxy,
        ratio=sampling.ratio,
        metrics=metrics,
        baggage=baggage,
        stacktrace_limit=stacktrace_limit,
    )
    with _lock:
        return _install(config, sampling)


def shutdown(timeout: float = DELIVERY_TIMEOUT) -> bool:
    """Deliver what is queued, within `timeout` seconds, and stop recording; tell whether all spans were accepted.

    Without an `init` before, there is nothing to do.
    """
    return _tracing.shutdown(timeout) if _tracing is not None else True


def _end() -> None:
    """Shut down because the process ends, which it may have begun to do before: a server's lifespan ends by a flush."""
    began, ended = _outlet.waited
    just_now = time.monotonic() - ended < _SAME_END
    shutdown(max(DELIVERY_TIMEOUT - (ended - began), 0.0) if just_now else DELIVERY_TIMEOUT)


def _install(config: Config, sampling: Sampling) -> Tracing:
    global _provider, _tracing, _baggage
    if _tracing is not None and _tracing.active:
        raise RuntimeError("tracemw.init() has been called already; call tracemw.shutdown() before another init()")
    installed = trace.get_tracer_provider()
    if installed is not _provider and not isinstance(installed, (ProxyTracerProvider, NoOpTracerProvider)):
        raise RuntimeError(
            f"a tracer provider is installed already ({type(installed).__module__}.{type(installed).__qualname__}): "
            "either leave that out and let tracemw.init() set one up, or leave out tracemw.init() and pass "
            "tracer_provider= to the middleware"
        )
    if config.metrics is not None and not config.disabled and not is_silent(otel_metrics.get_meter_provider()):
        raise RuntimeError(
            "a meter provider is installed already, and OpenTelemetry takes only one in a process: leave out "
            "metrics=True, the middleware and clients use the installed one"
        )
    if config.disabled:
        _outlet.lead_to(None)
        _tracing = Tracing(NoOpTracerProvider(), "nothing is traced, as OTEL_SDK_DISABLED says")
        return _tracing
    if config.service is None:
        _logger.warning("no service name: pass one to tracemw.init() or set OTEL_SERVICE_NAME")
    sampler, resource = sampler_for(config, sampling.rules), _resource(config)
    delivery = _delivery(config) if config.exporter == "otlp" else None
    _outlet.lead_to(delivery)
    recorder = FlightRecorder(
        _outlet.take,
        is_on=sampling.keep_errors and delivery is not None and not config.sampler.endswith("always_off"),
        slow=sampling.keep_slow,
        rate=sampling.keep_rate,
    )
    if _provider is None:
        _provider = TracerProvider(sampler, resource, shutdown_on_exit=False, recorder=recorder)
        _provider.stacktrace_limit = config.stacktrace_limit
        _provider.add_span_processor(_outlet)
        trace.set_tracer_provider(_provider)
        atexit.register(_end)
        _take_sigterm()
        _take_ends_of_children()
    else:
        _provider.rearm(sampler=sampler, resource=resource, recorder=recorder, stacktrace_limit=config.stacktrace_limit)
    _provider.show_unsampled(sampling.show_unsampled)
    if _baggage is None and config.baggage:
        _baggage = _BaggageKeys()
        _provider.add_span_processor(_baggage)
    if _baggage is not None:
        _baggage.keys = config.baggage
    meter_provider = _install_metrics(config.metrics, resource) if config.metrics is not None else None
    watch = Watch(config.control_file, sampler.share) if config.control_file is not None else None
    description = _described(config, sampler, sampling if recorder.is_on else None)
    _tracing = Tracing(_provider, description, delivery, meter_provider, sampler, recorder, watch)
    _observe(delivery, _tracing.stats)
    return _tracing


def _described(config: Config, sampler: ConsistentSampler, keeping: Sampling | None) -> str:
    """Return what has been set up, in words and without what may be a secret."""
    if config.exporter == "otlp":
        way = f"sends to {config.traces.destination} by {config.traces.protocol}"
    else:
        way = "sends nothing"
    of_what = "new traces" if sampler.follows_callers else "all requests"
    parts = [f"service {config.service or 'unknown_service'}", way, f"samples {sampler.ratio:g} of {of_what}"]
    if rules := len(sampler.policy.rules):
        parts.append(f"with {rules} rule{'s' if rules > 1 else ''}")
    if keeping is not None:
        parts.append("keeps what fails" if keeping.keep_slow is None else "keeps what fails or is slow")
    return ", ".join(parts)


def _install_metrics(to: Otlp, resource: Resource) -> MeterProvider:
    # The metrics half of the SDK is loaded only by those who want it.
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = (_grpc_metrics if to.protocol == "grpc" else _http_metrics)(to)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], resource=resource, shutdown_on_exit=False)
    otel_metrics.set_meter_provider(provider)
    return provider


def _http_metrics(to: Otlp) -> MetricExporter:
    from tracemw._export.otlp_http import metric_exporter

    return metric_exporter(
        to.endpoint,
        headers=to.headers,
        timeout=to.timeout,
        compress=to.compression == "gzip",
        certificate=to.certificate,
        client_certificate=to.client_certificate,
        client_key=to.client_key,
        proxy=to.proxy,
    )


def _grpc_metrics(to: Otlp) -> MetricExporter:
    from tracemw._export.otlp_grpc import metric_exporter

    return metric_exporter(
        to.endpoint,
        headers=to.headers,
        timeout=to.timeout,
        compress=to.compression == "gzip",
        certificates=_certificates(to),
        proxy=to.proxy,
    )


def _observe(delivery: Delivery | None, stats: Callable[[], Stats]) -> None:
    """Let a meter provider that is set globally show what becomes of the spans, of this `init` and of later ones."""
    global _observer
    provider = otel_metrics.get_meter_provider()
    if _observer is None and is_silent(provider):
        return
    from tracemw._export.metrics import Observer, Source

    _observer = _observer or Observer(provider)
    _observer.follow(None if delivery is None else Source(delivery, stats))


def _resource(config: Config) -> Resource:
    named = {
        SERVICE_NAME: config.service,
        SERVICE_VERSION: config.version,
        "deployment.environment.name": config.environment,
    }
    return Resource.create({key: value for key, value in named.items() if value is not None})


def _delivery(config: Config) -> Delivery:
    to = config.traces
    return Delivery(
        _grpc_exporter(to) if to.protocol == "grpc" else _http_exporter(to),
        transport="grpc" if to.protocol == "grpc" else "http",
        destination=to.destination,
        queue_size=config.queue_size,
        batch_size=config.batch_size,
        delay=config.delay,
        timeout=to.timeout,
        value_limit=config.value_limit,
    )


def _http_exporter(to: Otlp) -> Callable[[], Exporter]:
    from tracemw._export.otlp_http import OtlpHttpExporter

    return lambda: OtlpHttpExporter(
        to.endpoint,
        headers=to.headers,
        compress=to.compression == "gzip",
        context=to.tls,
        proxy=to.proxy,
    )


def _grpc_exporter(to: Otlp) -> Callable[[], Exporter]:
    from tracemw._export.otlp_grpc import OtlpGrpcExporter

    certificates = _certificates(to)
    return lambda: OtlpGrpcExporter(
        to.endpoint,
        headers=to.headers,
        compress=to.compression == "gzip",
        certificates=certificates,
        proxy=to.proxy,
    )


def _certificates(to: Otlp) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Return what grpc takes: the certificates to trust, the key of the one to show, and that one, as PEM."""
    shown = to.client_certificate
    paths = (to.certificate, to.client_key or shown, shown)
    trusted, key, certificate = (None if path is None else Path(path).read_bytes() for path in paths)
    return trusted, key, certificate


def _take_ends_of_children() -> None:
    """Have the children of multiprocessing, billiard and Celery, which end without atexit's functions, `shutdown`."""
    _end_as_a_child()  # in a child that calls `init` itself
    os.register_at_fork(after_in_child=_end_as_a_child)


def _end_as_a_child() -> None:
    _end_with_multiprocessing()
    _end_with_celery()


def _end_with_multiprocessing() -> None:
    if "billiard" in sys.modules:  # a fork of multiprocessing that shares this, and loads it only in its children
        import_module("multiprocessing.util")
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return

    def register(function: Callable[[], bool]) -> None:
        util.Finalize(None, function, exitpriority=-100)  # after everybody else

    register(shutdown)
    util.register_after_fork(shutdown, register)  # a child forgets the one when it begins, and then does the other


def _end_with_celery() -> None:
    signals = sys.modules.get("celery.signals")
    if signals is not None:  # the last that a process of its pool does before `os._exit`
        signals.worker_process_shutdown.connect(_on_end_of_worker, dispatch_uid="tracemw")


def _on_end_of_worker(**_: object) -> None:
    shutdown()


def _take_sigterm() -> None:
    """Deliver before SIGTERM ends the process, unless the application or its server handles the signal itself."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    del frame
    try:
        _end()
    finally:  # a meter provider's exporter may raise, and yet the process ends
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
