"""What is installed in this process: one provider for good, and around it what the latest `init` has built."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics as otel_metrics
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NoOpTracerProvider

from tracemw._export.orders import LONGEST_WAIT
from tracemw._otel.providers import install_provider, installed_meter_provider, installed_provider, is_silent
from tracemw._process.forks import begin_anew_with
from tracemw._process.interpreter import require_the_gil
from tracemw._process.native import make_lock, wait_for
from tracemw._recording import OwnLimits, RedactedSpans, TracerProvider, end_unfinished
from tracemw._setup.baggage_keys import BaggageKeys
from tracemw._setup.between_requests import send_between_requests
from tracemw._setup.endings import PROCESS_EXIT, Endings
from tracemw._setup.instrumentations import find, turn_on
from tracemw._setup.outlet import Outlet
from tracemw._setup.pipeline import Pipeline, meter_provider_for, pipeline_for, policy_for, span_exporter_for
from tracemw._setup.tracing import Foreign, Tracing
from tracemw._setup.user_hashes import UserHashes
from tracemw._watch import Watchdog, watchdog_for
from tracemw.config import DELIVERY_TIMEOUT, Config, ignored_files, unknown_variables
from tracemw.redaction import Redaction
from tracemw.redaction.in_use import use
from tracemw.redaction.policy import RedactionPolicy
from tracemw.sampling import Sampling
from tracemw.spikes import ControlFileWatch

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider

    from tracemw._export.exporter import Exporter
    from tracemw._export.observer import Observer
    from tracemw._setup.development_warnings import DevelopmentWarnings
    from tracemw._watch.swallowed import Swallowed

_logger = logging.getLogger("tracemw")

_SAME_END: Final = 1.0
"""Seconds from the end of a server's lifespan to the end of its process, at most."""


