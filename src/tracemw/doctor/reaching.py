"""The way to the backend, up to a connection: the URL, the proxy, the name, the port."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tracemw.config import Backend
from tracemw.config.endpoint import Endpoint, address
from tracemw.config.proxy import Proxy
from tracemw.doctor.diagnosis import Check, failure, ok, warning

QUERY_PORT: Final = 3200
_HTTP_PORT: Final = 4318
_GRPC_PORT: Final = 4317
_IN_CONTAINERS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_ANOTHER: Final = "init(endpoint=...), OTEL_EXPORTER_OTLP_ENDPOINT or TEMPO_ENDPOINT names another backend"


class Address(NamedTuple):
    """An address of a host, as the resolver gives it."""

    family: int
    kind: int
    protocol: int
    address: Any


def check_endpoint(backend: Backend) -> Check:
    """Say where spans go, and whether that fits together."""
    endpoint, protocol = backend.endpoint, backend.protocol
    where = f"spans go to {endpoint} by {protocol}"
    if endpoint.port == QUERY_PORT:
        return warning(
            "endpoint",
            f"{where}, and port 3200 is by custom Tempo's port for queries",
            f"send to {endpoint.on_port(_HTTP_PORT)}, where Tempo takes spans by http/protobuf",
        )
    if (protocol, endpoint.port) in (("http/protobuf", _GRPC_PORT), ("grpc", _HTTP_PORT)):
        other, port = ("grpc", _HTTP_PORT) if protocol != "grpc" else ("http/protobuf", _GRPC_PORT)
        return warning(
            "endpoint",
            f"{where}, and port {endpoint.port} is by custom that of {other}",
            f"set OTEL_EXPORTER_OTLP_PROTOCOL={other}, or send to {endpoint.on_port(port)}",
        )
    if protocol != "grpc" and not endpoint.path.endswith("/v1/traces"):
        return warning(
            "endpoint",
            f"{where}, and OTLP's path is by custom /v1/traces",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is the whole URL: add /v1/traces, or set OTEL_EXPORTER_OTLP_ENDPOINT, "
            "to which that is added",
        )
    if "authorization" in backend.headers and not endpoint.is_secure and not endpoint.is_loopback:
        return warning("endpoint", f"{where}, and credentials with them, without TLS", "use an https:// URL")
    return ok("endpoint", where)


def check_proxy(backend: Backend) -> Check | None:
    """Say which proxy is on the way, and whether that fits together; None without a proxy."""
    if backend.proxy is None:
        return None
    where = f"spans go through the proxy {backend.proxy.host}:{backend.proxy.port}"
    if backend.endpoint.is_loopback:
        return warning(
            "proxy",
            f"{where}, although the backend is on this machine",
            f"add {backend.endpoint.host} to NO_PROXY, or set init(proxy='')",
        )
    return ok("proxy", where)


def look_up(host: str, port: int, deadline: float) -> tuple[list[Address], Check]:
    """Return the addresses of a host, and how the look-up went.

    The resolver cannot be interrupted. A thread asks it, and is left behind when the time is over.
    """
    if address(host) is not None:
        return _asked(host, port), ok("dns", f"{host} is an address: there is no name to look up")
    found: list[list[Address] | OSError | UnicodeError] = []

    def ask() -> None:
        try:
            found.append(_asked(host, port))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0.0))
    if not found:
        return [], failure(
            "dns",
            f"the resolver gives no answer about {host}",
            "see whether the name servers of /etc/resolv.conf can be reached from here",
        )
    if not isinstance(found[0], list):
        return [], failure(
            "dns",
            f"the name {host} is not known here ({found[0]})",
            f"is the name spelt right, and known in this network or container? {_ANOTHER}",
        )
    addresses = found[0]
    listed = ", ".join(dict.fromkeys(str(each.address[0]) for each in addresses))
    return addresses, ok("dns", f"{host} is {listed}")


def _asked(host: str, port: int) -> list[Address]:
    return [
        Address(family, kind, protocol, where)
        for family, kind, protocol, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ]


def connect(addresses: list[Address], deadline: float) -> socket.socket:
    """Return a connection to the first address that answers. Each address gets its share of the time.

    Raises:
        OSError: when none answers: the error of the last one.
    """
    last: OSError = OSError("there is no address")
    for index, each in enumerate(addresses):
        made = socket.socket(each.family, each.kind, each.protocol)
        try:
            made.settimeout(max((deadline - time.monotonic()) / (len(addresses) - index), 0.001))
            made.connect(each.address)
        except OSError as error:
            made.close()
            last = error
        else:
            made.settimeout(max(deadline - time.monotonic(), 0.001))
            return made
    raise last


def reach(backend: Backend, deadline: float) -> Iterator[Check]:
    """Give the checks up to a connection. After one that fails, there are no others."""
    yield check_endpoint(backend)
    through = check_proxy(backend)
    if through is not None:
        yield through
    target: Endpoint | Proxy = backend.proxy or backend.endpoint
    addresses, looked_up = look_up(target.host, target.port, deadline)
    yield looked_up
    if looked_up.status != "ok":
        return
    try:
        connect(addresses, deadline).close()
    except OSError as error:
        yield _refused(target, error, is_proxy=backend.proxy is not None)
    else:
        yield ok("port", f"{target.host}:{target.port} takes connections")


def open_tunnel(backend: Backend, deadline: float) -> socket.socket:
    """Return a connection to the backend, through the proxy if there is one.

    Raises:
        OSError: when there is none.
    """
    proxy, endpoint = backend.proxy, backend.endpoint
    target: Endpoint | Proxy = proxy or endpoint
    made = connect(_asked(target.host, target.port), deadline)
    if proxy is None:
        return made
    try:
        lines = [f"CONNECT {endpoint.host_and_port} HTTP/1.1", f"Host: {endpoint.host_and_port}"]
        if proxy.authorization is not None:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        made.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        head = b""
        while b"\r\n\r\n" not in head and len(head) < 65536 and (data := made.recv(4096)):
            head += data
            made.settimeout(max(deadline - time.monotonic(), 0.001))  # what trickles in does not extend the time
        first = head.partition(b"\r\n")[0].decode("latin-1")
        if first.split(" ")[1:2] != ["200"]:
            raise OSError(f"the proxy answers {first[:80]!r}" if first else "the proxy hangs up")
    except BaseException:
        made.close()
        raise
    return made


def _refused(target: Endpoint | Proxy, error: OSError, *, is_proxy: bool) -> Check:
    where = f"{'the proxy ' if is_proxy else ''}{target.host}:{target.port}"
    remedy = f"is a backend running there? `tracemw view` starts one on this machine; {_ANOTHER}"
    if is_proxy:
        remedy = "is the proxy running? HTTP_PROXY or HTTPS_PROXY names it, and NO_PROXY the hosts that need none"
    elif isinstance(target, Endpoint) and target.is_loopback and _is_in_container():
        remedy = f"within a container, {target.host} is the container itself: name the host of the backend; {_ANOTHER}"
    if isinstance(error, ConnectionRefusedError):
        return failure("port", f"nobody listens on {where}: the connection is refused", remedy)
    if isinstance(error, TimeoutError):
        return failure(
            "port",
            f"{where} does not answer at all: packets are lost, as behind a firewall or where no host is",
            f"do firewall, security group or network policy let this host out to it? {_ANOTHER}",
        )
    return failure("port", f"there is no way to {where} ({error.strerror or error})", remedy)


def _is_in_container() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ or any(path.exists() for path in _IN_CONTAINERS)
