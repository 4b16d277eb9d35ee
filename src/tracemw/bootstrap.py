"""`init` and `shutdown`: the one place that builds providers and installs globals."""

from __future__ import annotations

import atexit
import inspect
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version as version_of
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics as otel_metrics
from opentelemetry import trace
from opentelemetry.baggage import get_baggage
from opentelemetry.context import Context
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
    ServiceInstanceIdResourceDetector,
)
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import NoOpTracerProvider

from tracemw._export import Delivery
from tracemw._export import Stats as Stats
from tracemw._export.delivery import LONGEST_WAIT
from tracemw._export.exporter import Exporter
from tracemw._otel.guard import unusable
from tracemw._otel.providers import install_provider, installed_meter_provider, installed_provider, is_silent
from tracemw._process.forks import begin_anew_with, check
from tracemw._process.native import is_without_threads, make_lock, wait_for
from tracemw._recording import Books, FlightRecorder, TracerProvider, end_unfinished
from tracemw.config import DELIVERY_TIMEOUT, Config, Otlp, ignored_files
from tracemw.control import Spike, Watch, require_duration
from tracemw.sampling import ConsistentSampler, Sampling, sampler_for

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider

    from tracemw._export.metrics import Observer

_logger = logging.getLogger("tracemw")

_BETWEEN_REQUESTS: Final = 1.0
"""Seconds that sending may take where it holds up the next request."""

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
        delivery: Delivery | _Foreign | None = None,
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
                try:
                    span.set_attribute(key, str(value))
                except Exception as error:  # the application's own `__str__`
                    unusable(f"the value of baggage {key!r}", error)


_outlet: Final = _Outlet()
_baggage: _BaggageKeys | None = None
_lock = make_lock()
_provider: TracerProvider | None = None
_tracing: Tracing | None = None
_is_replaceable = False
"""Whether nobody has called `init`: opentelemetry-instrument has."""
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
    queue_bytes: int | None = None,
    batch_bytes: int | None = None,
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
            that the system trusts; gRPC trusts those that come with grpc instead.
        client_certificate: The path of the certificate (PEM) to show, else `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`.
        client_key: The path of its key (PEM), unless both are in one file, else `OTEL_EXPORTER_OTLP_CLIENT_KEY`.
        compression: `gzip` or `none`, else `OTEL_EXPORTER_OTLP_COMPRESSION`, else gzip unless the backend is on this
            machine.
        timeout: Seconds that one export may take, its retries included, else `OTEL_EXPORTER_OTLP_TIMEOUT`, which is in
            milliseconds, else 10.
        proxy: The http:// URL of a proxy to go through, else `HTTP_PROXY` or `HTTPS_PROXY`, by the endpoint's scheme,
            unless `NO_PROXY` names the backend. The empty string means none.
        queue_bytes: Bytes of the spans that may wait for delivery, else `TRACEMW_QUEUE_BYTES`, else 64,000,000; when
            there are more, the oldest are dropped.
        batch_bytes: Bytes of one request at most, encoded and not compressed, else `TRACEMW_BATCH_BYTES`, else
            3,000,000; a span that is larger is dropped.
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
        RuntimeError: when `init` has been called already, and not `shutdown` since.

    A tracer provider that somebody else has installed stays: then `init` says so in the log, and what it returns
    flushes that one. One that `opentelemetry-instrument` has had tracemw install takes the new settings.
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
        queue_bytes=queue_bytes,
        batch_bytes=batch_bytes,
        ratio=sampling.ratio,
        metrics=metrics,
        baggage=baggage,
        stacktrace_limit=stacktrace_limit,
    )
    wait_for(_lock, LONGEST_WAIT)
    try:
        return _install(config, sampling)
    finally:
        _lock.release()


def shutdown(timeout: float = DELIVERY_TIMEOUT) -> bool:
    """Deliver what is queued, within `timeout` seconds, and stop recording; tell whether all spans were accepted.

    Without an `init` before, there is nothing to do.
    """
    return _tracing.shutdown(timeout) if _tracing is not None else True


PROCESS_EXIT: Final = "process_exit"
"""`error.type` of spans that are open when the process ends by itself; those that a signal ends have its name."""


def _end(why: str = PROCESS_EXIT) -> bool:
    """Shut down because the process ends, which it may have begun to do before: a server's lifespan ends by a flush."""
    began, ended = _outlet.waited
    just_now = time.monotonic() - ended < _SAME_END
    if _tracing is not None and _tracing.active:
        end_unfinished(why)
    return shutdown(max(DELIVERY_TIMEOUT - (ended - began), 0.0) if just_now else DELIVERY_TIMEOUT)


def start_without_code() -> Tracing:
    """Set up tracing by the environment alone, for `opentelemetry-instrument`; an `init` that follows replaces it."""
    global _is_replaceable
    tracing = init()
    _is_replaceable = tracing is _tracing
    return tracing


