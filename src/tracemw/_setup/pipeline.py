"""From the configuration to what records and exports: sampler, resource, delivery, flight recorder, exporters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
    ServiceInstanceIdResourceDetector,
)
from opentelemetry.sdk.trace import ReadableSpan

from tracemw._export import Delivery
from tracemw._export.exporter import Exporter
from tracemw._process.log import log
from tracemw._recording import FlightRecorder
from tracemw.config import Backend, Config, is_development
from tracemw.redaction import Redaction
from tracemw.redaction.policy import KeyRule, RedactionPolicy
from tracemw.redaction.remedy import remedy_for
from tracemw.sampling import ConsistentSampler, Sampling, sampler_for

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What one `init` records and exports with."""

    resource: Resource
    """The service, its version and its environment."""

    sampler: ConsistentSampler
    """Decides which traces are recorded."""

    delivery: Delivery | None
    """Exports spans; None when nothing is exported."""

    recorder: FlightRecorder
    """Holds the spans of unsampled traces until it is known whether they are kept."""

    description: str
    """The pipeline in words, without secrets."""


def policy_for(config: Config, redaction: Redaction | None) -> RedactionPolicy:
    """Return the policy that the settings ask for.

    In development, numbers and booleans pass under any key, and the log names each key that is not allowed. Elsewhere,
    it names the first key that was redacted.
    """
    is_lenient = is_development(config.environment)
    return RedactionPolicy(
        config.allow,
        redaction,
        is_lenient=is_lenient,
        tell=_tell_in_development if is_lenient else _tell_of_first,
        longest=config.value_limit,
    )


def _tell_in_development(rule: KeyRule, is_redacted: bool) -> None:
    what = "are not allowed to leave" if is_redacted else "that are numbers or booleans pass in development only"
    log(logging.WARNING, "the values of attribute %r %s; %s", rule.shown, what, remedy_for(rule))


def _tell_of_first(rule: KeyRule, is_redacted: bool) -> None:  # noqa: ARG001  nothing is lenient here
    said = (
        "the values of attribute %r are not allowed to leave; %s. stats().redacted counts what was redacted, by key; "
        "no other key is logged"
    )
    log(logging.WARNING, said, rule.shown, remedy_for(rule))


def pipeline_for(
    config: Config,
    sampling: Sampling,
    policy: RedactionPolicy,
    take: Callable[[ReadableSpan], None],
    make_exporter: Callable[[], Exporter] | None,
) -> Pipeline:
    """Return the pipeline that the settings ask for.

    Args:
        config: The settings of the process.
        sampling: What `init` was told about sampling.
        policy: What may leave.
        take: Takes each span of an unsampled trace that is kept.
        make_exporter: Makes the exporter of each process; None to export nothing.
    """
    sampler = sampler_for(config, sampling.rules)
    delivery = None if make_exporter is None else Delivery(make_exporter, config, policy=policy)
    recorder = FlightRecorder(
        take,
        is_on=sampling.keep_errors and delivery is not None and not config.sampler.endswith("always_off"),
        slow=sampling.keep_slow,
        rate=sampling.keep_rate,
    )
    return Pipeline(
        resource=_resource(config),
        sampler=sampler,
        delivery=delivery,
        recorder=recorder,
        description=_described(config, sampler, sampling if recorder.is_on else None),
    )


def meter_provider_for(
    config: Config, backend: Backend, policy: RedactionPolicy, resource: Callable[[], Resource]
) -> MeterProvider:
    """Return a meter provider that exports to a backend. Only this function loads the metrics half of the SDK.

    Args:
        config: The settings of the process.
        backend: Where the metrics go.
        policy: What may leave.
        resource: Tells the resource of the process; a forked process has an instance id of its own.

    Raises:
        RuntimeError: where the interpreter starts no new threads.
    """
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.view import View

    from tracemw._export.metrics_exporter import MetricsExporter
    from tracemw._export.metrics_reader import MetricsReader
    from tracemw._export.redacted_metrics import AllowedLabels

    reader = MetricsReader(
        MetricsExporter(_exporter_to(backend, "metrics")(), backend, policy),
        resource,
        interval=config.metrics_interval,
        timeout=config.metrics_timeout,
        temporality=config.metrics_temporality,
        histograms=config.metrics_histograms,
    )
    views = [View(instrument_name="*", attribute_keys=AllowedLabels(policy))]
    return MeterProvider([reader], resource=resource(), shutdown_on_exit=False, views=views)


def span_exporter_for(config: Config) -> Callable[[], Exporter] | None:
    """Return what makes the exporter of spans that the settings ask for; None if they ask for none."""
    return _exporter_to(config.traces, "traces") if config.exporter == "otlp" else None


def _exporter_to(backend: Backend, signal: str) -> Callable[[], Exporter]:
    """Return a function that makes an exporter. Each process makes its own, and loads only what its protocol needs."""
    if backend.protocol == "grpc":
        from tracemw._export.otlp_grpc import OtlpGrpcExporter

        return partial(OtlpGrpcExporter, backend, signal=signal, certificates=backend.tls.pem())
    from tracemw._export.otlp_http import OtlpHttpExporter

    return partial(OtlpHttpExporter, backend)


def _resource(config: Config) -> Resource:
    named = {
        SERVICE_NAME: config.service,
        SERVICE_VERSION: config.version,
        "deployment.environment.name": config.environment,
    }
    given = {key: value for key, value in named.items() if value is not None}
    try:
        return Resource.create(given)
    except RuntimeError:  # the SDK asks its detectors in threads, and there are no new ones
        return Resource(_of_this_sdk()).merge(OTELResourceDetector().detect()).merge(Resource(given))


def _of_this_sdk() -> dict[str, str]:
    return {
        SERVICE_NAME: "unknown_service",
        SERVICE_INSTANCE_ID: str(ServiceInstanceIdResourceDetector().detect().attributes[SERVICE_INSTANCE_ID]),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": version_of("opentelemetry-sdk"),
    }


def _described(config: Config, sampler: ConsistentSampler, keeping: Sampling | None) -> str:
    if config.exporter == "otlp":
        way = f"sends to {config.traces.endpoint} by {config.traces.protocol}"
    else:
        way = "sends nothing"
    of_what = "new traces" if sampler.follows_callers else "all requests"
    parts = [f"service {config.service or 'unknown_service'}", way, f"samples {sampler.ratio:g} of {of_what}"]
    if rules := len(sampler.policy.rules):
        parts.append(f"with {rules} rule{'s' if rules > 1 else ''}")
    if keeping is not None:
        parts.append("keeps what fails" if keeping.keep_slow is None else "keeps what fails or is slow")
    return ", ".join(parts)
