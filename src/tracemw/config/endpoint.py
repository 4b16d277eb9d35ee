"""Where a signal goes. This is the one place that parses the URL of a backend."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from tracemw.config.environment import get, of_signal
from tracemw.config.parsers import boolean, wrong, wrong_secret

PORTS: Final = {"http": 80, "https": 443}
"""The port of each scheme when a URL names none."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The parsed URL of a backend. `str` shows it without its query, which may be a secret."""

    scheme: str
    """`http` or `https`."""

    host: str
    """A name or an address, in lower case; an IPv6 address has no brackets here."""

    port: int
    """The scheme's own when the URL names none."""

    path: str = ""
    """As the URL has it, percent-encoded."""

    query: str = field(default="", repr=False)
    """Without the question mark."""

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Return the parts of an http:// or https:// URL.

        Raises:
            ValueError: for anything else.
        """
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError("not an http:// or https:// URL")
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=parts.port or PORTS[parts.scheme],
            path=parts.path,
            query=parts.query,
        )

    @property
    def is_secure(self) -> bool:
        """Whether there is TLS on the way."""
        return self.scheme == "https"

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        numeric = address(self.host)
        return self.host == "localhost" or (numeric is not None and numeric.is_loopback)

    @property
    def host_and_port(self) -> str:
        """`host:port`, with the port in any case and an IPv6 address in brackets."""
        return f"{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """`host:port` as URLs have it: without the scheme's own port."""
        return self._bracketed if self.port == PORTS[self.scheme] else self.host_and_port

    def on_port(self, port: int) -> str:
        """Return the URL of another port of the same host, without a path."""
        return f"{self.scheme}://{self._bracketed}:{port}"

    @property
    def target(self) -> str:
        """The path and the query, as a request line has them."""
        return f"{self.path or '/'}?{self.query}" if self.query else self.path or "/"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


DEFAULT_ENDPOINT: Final = Endpoint(scheme="http", host="localhost", port=4318, path="/v1/traces")
"""Where `tracemw view` and every OTLP collector listen by default."""

DEFAULT_GRPC_ENDPOINT: Final = Endpoint(scheme="http", host="localhost", port=4317)
"""Where OTLP collectors listen for gRPC by default."""


def endpoint_for(signal: str, protocol: str, argument: str | None) -> Endpoint:
    """Return where a signal goes.

    `OTEL_EXPORTER_OTLP_<signal>_ENDPOINT` is the whole URL. The argument and the other variables are bases, to which
    `/v1/<signal>` is added (OpenTelemetry specification, "OTLP Exporter"). gRPC takes no path.

    Raises:
        ValueError: for a URL that is not accepted. The error names the argument or variable.
    """
    own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    sources = (
        (own, get(own) if argument is None else None),
        ("endpoint", argument),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", get("OTEL_EXPORTER_OTLP_ENDPOINT")),
        ("TEMPO_ENDPOINT", get("TEMPO_ENDPOINT")),
    )
    name, url = next(((name, url) for name, url in sources if url is not None), ("", None))
    if protocol == "grpc":
        return DEFAULT_GRPC_ENDPOINT if url is None else _of_grpc(signal, name, url)
    if url is None:
        return replace(DEFAULT_ENDPOINT, path=f"/v1/{signal}")
    if name == own:
        return _checked(name, url, is_base=False)
    base = _checked(name, url)
    return replace(base, path=f"{base.path.rstrip('/').removesuffix('/v1/traces')}/v1/{signal}")


def _of_grpc(signal: str, name: str, target: str) -> Endpoint:
    """Return the endpoint of a gRPC target: the scheme says whether there is TLS, and the path says nothing."""
    if "://" not in target:
        insecure = of_signal(signal, "INSECURE", None, boolean)
        target = f"{'http' if insecure else 'https'}://{target}"
    return replace(_checked(name, target), path="")


def _checked(name: str, url: str, *, is_base: bool = True) -> Endpoint:
    """Return the endpoint of a URL that can be posted to. A base has no query, since a path is added to it."""
    endpoint = None
    with suppress(ValueError):
        endpoint = Endpoint.parse(url)
    # Where a URL cannot be parsed, an @ anywhere may be the end of credentials.
    if "@" in (url if endpoint is None else urlsplit(url).netloc):
        raise wrong_secret(name, "a URL without credentials, and put those into headers")
    accepted = "an http:// or https:// URL such as http://tempo:4318"
    if not url.isascii() or not url.isprintable() or " " in url:
        endpoint, accepted = None, f"{accepted}, in ASCII (a host name as xn--..., a path percent-encoded)"
    if "#" in url or (is_base and "?" in url):
        endpoint, accepted = None, f"{accepted}, with no query or fragment"
    if endpoint is None:
        shown = re.sub(r"[?#].*", lambda cut: f"{cut[0][0]}...", url, flags=re.DOTALL)  # a query may hold a key
        raise wrong(name, shown, accepted)
    return endpoint


def address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is given as; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None
