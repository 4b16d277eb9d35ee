"""The one place that reads the environment.

An argument of `tracemw.init` wins over the `OTEL_*` variables, whose meaning is that of the OpenTelemetry
specification, and those win over the plain names `TEMPO_ENDPOINT`, `SERVICE_VERSION` and `ENVIRONMENT`. Variables of
tracemw's own begin with `TRACEMW_`. One that is set to nothing counts as unset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tracemw.config.otlp import Otlp
from tracemw.config.values import (
    boolean,
    get,
    milliseconds,
    one_of,
    pairs,
    positive_int,
    read,
    size_in_bytes,
    to_ratio,
    wrong,
)

__all__ = [
    "DELIVERY_TIMEOUT",
    "KNOWN_METHODS",
    "Config",
    "Otlp",
    "control_file",
    "ignored_files",
    "known_methods",
    "unknown_propagators",
]

DELIVERY_TIMEOUT: Final = 5.0
"""Seconds that a flush, the end of a server, and that of the process wait for queued spans to be delivered."""

KNOWN_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
"""The methods of RFC 9110 and RFC 5789, and QUERY; case-sensitive."""

SAMPLERS: Final = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
TEMPORALITIES: Final = ("cumulative", "delta", "lowmemory")
HISTOGRAMS: Final = ("explicit_bucket_histogram", "base2_exponential_bucket_histogram")
_RATIO_BY_ENVIRONMENT: Final = {"production": 0.1, "prod": 0.1, "staging": 0.5}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that `tracemw.init` was told, by argument or environment."""

    service: str | None
    """`service.name`; None leaves OpenTelemetry's `unknown_service`."""

    version: str | None
    """`service.version`."""

    environment: str | None
    """`deployment.environment.name`; it also chooses the default sampling ratio."""

    traces: Otlp = field(default_factory=Otlp)
    """Where spans go, and how."""

    metrics: Otlp | None = None
    """Where HTTP metrics go, and how; None when they are not exported."""

    metrics_temporality: str = "cumulative"
    """One of `TEMPORALITIES`: what counters and histograms tell, all that has ever come or what has come lately."""

    metrics_histograms: str = "explicit_bucket_histogram"
    """One of `HISTOGRAMS`: how histograms are made that say nothing of it themselves."""

    exporter: str = "otlp"
    """`otlp`, or `none` to record without exporting."""

    sampler: str = "parentbased_traceidratio"
    """One of `SAMPLERS`."""

    ratio: float = 1.0
    """The share of new traces to sample, 0 to 1, for the ratio samplers."""

    queue_size: int = 2048
    """Spans that may wait for delivery; when there are more, the oldest are dropped."""

    queue_bytes: int = 64_000_000
    """Bytes of these spans; when there are more, the oldest are dropped, too."""

    batch_size: int = 512
    """Spans in one export at most."""

    batch_bytes: int = 3_000_000
    """Bytes of one request at most, encoded and not compressed: backends take 4 MiB, as a rule."""

    delay: float = 1.0
    """Seconds that a span waits for others to be sent along with it."""

    baggage: tuple[str, ...] = ()
    """The keys of baggage that become span attributes."""

    stacktrace_limit: int = 2000
    """Bytes that the stack trace of a recorded exception takes (`TRACEMW_STACKTRACE_LIMIT`)."""

    value_limit: int = 32_768
    """Bytes that the value of an attribute takes on the way out. A limit that `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` or
    `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT` sets, in characters, wins: the spans are cut by it before."""

    control_file: Path | None = None
    """The file that spikes are read from (`TRACEMW_CONTROL_FILE`); there need not be one yet."""

    disabled: bool = False
    """Whether all of it is a no-op (`OTEL_SDK_DISABLED`)."""

    @classmethod
    def resolve(
        cls,
        *,
        service: str | None = None,
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
        ratio: float | None = None,
        metrics: bool | None = None,
        baggage: Iterable[str] = (),
        stacktrace_limit: int | None = None,
    ) -> Config:
        """Return the configuration that the arguments and the environment make together.

        Raises:
            ValueError: naming the argument or variable, its value unless it may be a secret, and what is accepted.
            TypeError: for an argument of the wrong type.
        """
        for name, value in (
            ("service", service),
            ("version", version),
            ("environment", environment),
            ("endpoint", endpoint),
            ("protocol", protocol),
            ("tenant", tenant),
            ("certificate", certificate),
            ("client_certificate", client_certificate),
            ("client_key", client_key),
            ("compression", compression),
            ("proxy", proxy),
        ):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} takes a string, not {type(value).__name__}")
        if isinstance(baggage, str):
            raise TypeError(f"baggage takes several keys, such as ({baggage!r},), not one string")
        if stacktrace_limit is not None:
            if isinstance(stacktrace_limit, bool) or not isinstance(stacktrace_limit, int):
                raise TypeError(f"stacktrace_limit takes a whole number, not {stacktrace_limit!r}")
            stacktrace_limit = positive_int("stacktrace_limit", str(stacktrace_limit))
        resource = read("OTEL_RESOURCE_ATTRIBUTES", pairs) or {}
        environment = (
            environment
            or resource.get("deployment.environment.name")
            or resource.get("deployment.environment")  # the name it had before
            or get("ENVIRONMENT")
        )
        otlp = partial(
            Otlp.resolve,
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
        )
        with_metrics = read("OTEL_METRICS_EXPORTER", one_of("otlp", "none")) != "none" and metrics
        if ratio is not None:
            sampler, share = "parentbased_traceidratio", to_ratio("sampling", ratio)
        else:
            sampler, share = _sampler(environment)
        most_queued = _bytes("queue_bytes", queue_bytes) or cls.queue_bytes
        queue_size = read("OTEL_BSP_MAX_QUEUE_SIZE", positive_int) or cls.queue_size
        delay = read("OTEL_BSP_SCHEDULE_DELAY", milliseconds)
        return cls(
            service=service or get("OTEL_SERVICE_NAME") or resource.get("service.name"),
            version=version or resource.get("service.version") or get("SERVICE_VERSION"),
            environment=environment,
            traces=otlp("traces"),
            metrics=otlp("metrics") if with_metrics else None,
            metrics_temporality=read("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", one_of(*TEMPORALITIES))
            or cls.metrics_temporality,
            metrics_histograms=read("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", one_of(*HISTOGRAMS))
            or cls.metrics_histograms,
            exporter=read("OTEL_TRACES_EXPORTER", one_of("otlp", "none")) or cls.exporter,
            sampler=sampler,
            ratio=share,
            queue_size=queue_size,
            queue_bytes=most_queued,
            batch_size=min(read("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", positive_int) or cls.batch_size, queue_size),
            batch_bytes=min(_bytes("batch_bytes", batch_bytes) or cls.batch_bytes, most_queued),
            delay=cls.delay if delay is None else delay,
            baggage=tuple(baggage),
            stacktrace_limit=stacktrace_limit or read("TRACEMW_STACKTRACE_LIMIT", positive_int) or cls.stacktrace_limit,
            value_limit=_value_limit(cls.value_limit),
            control_file=control_file(),
            disabled=read("OTEL_SDK_DISABLED", boolean) or False,
        )