class Installation:
    """Tracing in this process. OpenTelemetry takes one provider in a process, so a later `init` arms the same again."""

    def __init__(self) -> None:
        self._lock = make_lock()
        self._provider: TracerProvider | None = None
        self._outlet = Outlet()
        self._baggage: BaggageKeys | None = None
        self._hands_users_on = False
        self._warnings: DevelopmentWarnings | None = None
        self._endings = Endings(self.end)
        self._observer: Observer | None = None
        self._watchdog: Watchdog | None = None
        self._tracing: Tracing | None = None
        self._settings: tuple[Config, Sampling, Redaction | None] | None = None
        self._is_replaceable = False
        self._said: set[str] = set()
        """The ignored variables that the log has named."""

    def install(
        self,
        config: Config,
        sampling: Sampling,
        redaction: Redaction | None = None,
        *,
        is_replaceable: bool = False,
    ) -> Tracing:
        """Set up tracing as the settings say.

        Args:
            config: The settings of the process.
            sampling: What `init` was told about sampling.
            redaction: What `init` was told about redaction.
            is_replaceable: Whether a later call may replace the settings: `opentelemetry-instrument` has set tracing
                up, and nobody has called `init`.

        Raises:
            RuntimeError: when tracing has been set up already, and not shut down since; without the interpreter's
                global lock.
            ValueError: for an instrumentation that is asked for, and is not installed.
        """
        require_the_gil()
        instrumentations = [] if config.disabled else find(config.instrument, config.not_by_auto)
        wait_for(self._lock, LONGEST_WAIT)
        try:
            if self._tracing is not None and self._tracing.active:
                if not self._is_replaceable:
                    raise RuntimeError(
                        "tracemw.init() has been called already; call tracemw.shutdown() before another init()"
                    )
                self._tracing.shutdown()
            self._is_replaceable = is_replaceable
            self._tracing = self._set_up(config, sampling, redaction)
            self._settings = config, sampling, redaction
            turn_on(instrumentations)
            return self._tracing
        finally:
            self._lock.release()

    @property
    def settings(self) -> tuple[Config, Sampling, Redaction | None] | None:
        """What the latest `init` was told; None without one, and after its shutdown."""
        return self._settings if self._tracing is not None and self._tracing.active else None

    @property
    def is_asked_for(self) -> bool:
        """Whether the application has called `init`."""
        return self._tracing is not None and not self._is_replaceable

    def shutdown(self, timeout: float) -> bool:
        """Shut the latest `Tracing` down. Return whether all spans were accepted within `timeout` seconds."""
        return self._tracing.shutdown(timeout) if self._tracing is not None else True

    def end(self, why: str = PROCESS_EXIT, /) -> bool:
        """Shut down because the process ends.

        The lifespan of a server may have ended with a flush just before. The time of that flush counts, too.
        """
        began, ended = self._outlet.waited
        just_now = time.monotonic() - ended < _SAME_END
        if self._tracing is not None and self._tracing.active:
            if self._watchdog is not None:
                self._watchdog.tell_all()
            end_unfinished(why)
        return self.shutdown(max(DELIVERY_TIMEOUT - (ended - began), 0.0) if just_now else DELIVERY_TIMEOUT)

    def _set_up(self, config: Config, sampling: Sampling, redaction: Redaction | None) -> Tracing:
        self._say_what_is_ignored()
        if config.disabled:
            self._outlet.lead_to(None)
            return Tracing(NoOpTracerProvider(), "nothing is traced, as OTEL_SDK_DISABLED says")
        policy = policy_for(config, redaction)
        use(policy)
        begin_anew_with(policy.report.forget)
        found = installed_provider()
        if found is not None and found is not self._provider and not isinstance(found, NoOpTracerProvider):
            return _leave_alone(found)
        if config.metrics is not None and not is_silent(installed_meter_provider()):
            _logger.warning(
                "metrics=True does nothing: a meter provider is installed already, and OpenTelemetry takes only one in "
                "a process. The middleware and clients use the installed one. Leave out metrics=True, or the code that "
                "installs that provider"
            )
            config = replace(config, metrics=None)
        if config.service is None:
            _logger.warning("no service name: pass one to tracemw.init() or set OTEL_SERVICE_NAME")
        send_between_requests(self._outlet.send_here)
        pipeline = pipeline_for(config, sampling, policy, self._outlet.take, self._exporter_for(config))
        self._outlet.lead_to(pipeline.delivery)
        provider = self._arm_provider(config, pipeline)
        provider.show_redacted(RedactedSpans(policy))
        provider.show_unsampled(sampling.show_unsampled)
        self._name_baggage(provider, config.baggage)
        self._hand_users_on(provider, config)
        self._warn(provider, config)
        meter_provider = _install_metrics(config, policy, lambda: provider.resource)
        watch = (
            ControlFileWatch(config.control_file, pipeline.sampler.share) if config.control_file is not None else None
        )
        self._watchdog = watchdog_for(
            stack_after=sampling.stack_after, blame=config.blame, stacktrace_limit=config.stacktrace_limit
        )
        tracing = Tracing(
            provider,
            pipeline.description,
            delivery=pipeline.delivery,
            meter_provider=meter_provider,
            sampler=pipeline.sampler,
            recorder=pipeline.recorder,
            watch=watch,
            watchdog=self._watchdog,
            report=policy.report,
            swallowed=_watch_swallowed() if config.swallowed else None,
        )
        self._observe(pipeline, tracing)
        return tracing

    def _arm_provider(self, config: Config, pipeline: Pipeline) -> TracerProvider:
        """Return the provider of this process with a new pipeline; the first time, make and install it."""
        resource, sampler, recorder = pipeline.resource, pipeline.sampler, pipeline.recorder
        limits = OwnLimits(stacktrace=config.stacktrace_limit, fold_after=config.fold_after)
        if self._provider is None:
            self._provider = TracerProvider(sampler, resource, shutdown_on_exit=False, recorder=recorder)
            self._provider.own_limits = limits
            self._provider.add_span_processor(self._outlet)
            self._publish(self._provider)
        else:
            self._provider.rearm(sampler=sampler, resource=resource, recorder=recorder, own_limits=limits)
        return self._provider

    def _exporter_for(self, config: Config, /) -> Callable[[], Exporter] | None:
        """Return what makes the exporter of spans; None to export nothing."""
        return span_exporter_for(config)

    def _publish(self, provider: TracerProvider) -> None:
        """Make the provider the global one, for good."""
        install_provider(provider)
        self._endings.register()

    def _name_baggage(self, provider: TracerProvider, keys: tuple[str, ...]) -> None:
        if self._baggage is None and keys:
            self._baggage = BaggageKeys()
            provider.add_span_processor(self._baggage)
        if self._baggage is not None:
            self._baggage.keys = keys

    def _hand_users_on(self, provider: TracerProvider, config: Config) -> None:
        if config.pseudonym_keys and not self._hands_users_on:
            self._hands_users_on = True
            provider.add_span_processor(UserHashes())

    def _warn(self, provider: TracerProvider, config: Config) -> None:
        if self._warnings is None and config.warn:
            from tracemw._setup.development_warnings import DevelopmentWarnings  # here, since production needs none

            self._warnings = DevelopmentWarnings()
            provider.add_span_processor(self._warnings)
        if self._warnings is not None:
            self._warnings.is_on = config.warn
            self._warnings.viewer = _viewer_of(config)

    def _observe(self, pipeline: Pipeline, tracing: Tracing) -> None:
        """Have a global meter provider, if there is one, count what becomes of the spans of this and later `init`s."""
        provider = installed_meter_provider()
        if self._observer is None and (provider is None or is_silent(provider)):
            return
        from tracemw._export.observer import Observer, Source

        if self._observer is None and provider is not None:
            self._observer = Observer(provider)
        if self._observer is not None:
            delivery = pipeline.delivery
            self._observer.follow(None if delivery is None else Source(delivery, tracing.stats))

    def _say_what_is_ignored(self) -> None:
        for name in ignored_files():
            if name not in self._said:
                self._said.add(name)
                _logger.warning(
                    "%s is ignored: tracemw reads no configuration file. Use arguments of tracemw.init() or the other "
                    "OTEL_* variables, and unset this one",
                    name,
                )
        for name, meant in unknown_variables().items():
            if name not in self._said:
                self._said.add(name)
                _logger.warning("%s is ignored: tracemw has no such variable. Use %s", name, meant)


