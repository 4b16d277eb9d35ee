"""The settings that hold, each with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tracemw.config import Config, is_development
from tracemw.config.environment import get
from tracemw.doctor.diagnosis import Setting

DEFAULT: Final = "default"
_IN_PROJECT: Final = "[tool.tracemw] in pyproject.toml"
_IN_RESOURCE: Final = {
    "service": ("service.name",),
    "version": ("service.version",),
    "environment": ("deployment.environment.name", "deployment.environment"),
}
"""The attributes in `OTEL_RESOURCE_ATTRIBUTES` that say a setting."""


def settings_of(config: Config) -> list[Setting]:
    """Return the settings that matter, without secrets: of headers only the names."""
    traces, tls = config.traces, config.traces.tls
    told = _Told(config)
    settings = [
        told.setting("service", config.service or "unknown_service", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"),
        told.setting("version", config.version or "not set", "OTEL_RESOURCE_ATTRIBUTES", "SERVICE_VERSION"),
        told.setting("environment", config.environment or "not set", "OTEL_RESOURCE_ATTRIBUTES", "ENVIRONMENT"),
        told.setting("endpoint", str(traces.endpoint), *_signal("ENDPOINT"), "TEMPO_ENDPOINT"),
        told.setting("protocol", traces.protocol, *_signal("PROTOCOL")),
        Setting("headers", ", ".join(sorted(traces.headers)) or "none", told.of_headers()),
        told.setting("compression", traces.compression, *_signal("COMPRESSION")),
        told.setting("timeout", f"{traces.timeout:g} s", *_signal("TIMEOUT")),
        told.setting("certificate", tls.certificate or "what the system trusts", *_signal("CERTIFICATE")),
        told.setting("client_certificate", tls.client_certificate or "none", *_signal("CLIENT_CERTIFICATE")),
        told.setting(
            "proxy",
            f"{traces.proxy.host}:{traces.proxy.port}" if traces.proxy is not None else "none",
            *(name for each in (f"{traces.endpoint.scheme}_proxy", "no_proxy") for name in (each, each.upper())),
        ),
        told.setting("sampling", _sampling(config), "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", argument="ratio"),
        told.setting("metrics", _metrics(config), "OTEL_METRICS_EXPORTER"),
        told.setting("allow", ", ".join(sorted(config.allow)) or "none", "TRACEMW_ALLOW"),
    ]
    for name, is_set, value, variable in (
        ("exporter", config.exporter != "otlp", config.exporter, "OTEL_TRACES_EXPORTER"),
        ("disabled", config.disabled, "true", "OTEL_SDK_DISABLED"),
        ("control_file", config.control_file is not None, str(config.control_file), "TRACEMW_CONTROL_FILE"),
    ):
        if is_set:
            settings.append(told.setting(name, value, variable))
    return settings


def _signal(name: str) -> tuple[str, str]:
    return f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"


def _sampling(config: Config) -> str:
    kind = config.sampler.removeprefix("parentbased_")
    ratio = {"always_on": 1.0, "always_off": 0.0}.get(kind, config.ratio)
    return f"{ratio:g} of {'new traces' if kind != config.sampler else 'all requests'}"


def _metrics(config: Config) -> str:
    return "off" if config.metrics is None else f"to {config.metrics.endpoint}"


class _Told:
    """Knows where each setting comes from: an argument, the first variable that is set, or the default."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def setting(self, name: str, value: str, *variables: str, argument: str = "") -> Setting:
        argument = argument or name
        if argument in self._config.given:
            return Setting(name, value, f"argument {'sampling' if argument == 'ratio' else argument}")
        named = next((variable for variable in variables if _names(variable, name)), None)
        if named is None and name == "sampling" and not is_development(self._config.environment):
            return Setting(name, value, f"default in {self._config.environment}")
        if named is None and name == "allow" and self._config.allow:
            return Setting(name, value, _IN_PROJECT)
        return Setting(name, value, named or DEFAULT)

    def of_headers(self) -> str:
        return ", ".join(self._of_headers()) or DEFAULT

    def _of_headers(self) -> Iterator[str]:
        yield from (f"argument {name}" for name in ("headers", "tenant") if name in self._config.given)
        own, general = _signal("HEADERS")
        if get(own) or get(general):
            yield own if get(own) else general
        if get("TRACEMW_TENANT"):
            yield "TRACEMW_TENANT"


def _names(variable: str, setting: str) -> bool:
    """Tell whether a variable says something about a setting."""
    value = get(variable)
    if value is None or variable != "OTEL_RESOURCE_ATTRIBUTES":
        return value is not None
    return any(pair.partition("=")[0].strip() in _IN_RESOURCE[setting] for pair in value.split(","))