def known_methods() -> frozenset[str]:
    """Return the methods that `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` names, or `KNOWN_METHODS`."""
    names = get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS") or ""
    return frozenset(name.strip() for name in names.split(",") if name.strip()) or KNOWN_METHODS


def unknown_propagators() -> ValueError | None:
    """Return the error that `OTEL_PROPAGATORS` is when it names what is not installed; None when it does not."""
    from importlib.metadata import entry_points  # takes some time, for nothing when all is well

    value = get("OTEL_PROPAGATORS") or ""
    installed = {*entry_points(group="opentelemetry_propagator").names, "none"}
    unknown = [name for item in value.split(",") if (name := item.strip()) not in installed]
    if not unknown:
        return None
    return wrong(
        "OTEL_PROPAGATORS",
        value,
        f"there is no {', '.join(map(repr, unknown))}; installed are {', '.join(sorted(installed))}, and others come "
        "with packages such as opentelemetry-propagator-b3 and opentelemetry-propagator-aws-xray",
    )


def ignored_files() -> list[str]:
    """Return the variables that name a configuration file of OpenTelemetry, which nobody reads here."""
    return [name for name in ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE") if get(name)]


def control_file() -> Path | None:
    """Return the absolute path of the control file that `TRACEMW_CONTROL_FILE` names; None when it is unset."""
    name = get("TRACEMW_CONTROL_FILE")
    return Path(name).absolute() if name else None


def _bytes(name: str, argument: object) -> int | None:
    if argument is not None:
        return size_in_bytes(name, argument)
    return read(f"TRACEMW_{name.upper()}", size_in_bytes)


def _value_limit(default: int) -> int:
    """Return the bytes for texts that are cut by characters before: those in UTF-8 take four at most."""
    names = ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")
    characters = [int(value) for name in names if (value := get(name)) is not None and value.isdecimal()]
    return max([default, *(4 * limit for limit in characters)])


def _sampler(environment: str | None) -> tuple[str, float]:
    name = read("OTEL_TRACES_SAMPLER", one_of(*SAMPLERS))
    argument = get("OTEL_TRACES_SAMPLER_ARG")
    if name is None and argument is not None:
        return "parentbased_traceidratio", to_ratio("OTEL_TRACES_SAMPLER_ARG", argument)
    if name is None:
        return "parentbased_traceidratio", _RATIO_BY_ENVIRONMENT.get((environment or "").lower(), 1.0)
    if argument is None or not name.endswith("traceidratio"):
        return name, 1.0
    return name, to_ratio("OTEL_TRACES_SAMPLER_ARG", argument)
