"""The backend of one signal: where it is, and how it is spoken to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tracemw.config.arguments import Arguments
from tracemw.config.endpoint import DEFAULT_ENDPOINT, Endpoint, endpoint_for
from tracemw.config.environment import of_signal
from tracemw.config.headers import headers_for
from tracemw.config.parsers import one_of, positive_milliseconds, wrong
from tracemw.config.proxy import Proxy, proxy_to
from tracemw.config.tls import Tls

PROTOCOLS: Final = ("http/protobuf", "grpc")


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Where one signal goes over OTLP, and how. What may be a secret is not in its `repr`."""

    protocol: str = "http/protobuf"
    """One of `PROTOCOLS`."""

    endpoint: Endpoint = DEFAULT_ENDPOINT
    """What is posted to, the path included; gRPC needs no path."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of each export, such as an authorization or the tenant; their names in lower case."""

    timeout: float = 10.0
    """Seconds that one export may take, its retries included."""

    compression: str = "none"
    """`gzip` or `none`."""

    tls: Tls = field(default_factory=Tls)
    """Whom to trust, and what to show."""

    proxy: Proxy | None = None
    """The proxy to go through."""

    @classmethod
    def resolve(cls, signal: str, arguments: Arguments) -> Backend:
        """Return what holds for a signal, `traces` or `metrics`.

        Each setting is the argument, else the variable of the signal, else the variable of all signals.

        Raises:
            ValueError: naming the argument or variable, its value unless it may be a secret, and what is accepted.
            TypeError: for headers that are not strings.
        """
        protocol = of_signal(signal, "PROTOCOL", arguments.protocol, one_of(*PROTOCOLS)) or cls.protocol
        endpoint = endpoint_for(signal, protocol, arguments.endpoint)
        return cls(
            protocol=protocol,
            endpoint=endpoint,
            headers=headers_for(signal, protocol, arguments.headers, arguments.tenant),
            timeout=_timeout(signal, arguments.timeout) or cls.timeout,
            compression=of_signal(signal, "COMPRESSION", arguments.compression, one_of("gzip", "none"))
            or ("none" if endpoint.is_loopback else "gzip"),
            tls=Tls.resolve(signal, arguments, needs_context=protocol != "grpc" and endpoint.is_secure),
            proxy=proxy_to(endpoint, arguments.proxy),
        )


def _timeout(signal: str, argument: object) -> float | None:
    if argument is None:
        return of_signal(signal, "TIMEOUT", None, positive_milliseconds)
    if isinstance(argument, bool) or not isinstance(argument, (int, float)) or not 0 < argument < math.inf:
        raise wrong("timeout", argument, "seconds, above 0")
    return float(argument)
