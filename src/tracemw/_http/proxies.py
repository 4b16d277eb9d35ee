"""Who really called, through trusted proxies: `X-Forwarded-*` headers, `Forwarded` (RFC 7239), or another one.

Anybody can send these headers, and a proxy passes on those that it does not write itself. So only one header counts:
the one that the proxies are known to write. Each hop adds the address that it saw to the end of the header. So the
entries are read from the end, as long as the hop that wrote an entry is trusted. The first such hop is the other end of
the connection. No more entries are read than there can be proxies.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from tracemw._http.facts import RequestFacts
from tracemw._http.semconv import is_header_name, split_host

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

FORWARDED: Final = "forwarded"
X_FORWARDED_FOR: Final = "x-forwarded-for"

_MOST_HOPS: Final = 32
_MOST_CHARACTERS: Final = 4096
"""Characters of a header that are read, from its end."""
_LONGEST_NODE: Final = 64
"""Characters of an address with its port. The longest possible one has 53."""

_PAIR: Final = re.compile(r"""([!#$%&'*+\-.^_`|~\w]+)=(?:"((?:[^"\\]|\\.)*)"|([^;,\s"]*))[ \t]*(?:;[ \t]*|$)""")


class Origin(NamedTuple):
    """What the outermost trusted proxy says of the request. None stands for what it does not say."""

    client: str | None = None
    scheme: str | None = None
    host: str | None = None


class TrustedProxies:
    """The proxies that are believed, and the header that they write.

    Args:
        proxies: Addresses and networks (`"10.0.0.0/8"`), `"unix"` for connections over a Unix socket, which have no
            address, and `"*"` for any. One string or several.
        header: The one header that counts: `x-forwarded-for`, with `x-forwarded-proto`, `x-forwarded-host` and
            `x-forwarded-port`; `forwarded`; or another header with the client's address, such as `cf-connecting-ip`.

    Raises:
        ValueError: for a proxy or header that is not valid.
    """

    def __init__(self, proxies: str | Iterable[str] = (), header: str = X_FORWARDED_FOR) -> None:
        names = {proxies} if isinstance(proxies, str) else set(proxies)
        self._any = "*" in names
        self._unix = "unix" in names or self._any
        self._networks = tuple(_network(name) for name in names - {"*", "unix"})
        name: object = header
        if not isinstance(name, str) or not is_header_name(name):
            raise ValueError(
                f"proxy_header={header!r} is not accepted; use the name of the one header that the trusted proxies "
                "write, such as 'x-forwarded-for' or 'forwarded'"
            )
        self._header = header.lower()

    def __bool__(self) -> bool:
        return self._any or self._unix or bool(self._networks)

    def trusts(self, address: str | None) -> bool:
        """Tell whether the hop at this address is trusted; a connection over a Unix socket has no address."""
        if address is None:
            return self._unix
        if self._any:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(_unmapped(parsed) in network for network in self._networks)

    def seen_through(self, facts: RequestFacts) -> RequestFacts:
        """Return the facts, with what the outermost trusted proxy says."""
        origin = self.origin(facts)
        scheme = origin.scheme.lower() if origin.scheme else facts.scheme
        if scheme not in ("http", "https"):
            scheme = facts.scheme
        elif facts.scheme in ("ws", "wss"):
            scheme = scheme.replace("http", "ws")
        host = facts.host if origin.host is None else origin.host
        return facts._replace(client=origin.client, host=host, scheme=scheme)

    def origin(self, facts: RequestFacts) -> Origin:
        """Return what trusted proxies say of a request; nothing if the connection's other end is no trusted proxy."""
        if not self.trusts(facts.peer[0] if facts.peer is not None else None):
            return Origin()
        if self._header == FORWARDED:
            hops = _forwarded(facts.headers.get(FORWARDED))
        elif self._header == X_FORWARDED_FOR:
            hops = _x_forwarded(facts)
        else:
            hops = (Origin(node) for node in _from_the_end(facts.headers.get(self._header)))
        # The loop begins at the server, and each hop has written the one that comes next. The first hop that is not
        # trusted is the client.
        origin = Origin()
        for _, origin in zip(range(_MOST_HOPS), hops, strict=False):
            if not self._trusts_node(origin.client):
                break
        return origin._replace(client=_address(origin.client))

    def _trusts_node(self, node: str | None) -> bool:
        if self._any:
            return True
        if node == "unix:":  # a proxy writes this for a peer that is connected over a Unix socket
            return self._unix
        address = _address(node)
        return address is not None and self.trusts(address)


def _network(name: str) -> Network:
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        raise ValueError(
            f"trusted_proxies={name!r} is not accepted; use an address, a network such as 10.0.0.0/8, 'unix' or '*'"
        ) from None


def _forwarded(headers: Sequence[str]) -> Iterator[Origin]:
    """Yield the hops of `Forwarded` headers, the last one first. End at the first that is not valid."""
    for element in _from_the_end(headers, quoted=True):
        pairs = _pairs(element)
        if not pairs:
            return
        yield Origin(pairs.get("for"), pairs.get("proto"), pairs.get("host"))


def _pairs(element: str) -> dict[str, str]:
    """Return the parameters of one hop; no parameters when the hop is not valid."""
    pairs: dict[str, str] = {}
    position = 0
    while position < len(element):
        match = _PAIR.match(element, position)
        if match is None:
            return {}
        name, quoted, token = match.groups()
        pairs[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token
        position = match.end()
    return pairs


def _x_forwarded(facts: RequestFacts) -> Iterator[Origin]:
    """Yield the hops of the `X-Forwarded-*` headers, the last one first."""
    get = facts.headers.get
    clients = list(_from_the_end(get(X_FORWARDED_FOR)))
    schemes = list(_from_the_end(get("x-forwarded-proto")))
    hosts = list(_from_the_end(get("x-forwarded-host")))
    ports = list(_from_the_end(get("x-forwarded-port")))
    if not clients and not (schemes or hosts):
        return
    count = max(len(clients), 1)
    for index in range(count):
        host, port = _entry(hosts, index, count), _entry(ports, index, count)
        if host is not None and port is not None and port.isdecimal() and (split := split_host(host)) is not None:
            host = host if split[1] is not None else f"{host}:{port}"
        yield Origin(clients[index] if clients else None, _entry(schemes, index, count), host)


def _entry(values: Sequence[str], index: int, count: int) -> str | None:
    """Return the value of a hop: its own if every hop has written one, else the nearest proxy's."""
    if not values:
        return None
    return values[index] if len(values) == count else values[0]


def _from_the_end(headers: Sequence[str], *, quoted: bool = False) -> Iterator[str]:
    """Yield the members of a list that stands in one or more headers, the last one first, within the limits above.

    Args:
        headers: The values of the header, in their order.
        quoted: Whether members may hold quoted strings, with commas in them.
    """
    budget = _MOST_CHARACTERS
    for header in reversed(headers):
        text = header[-budget:] if budget < len(header) else header
        is_cut = len(text) < len(header)
        budget -= len(text)
        members = text.rsplit(",", _MOST_HOPS)
        if is_cut or len(members) > _MOST_HOPS:
            members[0] = ""  # a part of a member, or several members that are not split
        yield from _whole(members) if quoted else filter(None, (member.strip() for member in reversed(members)))
        if budget <= 0:
            return


def _whole(parts: Sequence[str]) -> Iterator[str]:
    """Yield the members of a list from its end. The list was split at every comma, also within quoted strings.

    What the client has written stands in front. So a quote that the client leaves open spoils no entry of a proxy.
    """
    member, quotes = "", 0
    for part in reversed(parts):
        member = f"{part},{member}" if quotes else part
        quotes = (quotes + part.count('"') - part.count('\\"')) % 2
        if not quotes and (stripped := member.strip()):
            yield stripped
    if quotes:
        yield member  # not valid: its quote is open


def _address(node: str | None) -> str | None:
    """Return the IP address of a node, without its port; None for `unknown` and for names that hide an address."""
    if node is None or len(node) > _LONGEST_NODE:
        return None
    try:
        address = ipaddress.ip_address(node)
    except ValueError:
        split = split_host(node)
        try:
            address = ipaddress.ip_address(split[0] if split is not None else "")
        except ValueError:
            return None
    return str(_unmapped(address))


def _unmapped(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 one stands for: a proxy that listens on both writes `::ffff:192.0.2.7`."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