def _install(config: Config, sampling: Sampling) -> Tracing:
    global _provider, _tracing, _baggage, _is_replaceable
    if _tracing is not None and _tracing.active:
        if not _is_replaceable:
            raise RuntimeError("tracemw.init() has been called already; call tracemw.shutdown() before another init()")
        _tracing.shutdown()
    _is_replaceable = False
    _say_what_is_ignored()
    if config.disabled:
        _outlet.lead_to(None)
        _tracing = Tracing(NoOpTracerProvider(), "nothing is traced, as OTEL_SDK_DISABLED says")
        return _tracing
    installed = installed_provider()
    if installed is not None and installed is not _provider and not isinstance(installed, NoOpTracerProvider):
        _tracing = _beside(installed)
        return _tracing
    if config.metrics is not None and not is_silent(installed_meter_provider()):
        _logger.warning(
            "metrics=True does nothing: a meter provider is installed already, and OpenTelemetry takes only one in a "
            "process; the middleware and clients use the installed one. Leave out metrics=True, or what installs it"
        )
        config = replace(config, metrics=None)
    if config.service is None:
        _logger.warning("no service name: pass one to tracemw.init() or set OTEL_SERVICE_NAME")
    _do_without_threads()
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
        install_provider(_provider)
        atexit.register(_end)
        _take_signals()
        if "gunicorn.config" in sys.modules:
            with suppress(Exception):  # of a gunicorn that is another than those known
                _take_signals_of_gunicorn()
        _take_ends_of_children()
    else:
        _provider.rearm(sampler=sampler, resource=resource, recorder=recorder, stacktrace_limit=config.stacktrace_limit)
    _provider.show_unsampled(sampling.show_unsampled)
    if _baggage is None and config.baggage:
        _baggage = _BaggageKeys()
        _provider.add_span_processor(_baggage)
    if _baggage is not None:
        _baggage.keys = config.baggage
    meter_provider = None
    if config.metrics is not None:
        try:
            meter_provider = _install_metrics(config, config.metrics, resource)
        except RuntimeError as error:
            _logger.warning("no metrics are exported: %s", error)
    watch = Watch(config.control_file, sampler.share) if config.control_file is not None else None
    description = _described(config, sampler, sampling if recorder.is_on else None)
    _tracing = Tracing(_provider, description, delivery, meter_provider, sampler, recorder, watch)
    _observe(delivery, _tracing.stats)
    return _tracing


def _beside(installed: trace.TracerProvider) -> Tracing:
    """Leave a provider alone that somebody else has installed; doors and clients use it."""
    kind = f"{type(installed).__module__}.{type(installed).__qualname__}"
    _logger.warning(
        "tracemw.init() leaves tracing as it is: a tracer provider is installed already (%s), by "
        "opentelemetry-instrument perhaps. tracemw's middleware and clients use it; sampling, kept errors and export "
        "are its own. For tracemw's, leave out what installs it; opentelemetry-instrument starts tracemw with "
        "OTEL_PYTHON_DISTRO=tracemw",
        kind,
    )
    return Tracing(installed, f"a tracer provider of others, {kind}", delivery=_Foreign(installed))