IN_THIS_PROCESS: Final = Installation()

STANDING_IN: Final[list[Installation]] = []
"""Installations of tests. The last one stands in for that of the process."""


def current_installation() -> Installation:
    """Return the installation that `init` and `shutdown` work on."""
    return STANDING_IN[-1] if STANDING_IN else IN_THIS_PROCESS


def _leave_alone(provider: trace.TracerProvider) -> Tracing:
    """Leave the provider that somebody else has installed as it is. Doors use that provider."""
    kind = f"{type(provider).__module__}.{type(provider).__qualname__}"
    _logger.warning(
        "tracemw.init() leaves tracing as it is: a tracer provider is installed already (%s), perhaps by "
        "opentelemetry-instrument. tracemw's middleware and clients use that provider, and its sampling and export. "
        "For those of tracemw, leave out the code that installs the provider; for opentelemetry-instrument, set "
        "OTEL_PYTHON_DISTRO=tracemw",
        kind,
    )
    return Tracing(provider, f"a tracer provider of others, {kind}", delivery=Foreign(provider))


def _viewer_of(config: Config) -> str | None:
    """Return the address at which a viewer shows the spans, if they go to one: the viewer listens on this machine."""
    endpoint = config.traces.endpoint
    if config.exporter != "otlp" or config.traces.protocol == "grpc" or not endpoint.is_loopback:
        return None
    return f"{endpoint.scheme}://{endpoint.authority}"


def _watch_swallowed() -> Swallowed:
    from tracemw._watch.swallowed import Swallowed  # here, since few processes need it

    swallowed = Swallowed()
    swallowed.begin()
    return swallowed


def _install_metrics(config: Config, policy: RedactionPolicy, resource: Callable[[], Resource]) -> MeterProvider | None:
    """Install a global meter provider, if metrics are to be exported."""
    if config.metrics is None:
        return None
    try:
        provider = meter_provider_for(config, config.metrics, policy, resource)
    except RuntimeError as error:  # there are no new threads
        _logger.warning("no metrics are exported: %s", error)
        return None
    otel_metrics.set_meter_provider(provider)
    return provider
