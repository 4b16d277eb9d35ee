"""The one place that reads the environment.

An argument of `tracemw.init` wins over the `OTEL_*` variables, whose meaning is that of the OpenTelemetry
specification, and those win over the plain names `TEMPO_ENDPOINT`, `SERVICE_VERSION` and `ENVIRONMENT`. Variables of
tracemw's own begin with `TRACEMW_`. One that is set to nothing counts as unset.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

DEFAULT_ENDPOINT: Final = "http://localhost:4318/v1/traces"
"""Where `tracemw view` and every OTLP collector listen by default."""

DEFAULT_METRICS_ENDPOINT: Final = "http://localhost:4318/v1/metrics"

DEFAULT_GRPC_ENDPOINT: Final = "http://localhost:4317"
"""Where OTLP collectors listen for gRPC by default."""

DELIVERY_TIMEOUT: Final = 5.0
"""Seconds that a flush, the end of a server, and that of the process wait for queued spans to be delivered."""

PROTOCOLS: Final = ("http/protobuf", "grpc")

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
_RATIO_BY_ENVIRONMENT: Final = {"production": 0.1, "prod": 0.1, "staging": 0.5}


@dataclass(frozen=True, kw_only=True)
class Otlp:
    """Where one signal goes, and how. What may be a secret is not in its `repr`."""

    protocol: str = "http/protobuf"
    """One of `PROTOCOLS`."""

    endpoint: str = field(default=DEFAULT_ENDPOINT, repr=False)
    """The URL to post to, its path included; with gRPC, `http://host:port`, or https:// for TLS."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of each export, such as an authorization or the tenant; their names in lower case."""

    timeout: float = 10.0
    """Seconds that one export may take, its retries included."""

    compression: str = "none"
    """`gzip` or `none`."""

    certificate: str | None = None
    """Path of the CA certificates that the backend's is checked against; None for the well-known ones."""

    client_certificate: str | None = None
    """Path of the certificate shown to the backend."""

    client_key: str | None = None
    """Path of the key of that certificate; None when it is in the same file."""

    tls: ssl.SSLContext | None = field(default=None, compare=False, repr=False)
    """The certificates, loaded; None without any, when nothing is posted to an https:// URL."""

    proxy: str | None = field(default=None, repr=False)
    """The http:// URL of the proxy to go through."""

    @property
    def destination(self) -> str:
        """The endpoint without its query, which may be a secret: what the log may say."""
        return urlsplit(self.endpoint)._replace(query="").geturl()

    @classmethod
    def resolve(
        cls,
        signal: str,
        *,
        endpoint: str | None,
        protocol: str | None,
        headers: Mapping[str, str] | None,
        tenant: str | None,
        certificate: str | None,
        client_certificate: str | None,
        client_key: str | None,
        compression: str | None,
        timeout: float | None,
        proxy: str | None,
    ) -> Otlp:
        """Return what holds for a signal, `traces` or `metrics`.

        Each setting is the argument, else the variable of the signal, else the one of all signals.

        Raises:
            ValueError: naming the argument or variable, its value unless it may be a secret, and what is accepted.
            TypeError: for headers that are not strings.
        """
        protocol = _exported(signal, "PROTOCOL", protocol, _one_of(*PROTOCOLS)) or cls.protocol
        url = _endpoint(signal, protocol, endpoint)
        tls = _Tls(signal, certificate, client_certificate, client_key)
        return cls(
            protocol=protocol,
            endpoint=url,
            headers=_headers(signal, protocol, headers, tenant),
            timeout=_timeout(signal, timeout) or cls.timeout,
            compression=_exported(signal, "COMPRESSION", compression, _one_of("gzip", "none"))
            or ("none" if _is_loopback(url) else "gzip"),
            certificate=tls.certificate,
            client_certificate=tls.client_certificate,
            client_key=tls.client_key,
            tls=tls.context(https=protocol != "grpc" and url.startswith("https:")),
            proxy=_proxy(url, proxy),
        )


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that `tracemw.init` was told, by argument or environment."""

    service: str | None
    """`service.name`; None leaves OpenTelemetry's `unknown_service`."""

    version: str | None
    """`service.version`."""

    environment: str | None
    """`deployment.environment.name`; it also chooses the default sampling ratio."""

    traces: Otlp = field(default_factory=lambda: Otlp())
    """Where spans go, and how."""

    metrics: Otlp | None = None
    """Where HTTP metrics go, and how; None when they are not exported."""

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
        protocol: str | None = None,
        headers: Mapping[str, str] | None = None,
        tenant: str | None = None,
        certificate: str | None = None,
        client_certificate: str | None = None,
        client_key: str | None = None,
        compression: str | None = None,
        timeout: float | None = None,
        proxy: str | None = None,
        ratio: float | None = None,
        metrics: bool | None = None,
        baggage: Iterable[str] = (),
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
        resource = _read("OTEL_RESOURCE_ATTRIBUTES", _pairs) or {}
        environment = (
            environment
            or resource.get("deployment.environment.name")
            or resource.get("deployment.environment")  # the name it had before
            or _get("ENVIRONMENT")
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
        with_metrics = _read("OTEL_METRICS_EXPORTER", _one_of("otlp", "none")) != "none" and metrics
        if ratio is not None:
            sampler, share = "parentbased_traceidratio", to_ratio("sampling", ratio)
        else:
            sampler, share = _sampler(environment)
        queue_size = _read("OTEL_BSP_MAX_QUEUE_SIZE", _positive_int) or cls.queue_size
        delay = _read("OTEL_BSP_SCHEDULE_DELAY", _milliseconds)
        return cls(
            service=service or _get("OTEL_SERVICE_NAME") or resource.get("service.name"),
            version=version or resource.get("service.version") or _get("SERVICE_VERSION"),
            environment=environment,
            traces=otlp("traces"),
            metrics=otlp("metrics") if with_metrics else None,
            exporter=_read("OTEL_TRACES_EXPORTER", _one_of("otlp", "none")) or cls.exporter,
            sampler=sampler,
            ratio=share,
            queue_size=queue_size,
            batch_size=min(_read("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _positive_int) or cls.batch_size, queue_size),
            delay=cls.delay if delay is None else delay,
            baggage=tuple(baggage),
            control_file=control_file(),
            disabled=_read("OTEL_SDK_DISABLED", _boolean) or False,
        )


def known_methods() -> frozenset[str]:
    """Return the methods that `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` names, or `KNOWN_METHODS`."""
    names = _get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS") or ""
    return frozenset(name.strip() for name in names.split(",") if name.strip()) or KNOWN_METHODS


def unknown_propagators() -> ValueError | None:
    """Return the error that `OTEL_PROPAGATORS` is when it names what is not installed; None when it does not."""
    from importlib.metadata import entry_points  # takes some time, for nothing when all is well

    value = _get("OTEL_PROPAGATORS") or ""
    installed = {*entry_points(group="opentelemetry_propagator").names, "none"}
    unknown = [name for item in value.split(",") if (name := item.strip()) not in installed]
    if not unknown:
        return None
    return _wrong(
        "OTEL_PROPAGATORS",
        value,
        f"there is no {', '.join(map(repr, unknown))}; installed are {', '.join(sorted(installed))}, and others come "
        "with packages such as opentelemetry-propagator-b3 and opentelemetry-propagator-aws-xray",
    )


def control_file() -> Path | None:
    """Return the absolute path of the control file that `TRACEMW_CONTROL_FILE` names; None when it is unset."""
    name = _get("TRACEMW_CONTROL_FILE")
    return Path(name).absolute() if name else None


def _get(variable: str) -> str | None:
    return os.environ.get(variable, "").strip() or None


def _read(variable: str, parse: Callable[[str, str], T]) -> T | None:
    value = _get(variable)
    return None if value is None else parse(variable, value)


def _first(variables: tuple[str, ...], parse: Callable[[str, str], T]) -> T | None:
    return next((parse(variable, value) for variable in variables if (value := _get(variable)) is not None), None)


def _wrong(name: str, value: object, accepted: str) -> ValueError:
    return ValueError(f"{name}={value!r} is not accepted: {accepted}")


def _wrong_secret(name: str, accepted: str) -> ValueError:
    """Return the error for a value that is not to be shown: errors end up in logs."""
    return ValueError(f"{name} is not accepted: {accepted}")


def _exported(signal: str, name: str, argument: str | None, parse: Callable[[str, str], T]) -> T | None:
    """Return a setting of a signal: the argument, else the signal's variable, else the one of all signals."""
    if argument is not None:
        return parse(name.lower(), argument)
    return _first((f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", f"OTEL_EXPORTER_OTLP_{name}"), parse)


def _endpoint(signal: str, protocol: str, argument: str | None) -> str:
    """Return the URL for a signal; only `OTEL_EXPORTER_OTLP_<signal>_ENDPOINT` is one already, the others are bases."""
    variable = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    exact = (variable, _get(variable) if argument is None else None)
    bases = (
        ("endpoint", argument),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", _get("OTEL_EXPORTER_OTLP_ENDPOINT")),
        ("TEMPO_ENDPOINT", _get("TEMPO_ENDPOINT")),
    )
    name, value = next(((name, value) for name, value in (exact, *bases) if value is not None), ("", None))
    if protocol == "grpc":
        return DEFAULT_GRPC_ENDPOINT if value is None else _grpc_url(signal, name, value)
    if value is None:
        return DEFAULT_ENDPOINT if signal == "traces" else DEFAULT_METRICS_ENDPOINT
    if name == variable:
        return _url(name, value, is_base=False)
    return f"{_url(name, value).rstrip('/').removesuffix('/v1/traces')}/v1/{signal}"


def _grpc_url(signal: str, name: str, value: str) -> str:
    """Return the URL that a target of gRPC stands for: the scheme says whether there is TLS, and the path nothing."""
    if "://" not in value:
        insecure = _exported(signal, "INSECURE", None, _boolean)
        value = f"{'http' if insecure else 'https'}://{value}"
    parts = urlsplit(_url(name, value))
    return f"{parts.scheme}://{parts.netloc}"


def _url(name: str, value: str, *, is_base: bool = True) -> str:
    """Return a URL that can be posted to, or have a path added to it if it is a base."""
    netloc = ""
    try:
        parts = urlsplit(value)
        netloc = parts.netloc
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if "@" in (netloc if valid else value):
        raise _wrong_secret(name, "credentials belong into headers, not into the URL")
    accepted = "an http:// or https:// URL such as http://tempo:4318"
    if not value.isascii() or not value.isprintable() or " " in value:
        valid, accepted = False, f"{accepted}, in ASCII: percent-encoded, or xn-- in names"
    if "#" in value or (is_base and "?" in value):
        valid, accepted = False, f"{accepted}, with no query or fragment"
    if not valid:
        shown = re.sub(r"[?#].*", lambda cut: f"{cut[0][0]}...", value, flags=re.DOTALL)  # keys are given in queries
        raise _wrong(name, shown, accepted)
    return value


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or _address(host).is_loopback


def _address(host: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(host)
    except ValueError:
        return _NOWHERE  # a name


_NOWHERE: Final = IPv4Address(0)


def _proxy(url: str, argument: str | None) -> str | None:
    """Return the proxy to a URL: the argument, else `HTTP_PROXY` or `HTTPS_PROXY` unless `NO_PROXY` names the host."""
    parts = urlsplit(url)
    if argument is not None:
        name, value = "proxy", argument
    else:
        name = f"{parts.scheme}_proxy".upper()
        value = _get(name.lower()) or _get(name) or ""
        if _passes_by_proxies(url, _get("no_proxy") or _get("NO_PROXY") or ""):
            value = ""
    if not value:
        return None
    if "://" not in value:
        value = f"http://{value}"
    try:
        proxy = urlsplit(value)
        valid = proxy.scheme == "http" and bool(proxy.hostname) and (proxy.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise _wrong_secret(name, "an http:// URL such as http://proxy:3128")
    return value


def _passes_by_proxies(url: str, listed: str) -> bool:
    """Tell whether a list such as `.internal,*.local,tempo:4318,10.0.0.0/8,[::1]` names the host of a URL.

    A name stands for the hosts below it, too; one with a port, for that port only. `*` stands for all.
    """
    parts = urlsplit(url)
    host, address = parts.hostname or "", _address(parts.hostname or "")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for entry in filter(None, (item.strip().lower() for item in listed.split(","))):
        named, only = _WITH_PORT(entry), None
        if named is not None:
            entry, only = named[1], int(named[2])
        entry = entry.strip("[]")
        if only not in (None, port):
            continue
        name = entry.removeprefix("*.").lstrip(".")
        if entry == "*" or host == name or host.endswith(f".{name}"):
            return True
        try:
            if address is not _NOWHERE and address in ip_network(entry, strict=False):
                return True
        except ValueError:
            pass
    return False


_WITH_PORT: Final = re.compile(r"(\[.*\]|[^:]*):([0-9]+)").fullmatch
"""Of addresses of IPv6, only one in brackets can have a port."""


def _headers(signal: str, protocol: str, argument: Mapping[str, str] | None, tenant: str | None) -> dict[str, str]:
    """Return all headers of an export, by their names in lower case."""
    given: object = argument or {}
    if not (isinstance(given, Mapping) and all(isinstance(name, str) for name in given)):
        raise TypeError("headers takes a mapping of names to values, such as {'authorization': 'Bearer ...'}")
    checked = partial(_checked_headers, protocol)

    def listed(name: str, value: str) -> dict[str, str]:
        return checked(name, _pairs(name, value, is_secret=True))

    def of_tenant(name: str, value: str) -> dict[str, str]:
        return checked(name, {_TENANT: value})

    headers = _exported(signal, "HEADERS", None, listed) or {}
    headers |= _read("TRACEMW_TENANT", of_tenant) or {}
    headers |= checked("headers", argument or {})
    if tenant is not None:
        headers |= of_tenant("tenant", tenant)
    return headers


def _checked_headers(protocol: str, source: str, headers: Mapping[str, str]) -> dict[str, str]:
    (is_name, accepted), is_value = _NAMES[protocol], _VALUES[protocol]
    checked = {}
    for key, value in headers.items():
        name = key.lower()
        if not is_name(name):  # nor is that shown: a value in the wrong place looks like a name
            raise _wrong_secret(source, f"the names of headers are {accepted}")
        if not isinstance(value, str):
            raise TypeError(f"{source} takes strings, and the header {name} is a {type(value).__name__}")
        if not is_value(value):
            raise _wrong_secret(source, f"the value of the header {name} is to be printable ASCII")
        checked[name] = value
    return checked


_TENANT: Final = "x-scope-orgid"
"""The header that Grafana's backends tell tenants by."""

_NAMES: Final = {
    "http/protobuf": (re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch, "tokens, as RFC 9110 has them"),
    "grpc": (re.compile(r"[0-9a-z_.-]+(?<!-bin)").fullmatch, "letters, digits, _, - and ., and do not end in -bin"),
}
_VALUES: Final = {
    "http/protobuf": re.compile(r"[\x20-\x7e\t]*").fullmatch,
    "grpc": re.compile(r"[\x20-\x7e]*").fullmatch,
}


def _timeout(signal: str, argument: object) -> float | None:
    if argument is None:
        return _exported(signal, "TIMEOUT", None, _positive_milliseconds)
    if isinstance(argument, bool) or not isinstance(argument, (int, float)) or not 0 < argument < math.inf:
        raise _wrong("timeout", argument, "seconds, above 0")
    return float(argument)


class _Tls:
    """The files for a signal's TLS, each by the argument or the variable that names it."""

    def __init__(
        self, signal: str, certificate: str | None, client_certificate: str | None, client_key: str | None
    ) -> None:
        self._signal = signal
        self._names: dict[str, str] = {}
        self.certificate = self._file("certificate", certificate)
        self.client_certificate = self._file("client_certificate", client_certificate)
        self.client_key = self._file("client_key", client_key)
        if self.client_key is not None and self.client_certificate is None:
            raise _wrong(self._names["client_key"], self.client_key, "a key, and its certificate with it")

    def context(self, *, https: bool) -> ssl.SSLContext | None:
        """Return the certificates, loaded; None when there are none, and no need of the system's.

        Raises:
            ValueError: for a file that cannot be read, or is not what it is said to be.
        """
        if not https and self.certificate is None and self.client_certificate is None:
            return None
        import ssl  # takes 5 ms, for nothing without TLS

        if self.certificate is None:
            context = _trusting_the_system()
        else:
            try:
                context = ssl.create_default_context(cafile=self.certificate)
            except (OSError, ValueError) as error:
                raise self._unreadable("certificate", self.certificate, error) from None
        if self.client_certificate is not None:
            try:  # a key with a password is refused, rather than asked for on a terminal
                context.load_cert_chain(self.client_certificate, self.client_key, password=lambda: b"")
            except (OSError, ValueError) as error:
                of_key = self.client_key is not None and _reads_as_certificate(self.client_certificate)
                name, path = ("client_key", self.client_key) if of_key else ("client_certificate", None)
                raise self._unreadable(name, path or self.client_certificate, error) from None
        return context

    def _file(self, name: str, argument: str | None) -> str | None:
        def noted(source: str, value: str) -> str:
            self._names[name] = source
            try:
                with Path(value).open("rb"):
                    return value
            except OSError as error:
                raise self._unreadable(name, value, error) from None

        return _exported(self._signal, name.upper(), argument, noted)

    def _unreadable(self, name: str, path: str, error: Exception) -> ValueError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return _wrong(self._names[name], path, f"the path of a PEM file that can be read ({reason})")


def _reads_as_certificate(path: str) -> bool:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):
        return False
    return True


def _trusting_the_system() -> ssl.SSLContext:
    """Return a context that trusts what the system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` name.

    Where there is no such thing, as in Python for macOS, it is what certifi trusts, when that is installed.
    """
    import ssl

    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):
        try:
            import certifi
        except ImportError:
            pass
        else:
            context.load_verify_locations(certifi.where())
    return context


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


def _positive_milliseconds(name: str, value: str) -> float:
    if not (seconds := _milliseconds(name, value)):
        raise _wrong(name, value, "a whole number of milliseconds, above 0")
    return seconds


def _pairs(name: str, value: str, *, is_secret: bool = False) -> dict[str, str]:
    """Return `key=value,key=value`, percent-decoded."""
    pairs = {}
    for item in value.split(","):
        if not item.strip():
            continue
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            accepted = "key=value pairs separated by commas"
            raise _wrong_secret(name, accepted) if is_secret else _wrong(name, value, accepted)
        pairs[key.strip()] = unquote(text.strip())
    return pairs
