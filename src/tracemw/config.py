"""The one place that reads the environment.

An argument of `tracemw.init` wins over the `OTEL_*` variables, whose meaning is that of the OpenTelemetry
specification, and those win over the plain names `TEMPO_ENDPOINT`, `SERVICE_VERSION` and `ENVIRONMENT`. Variables of
tracemw's own begin with `TRACEMW_`. One that is set to nothing counts as unset.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

T = TypeVar("T")

DEFAULT_ENDPOINT: Final = "http://localhost:4318/v1/traces"
"""Where `tracemw view` and every OTLP collector listen by default."""

DEFAULT_METRICS_ENDPOINT: Final = "http://localhost:4318/v1/metrics"

SAMPLERS: Final = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
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

    endpoint: str = DEFAULT_ENDPOINT
    """The URL that spans are posted to, its path included."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of each export, such as an authorization."""

    timeout: float = 10.0
    """Seconds that one export may take, its retries included."""

    compression: str = "none"
    """`gzip` or `none`."""

    certificate: str | None = None
    """Path of the CA certificate that the backend's is checked against; None for the well-known ones."""

    client_certificate: str | tuple[str, str] | None = None
    """Path of the certificate shown to the backend, or paths of the certificate and its key."""

    exporter: str = "otlp"
    """`otlp`, or `none` to record without exporting."""

    sampler: str = "parentbased_traceidratio"
    """One of `SAMPLERS`."""

    ratio: float = 1.0
    """The share of new traces to sample, 0 to 1, for the ratio samplers."""

    queue_size: int = 2048
    """Spans that may wait for delivery; when there are more, the oldest are dropped."""

    batch_size: int = 512
    """Spans in one export at most."""

    delay: float = 1.0
    """Seconds that a span waits for others to be sent along with it."""

    metrics: bool = False
    """Whether HTTP metrics are exported too."""

    metrics_endpoint: str = DEFAULT_METRICS_ENDPOINT
    """The URL that metrics are posted to, its path included."""

    baggage: tuple[str, ...] = ()
    """The keys of baggage that become span attributes."""

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
        headers: Mapping[str, str] | None = None,
        ratio: float | None = None,
        metrics: bool | None = None,
        baggage: Iterable[str] = (),
    ) -> Config:
        """Return the configuration that the arguments and the environment make together.

        Raises:
            ValueError: naming the argument or variable, its value, and what is accepted.
            TypeError: for an argument of the wrong type.
        """
        for name, value in (
            ("service", service),
            ("version", version),
            ("environment", environment),
            ("endpoint", endpoint),
        ):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} takes a string, not {type(value).__name__}")
        if isinstance(baggage, str):
            raise TypeError(f"baggage takes several keys, such as ({baggage!r},), not one string")
        resource = _read("OTEL_RESOURCE_ATTRIBUTES", _pairs) or {}
        environment = (
            environment
            or resource.get("deployment.environment.name")
            or resource.get("deployment.environment")  # the name it had before
            or _get("ENVIRONMENT")
        )
        _require_http()
        if ratio is not None:
            sampler, share = "parentbased_traceidratio", to_ratio("sampling", ratio)
        else:
            sampler, share = _sampler(environment)
        queue_size = _read("OTEL_BSP_MAX_QUEUE_SIZE", _positive_int) or cls.queue_size
        delay = _read("OTEL_BSP_SCHEDULE_DELAY", _milliseconds)
        timeout = _first(("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"), _milliseconds)
        return cls(
            service=service or _get("OTEL_SERVICE_NAME") or resource.get("service.name"),
            version=version or resource.get("service.version") or _get("SERVICE_VERSION"),
            environment=environment,
            endpoint=_endpoint("traces", endpoint, DEFAULT_ENDPOINT),
            headers={**_headers_from_environment(), **(headers or {})},
            timeout=cls.timeout if timeout is None else timeout,
            compression=_first(
                ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"), _one_of("gzip", "none")
            )
            or cls.compression,
            certificate=_file("CERTIFICATE"),
            client_certificate=_client_certificate(),
            exporter=_read("OTEL_TRACES_EXPORTER", _one_of("otlp", "none")) or cls.exporter,
            sampler=sampler,
            ratio=share,
            queue_size=queue_size,
            batch_size=min(_read("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _positive_int) or cls.batch_size, queue_size),
            delay=cls.delay if delay is None else delay,
            metrics=bool(metrics) and _read("OTEL_METRICS_EXPORTER", _one_of("otlp", "none")) != "none",
            metrics_endpoint=_endpoint("metrics", endpoint, DEFAULT_METRICS_ENDPOINT),
            baggage=tuple(baggage),
            control_file=control_file(),
            disabled=_read("OTEL_SDK_DISABLED", _boolean) or False,
        )


def known_methods() -> frozenset[str] | None:
    """Return the methods that `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` names; None when it is unset."""
    names = _get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS")
    return frozenset(name.strip() for name in names.split(",") if name.strip()) if names else None


def control_file() -> Path | None:
    """Return the path of the control file that `TRACEMW_CONTROL_FILE` names; None when it is unset."""
    name = _get("TRACEMW_CONTROL_FILE")
    return Path(name) if name else None


def _get(variable: str) -> str | None:
    return os.environ.get(variable, "").strip() or None


def _read(variable: str, parse: Callable[[str, str], T]) -> T | None:
    value = _get(variable)
    return None if value is None else parse(variable, value)


def _first(variables: tuple[str, ...], parse: Callable[[str, str], T]) -> T | None:
    return next((parse(variable, value) for variable in variables if (value := _get(variable)) is not None), None)


def _wrong(name: str, value: object, accepted: str) -> ValueError:
    return ValueError(f"{name}={value!r} is not accepted: {accepted}")


def _endpoint(signal: str, argument: str | None, default: str) -> str:
    """Return the URL for a signal; only `OTEL_EXPORTER_OTLP_<signal>_ENDPOINT` is one already, the others are bases."""
    variable = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    if argument is None and (exact := _get(variable)) is not None:
        return _url(variable, exact)
    bases = (
        ("endpoint", argument),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", _get("OTEL_EXPORTER_OTLP_ENDPOINT")),
        ("TEMPO_ENDPOINT", _get("TEMPO_ENDPOINT")),
    )
    for name, base in bases:
        if base is not None:
            return f"{_url(name, base).rstrip('/').removesuffix('/v1/traces')}/v1/{signal}"
    return default


def _url(name: str, value: str) -> str:
    accepted = "an http:// or https:// URL such as http://tempo:4318"
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise _wrong(name, value, accepted)
    return value


def _require_http() -> None:
    _first(("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"), _one_of("http/protobuf"))


def _headers_from_environment() -> dict[str, str]:
    return _first(("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"), _pairs) or {}


def _file(name: str) -> str | None:
    return _first((f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"), _readable)


def _readable(name: str, value: str) -> str:
    try:
        with Path(value).open("rb"):
            return value
    except OSError as error:
        raise _wrong(name, value, f"the path of a file that can be read ({error.strerror})") from None


def _client_certificate() -> str | tuple[str, str] | None:
    certificate, key = _file("CLIENT_CERTIFICATE"), _file("CLIENT_KEY")
    if certificate is None or key is None:
        return certificate
    return certificate, key


def _sampler(environment: str | None) -> tuple[str, float]:
    name = _read("OTEL_TRACES_SAMPLER", _one_of(*SAMPLERS))
    argument = _get("OTEL_TRACES_SAMPLER_ARG")
    if name is None and argument is not None:
        return "parentbased_traceidratio", to_ratio("OTEL_TRACES_SAMPLER_ARG", argument)
    if name is None:
        return "parentbased_traceidratio", _RATIO_BY_ENVIRONMENT.get((environment or "").lower(), 1.0)
    if argument is None or not name.endswith("traceidratio"):
        return name, 1.0
    return name, to_ratio("OTEL_TRACES_SAMPLER_ARG", argument)


def to_ratio(name: str, value: object) -> float:
    """Return a share of traces, given as a number or its text.

    Raises:
        ValueError: for anything but a number from 0 to 1; it says `name`.
    """
    accepted = "a number from 0 to 1"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _wrong(name, value, accepted)
    try:
        ratio = float(value)
    except (ValueError, OverflowError):
        raise _wrong(name, value, accepted) from None
    if not 0.0 <= ratio <= 1.0:
        raise _wrong(name, value, accepted)
    return ratio


def _one_of(*accepted: str) -> Callable[[str, str], str]:
    def parse(name: str, value: str) -> str:
        if value.lower() not in accepted:
            raise _wrong(name, value, f"one of {', '.join(accepted)}")
        return value.lower()

    return parse


def _boolean(name: str, value: str) -> bool:
    return _one_of("true", "false")(name, value) == "true"


def _positive_int(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) == 0:
        raise _wrong(name, value, "a whole number above 0")
    return int(value)


def _milliseconds(name: str, value: str) -> float:
    """Return seconds: a duration in the environment is a number of milliseconds, as the specification says."""
    if not value.isdecimal():
        raise _wrong(name, value, "a whole number of milliseconds")
    return int(value) / 1000


def _pairs(name: str, value: str) -> dict[str, str]:
    """Return `key=value,key=value`, percent-decoded."""
    pairs = {}
    for item in value.split(","):
        if not item.strip():
            continue
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise _wrong(name, value, "key=value pairs separated by commas")
        pairs[key.strip()] = unquote(text.strip())
    return pairs