class _Foreign:
    """The delivery of a provider that somebody else has installed, who shuts it down."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._flush: Callable[[int], object] | None = getattr(provider, "force_flush", None)

    def flush(self, timeout: float) -> bool:
        """Have it deliver what it has, within `timeout` seconds."""
        return True if self._flush is None else bool(self._flush(int(min(timeout, LONGEST_WAIT) * 1000)))

    def shutdown(self, timeout: float) -> bool:
        """Have it deliver what it has, and leave it as it is."""
        return self.flush(timeout)


_has_said: Final[set[str]] = set()


def _say_what_is_ignored() -> None:
    for name in ignored_files():
        if name not in _has_said:
            _has_said.add(name)
            _logger.warning(
                "%s is ignored: tracemw reads no configuration file. Arguments of tracemw.init() and the other OTEL_* "
                "variables say the same; unset it if the file is for others",
                name,
            )


def _do_without_threads() -> None:
    """Where uWSGI runs no threads, say so once, and send between two requests."""
    if not is_without_threads():
        return
    _logger.warning(
        "uWSGI runs no threads, so that spans are sent between two requests, which the next one waits for, and spikes "
        "do not come: set enable-threads = true in its configuration, or --enable-threads"
    )
    uwsgi: Any = sys.modules["uwsgi"]
    hook: Callable[[], object] | None = getattr(uwsgi, "after_req_hook", None)
    if hook is _send_between_requests:
        return

    def after_request() -> None:
        _send_between_requests()
        if hook is not None:
            hook()

    uwsgi.after_req_hook = after_request if hook is not None else _send_between_requests


def _send_between_requests() -> None:
    if _outlet.delivery is not None:
        _outlet.delivery.send_here(_BETWEEN_REQUESTS)


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


def _install_metrics(config: Config, to: Otlp, resource: Resource) -> MeterProvider:
    # The metrics half of the SDK is loaded only by those who want it.
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    from tracemw._export.metrics_exporter import MetricsExporter

    exporter = MetricsExporter(
        (_grpc_exporter(to, "metrics") if to.protocol == "grpc" else _http_exporter(to))(),
        destination=to.destination,
        timeout=to.timeout,
        temporality=config.metrics_temporality,
        histograms=config.metrics_histograms,
    )
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], resource=resource, shutdown_on_exit=False)
    otel_metrics.set_meter_provider(provider)
    return provider


def _observe(delivery: Delivery | None, stats: Callable[[], Stats]) -> None:
    """Let a meter provider that is set globally show what becomes of the spans, of this `init` and of later ones."""
    global _observer
    provider = installed_meter_provider()
    if _observer is None:
        if provider is None or is_silent(provider):
            return
        from tracemw._export.metrics import Observer

        _observer = Observer(provider)
    from tracemw._export.metrics import Source

    _observer.follow(None if delivery is None else Source(delivery, stats))


def _resource(config: Config) -> Resource:
    named = {
        SERVICE_NAME: config.service,
        SERVICE_VERSION: config.version,
        "deployment.environment.name": config.environment,
    }
    given = {key: value for key, value in named.items() if value is not None}
    try:
        return Resource.create(given)
    except RuntimeError:  # the SDK asks its detectors from threads, and there are no new ones
        return Resource(_of_this_sdk()).merge(OTELResourceDetector().detect()).merge(Resource(given))


def _of_this_sdk() -> dict[str, str]:
    return {
        SERVICE_NAME: "unknown_service",
        SERVICE_INSTANCE_ID: str(ServiceInstanceIdResourceDetector().detect().attributes[SERVICE_INSTANCE_ID]),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": version_of("opentelemetry-sdk"),
    }


def _delivery(config: Config) -> Delivery:
    to = config.traces
    return Delivery(
        _grpc_exporter(to) if to.protocol == "grpc" else _http_exporter(to),
        transport="grpc" if to.protocol == "grpc" else "http",
        destination=to.destination,
        queue_size=config.queue_size,
        queue_bytes=config.queue_bytes,
        batch_size=config.batch_size,
        batch_bytes=config.batch_bytes,
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


def _grpc_exporter(to: Otlp, signal: str = "traces") -> Callable[[], Exporter]:
    from tracemw._export.otlp_grpc import OtlpGrpcExporter

    certificates = _certificates(to)
    return lambda: OtlpGrpcExporter(
        to.endpoint,
        signal=signal,
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
    begin_anew_with(_end_as_a_child)


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

    register(_end)
    util.register_after_fork(_end, register)  # a child forgets the one when it begins, and then does the other


def _end_with_celery() -> None:
    signals = sys.modules.get("celery.signals")
    if signals is not None:  # the last that a process of its pool does before `os._exit`
        signals.worker_process_shutdown.connect(_on_end_of_worker, dispatch_uid="tracemw")


def _on_end_of_worker(**_: object) -> None:
    _end()


def _take_signals() -> None:
    """Deliver before a signal ends the process.

    SIGTERM is left to an application or a server that handles it, and finishes its requests. SIGABRT is what gunicorn
    sends to a worker that takes too long: whoever handles it ends the process at once, and so comes after this.
    """
    _take(signal.SIGTERM)
    handler = signal.getsignal(signal.SIGABRT)
    if callable(handler) and not isinstance(handler, _Ending):
        _take(signal.SIGABRT, handler)
    elif not _has_faulthandler():  # which tells where every thread was, and is not seen here
        _take(signal.SIGABRT)


def _has_faulthandler() -> bool:
    try:
        import faulthandler
    except ImportError:  # subinterpreters cannot load it
        return False
    return faulthandler.is_enabled()


def _take(number: signal.Signals, then: Callable[[int, FrameType | None], object] | None = None) -> None:
    if then is not None or signal.getsignal(number) is signal.SIG_DFL:
        with suppress(ValueError):  # only the main thread of the main interpreter may
            signal.signal(number, _Ending(then))


class _Ending:
    """The handler of a signal that ends the process.

    Args:
        then: What handles it afterwards; nothing, if it ends the process by itself.
    """

    def __init__(self, then: Callable[[int, FrameType | None], object] | None) -> None:
        self._then = then

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            _end(signal.Signals(number).name)
        finally:  # a meter provider's exporter may raise, and yet the process ends
            if self._then is not None:
                self._then(number, frame)
            else:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)


def _take_signals_of_gunicorn() -> None:
    """Have the workers that gunicorn forks later take the signals, too, once they have set up their own handlers."""
    frame = inspect.currentframe()
    config: Any = None
    while frame is not None and type(config).__module__ != "gunicorn.config":
        config = getattr(frame.f_locals.get("self"), "cfg", None)
        frame = frame.f_back
    if type(config).__module__ != "gunicorn.config":
        return
    hook = config.post_worker_init

    def post_worker_init(worker: object) -> None:
        _take_signals()
        hook(worker)

    config.set("post_worker_init", post_worker_init)
