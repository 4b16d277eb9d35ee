"""The settings that hold, each with its source: an argument, the first variable that is set, or the default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tracemw.config import Config, is_development
from tracemw.config.environment import get
from tracemw.doctor.diagnosis import Setting

_DEFAULT: Final = "default"
_IN_PROJECT: Final = "[tool.tracemw] in pyproject.toml"
_IN_RESOURCE: Final = {
    "service": ("service.name",),
    "version": ("service.version",),
    "environment": ("deployment.environment.name", "deployment.environment"),
}
"""The attributes in `OTEL_RESOURCE_ATTRIBUTES` that say a setting."""

_NAMES_OF_ARGUMENTS: Final = {"sampling": "ratio"}
"""The settings whose argument has another name within."""


def settings_of(config: Config) -> list[Setting]:
    """Return the settings that matter, without secrets: of headers only the names."""
    traces, tls, proxy = config.traces, config.traces.tls, config.traces.proxy
    sampling = _DEFAULT if is_development(config.environment) else f"default in {config.environment}"
    proxies = [name for each in (f"{traces.endpoint.scheme}_proxy", "no_proxy") for name in (each, each.upper())]
    resource = "OTEL_RESOURCE_ATTRIBUTES"
    rows: list[tuple[str, str, Iterable[str], str]] = [
        ("service", config.service or "unknown_service", ("OTEL_SERVICE_NAME", resource), _DEFAULT),
        ("version", config.version or "not set", (resource, "SERVICE_VERSION"), _DEFAULT),
        ("environment", config.environment or "not set", (resource, "ENVIRONMENT"), _DEFAULT),
        ("endpoint", str(traces.endpoint), (*_of_spans("ENDPOINT"), "TEMPO_ENDPOINT"), _DEFAULT),
        ("protocol", traces.protocol, _of_spans("PROTOCOL"), _DEFAULT),
        ("compression", traces.compression, _of_spans("COMPRESSION"), _DEFAULT),
        ("timeout", f"{traces.timeout:g} s", _of_spans("TIMEOUT"), _DEFAULT),
        ("certificate", tls.certificate or "what the system trusts", _of_spans("CERTIFICATE"), _DEFAULT),
        ("client_certificate", tls.client_certificate or "none", _of_spans("CLIENT_CERTIFICATE"), _DEFAULT),
        ("proxy", "none" if proxy is None else f"{proxy.host}:{proxy.port}", proxies, _DEFAULT),
        ("sampling", _sampling(config), ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"), sampling),
        ("metrics", _metrics(config), ("OTEL_METRICS_EXPORTER",), _DEFAULT),
    ]
    if config.exporter != "otlp":
        rows.append(("exporter", config.exporter, ("OTEL_TRACES_EXPORTER",), _DEFAULT))
    if config.disabled:
        rows.append(("disabled", "true", ("OTEL_SDK_DISABLED",), _DEFAULT))
    if config.control_file is not None:
        rows.append(("control_file", str(config.control_file), ("TRACEMW_CONTROL_FILE",), _DEFAULT))
    settings = [
        Setting(name, value, _source(config, name, variables, default)) for name, value, variables, default in rows
    ]
    headers, allow = ", ".join(sorted(traces.headers)) or "none", ", ".join(sorted(config.allow)) or "none"
    own, general = _of_spans("HEADERS")
    variables = (own if get(own) else general, "TRACEMW_TENANT")
    settings.append(Setting("headers", headers, _sources(config, ("headers", "tenant"), variables) or _DEFAULT))
    default = _IN_PROJECT if config.allow else _DEFAULT
    settings.append(Setting("allow", allow, _sources(config, ("allow", "baggage"), ("TRACEMW_ALLOW",)) or default))
    return settings


def _of_spans(name: str) -> tuple[str, str]:
    return f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"


def _sampling(config: Config) -> str:
    kind = config.sampler.removeprefix("parentbased_")
    ratio = {"always_on": 1.0, "always_off": 0.0}.get(kind, config.ratio)
    return f"{ratio:g} of {'new traces' if kind != config.sampler else 'all requests'}"


def _metrics(config: Config) -> str:
    return "off" if config.metrics is None else f"to {config.metrics.endpoint}"


def _source(config: Config, name: str, variables: Iterable[str], default: str) -> str:
    """Return where a setting comes from that has one source."""
    if _NAMES_OF_ARGUMENTS.get(name, name) in config.given:
        return f"argument {name}"
    return next((variable for variable in variables if _says(variable, name)), default)


def _sources(config: Config, arguments: Iterable[str], variables: Iterable[str]) -> str:
    """Return where a setting comes from whose sources add up; empty for none of these."""
    given = [f"argument {name}" for name in arguments if name in config.given]
    return ", ".join([*given, *(variable for variable in variables if get(variable))])


def _says(variable: str, setting: str) -> bool:
    """Tell whether a variable says something about a setting."""
    value = get(variable)
    if value is None or variable != "OTEL_RESOURCE_ATTRIBUTES":
        return value is not None
    return any(pair.partition("=")[0].strip() in _IN_RESOURCE[setting] for pair in value.split(","))
