"""Who really called, through proxies that we trust: `Forwarded` (RFC 7239) and the `X-Forwarded-*` headers.

Anybody can send these headers. They count only as far as each hop that wrote them is trusted: the connection's other
end first, then, from the last entry to the first, each address that the hop behind it has seen.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from tracemw._http.semconv import RequestFacts, split_host

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PAIR: Final = re.compile(r"""\s*([!#$%&'*+\-.^_`|~\w]+)=(?:"((?:[^"\\]|\\.)*)"|([^;,\s"]*))\s*(;|,|$)""")


class Origin(NamedTuple):
    """What the outermost trusted proxy says of the request; None where it says nothing."""

    client: str | None = None
    scheme: str | None = None
    host: str | None = None


class TrustedProxies:
    """The proxies whose word counts.

    Args:
        proxies: Addresses and networks (`"10.0.0.0/8"`), `"unix"` for connections over a Unix socket, which have no
            address, and `"*"` for any. One string or several.

    Raises:
        ValueError: for what is none of these.
    """

    def __init__(self, proxies: str | Iterable[str] = ()) -> None:
        names = {proxies} if isinstance(proxies, str) else set(proxies)
        self._any = "*" in names
        self._unix = "unix" in names or self._any
        self._networks = tuple(_network(name) for name in names - {"*", "unix"})

    def __bool__(self) -> bool:
        return self._any or self._unix or bool(self._networks)

    def trusts(self, address: str | None) -> bool:
        """Tell whether the hop at this address is trusted; None is a connection without one."""
        if address is None:
            return self._unix
        if self._any:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        return any((mapped or parsed) in network for network in self._networks)

    def seen_through(self, facts: RequestFacts) -> RequestFacts:
        """Return the facts as they were at the outermost trusted proxy."""
        origin = self.origin(facts)
        scheme = origin.scheme.lower() if origin.scheme else facts.scheme
        if scheme not in ("http", "https"):
            scheme = facts.scheme
        elif facts.scheme in ("ws", "wss"):
            scheme = scheme.replace("http", "ws")
        return facts._replace(client=origin.client, host=origin.host, scheme=scheme)

    def origin(self, facts: RequestFacts) -> Origin:
        """Return what trusted proxies say of a request: nothing when the other end of its connection is not one."""
        if not self.trusts(facts.peer[0] if facts.peer is not None else None):
            return Origin()
        hops = _forwarded(facts.headers.get("forwarded")) or _x_forwarded(facts)
        if not hops:
            return Origin()
        # Each hop was written by the one to its right; the first that is not trusted is the client.
        for index in range(len(hops) - 1, -1, -1):
            if index == 0 or not self.trusts(hops[index].client):
                return hops[index]
        return Origin()


def _network(name: str) -> Network:
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        raise ValueError(
            f"trusted_proxies={name!r} is not accepted: an address, a network such as 10.0.0.0/8, 'unix' or '*'"
        ) from None


def _forwarded(headers: Sequence[str]) -> list[Origin]:
    """Return the hops of `Forwarded` headers, the client's first; a header that is not valid has none."""
    hops: list[Origin] = []
    pairs: dict[str, str] = {}
    text = ",".join(headers)
    position = 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None:
            return []
        name, quoted, token, end = match.groups()
        pairs[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token
        position = match.end()
        if end != ";":
            hops.append(Origin(_address(pairs.get("for")), pairs.get("proto"), pairs.get("host")))
            pairs = {}
    return hops


def _x_forwarded(facts: RequestFacts) -> list[Origin]:
    """Return the hops of the `X-Forwarded-*` headers, the client's first."""
    clients = _list(facts.headers.get("x-forwarded-for"))
    schemes = _list(facts.headers.get("x-forwarded-proto"))
    hosts = _list(facts.headers.get("x-forwarded-host"))
    count = len(clients) or min(len(schemes) + len(hosts), 1)
    return [
        Origin(
            _address(clients[index]) if clients else None, _entry(schemes, index, count), _entry(hosts, index, count)
        )
        for index in range(count)
    ]


def _entry(values: Sequence[str], index: int, count: int) -> str | None:
    """Return the value that belongs to a hop: its own when each hop has written one, else the nearest proxy's."""
    if not values:
        return None
    return values[index] if len(values) == count else values[-1]


def _list(headers: Sequence[str]) -> list[str]:
    return [value.strip() for header in headers for value in header.split(",") if value.strip()]


def _address(node: str | None) -> str | None:
    """Return the IP address of a node without its port; None for `unknown` and names that hide an address."""
    if node is None:
        return None
    try:
        return str(ipaddress.ip_address(node))
    except ValueError:
        pass
    split = split_host(node)
    try:
        return str(ipaddress.ip_address(split[0])) if split is not None else None
    except ValueError:
        return None
