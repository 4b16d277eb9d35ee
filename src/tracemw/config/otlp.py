"""Where a signal goes over OTLP, and how."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tracemw.config.proxy import proxy_to
from tracemw.config.tls import Tls
from tracemw.config.values import (
    address,
    boolean,
    get,
    of_signal,
    one_of,
    pairs,
    positive_milliseconds,
    read,
    wrong,
    wrong_secret,
)

if TYPE_CHECKING:
    import ssl

DEFAULT_ENDPOINT: Final = "http://localhost:4318/v1/traces"
"""Where `tracemw view` and every OTLP collector listen by default."""

DEFAULT_METRICS_ENDPOINT: Final = "http://localhost:4318/v1/metrics"

DEFAULT_GRPC_ENDPOINT: Final = "http://localhost:4317"
"""Where OTLP collectors listen for gRPC by default."""

PROTOCOLS: Final = ("http/protobuf", "grpc")


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
        protocol = of_signal(signal, "PROTOCOL", protocol, one_of(*PROTOCOLS)) or cls.protocol
        url = _endpoint(signal, protocol, endpoint)
        tls = Tls(signal, certificate, client_certificate, client_key)
        return cls(
            protocol=protocol,
            endpoint=url,
            headers=_headers(signal, protocol, headers, tenant),
            timeout=_timeout(signal, timeout) or cls.timeout,
            compression=of_signal(signal, "COMPRESSION", compression, one_of("gzip", "none"))
            or ("none" if _is_loopback(url) else "gzip"),
            certificate=tls.certificate,
            client_certificate=tls.client_certificate,
            client_key=tls.client_key,
            tls=tls.context(https=protocol != "grpc" and url.startswith("https:")),
            proxy=proxy_to(url, proxy),
        )


def _endpoint(signal: str, protocol: str, argument: str | None) -> str:
    """Return the URL for a signal; only `OTEL_EXPORTER_OTLP_<signal>_ENDPOINT` is one already, the others are bases."""
    variable = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    exact = (variable, get(variable) if argument is None else None)
    bases = (
        ("endpoint", argument),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", get("OTEL_EXPORTER_OTLP_ENDPOINT")),
        ("TEMPO_ENDPOINT", get("TEMPO_ENDPOINT")),
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
        insecure = of_signal(signal, "INSECURE", None, boolean)
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
        raise wrong_secret(name, "credentials belong into headers, not into the URL")
    accepted = "an http:// or https:// URL such as http://tempo:4318"
    if not value.isascii() or not value.isprintable() or " " in value:
        valid, accepted = False, f"{accepted}, in ASCII: percent-encoded, or xn-- in names"
    if "#" in value or (is_base and "?" in value):
        valid, accepted = False, f"{accepted}, with no query or fragment"
    if not valid:
        shown = re.sub(r"[?#].*", lambda cut: f"{cut[0][0]}...", value, flags=re.DOTALL)  # keys are given in queries
        raise wrong(name, shown, accepted)
    return value


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    numeric = address(host)
    return host == "localhost" or (numeric is not None and numeric.is_loopback)


def _headers(signal: str, protocol: str, argument: Mapping[str, str] | None, tenant: str | None) -> dict[str, str]:
    """Return all headers of an export, by their names in lower case."""
    given: object = argument or {}
    if not (isinstance(given, Mapping) and all(isinstance(name, str) for name in given)):
        raise TypeError("headers takes a mapping of names to values, such as {'authorization': 'Bearer ...'}")
    checked = partial(_checked_headers, protocol)

    def listed(name: str, value: str) -> dict[str, str]:
        return checked(name, pairs(name, value, is_secret=True))

    def of_tenant(name: str, value: str) -> dict[str, str]:
        return checked(name, {_TENANT: value})

    headers = of_signal(signal, "HEADERS", None, listed) or {}
    headers |= read("TRACEMW_TENANT", of_tenant) or {}
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
            raise wrong_secret(source, f"the names of headers are {accepted}")
        if not isinstance(value, str):
            raise TypeError(f"{source} takes strings, and the header {name} is a {type(value).__name__}")
        if not is_value(value):
            raise wrong_secret(source, f"the value of the header {name} is to be printable ASCII")
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
        return of_signal(signal, "TIMEOUT", None, positive_milliseconds)
    if isinstance(argument, bool) or not isinstance(argument, (int, float)) or not 0 < argument < math.inf:
        raise wrong("timeout", argument, "seconds, above 0")
    return float(argument)
