"""The facts of a request: what a door knows before the application sees the request. Nothing in the room is lower."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Headers(Protocol):
    """Read access to a message's headers. For an OpenTelemetry propagator, this is the carrier."""

    def get(self, name: str, /) -> list[str]:
        """Return all values of the header with this lower-case name, in their order; an empty list without any."""
        ...

    def keys(self) -> list[str]:
        """Return the names of all headers, in lower case."""
        ...


class RequestHeaders(Headers, Protocol):
    """The headers of a request. They may carry the caller's context."""

    has_marks: bool
    """Whether `traceparent` or `baggage` may be among the headers."""


class RequestFacts(NamedTuple):
    """What a server door knows of a request before the application sees the request.

    A `skip` predicate and the hooks get the facts. Strings hold what was sent. Bytes that are not valid UTF-8 stand
    there as replacement characters.
    """

    method: str
    """The method as it was sent, known to HTTP or not."""
    path: str
    """The whole path, with the application's mount point."""
    query: str
    """The raw query string, without its question mark."""
    scheme: str
    """`http`, `https`, `ws` or `wss`: the client's, where trusted proxies tell it, else the server's."""
    headers: Headers
    """The headers, by lower-case name."""
    http_version: str | None = None
    """`1.0`, `1.1`, `2` or `3`."""
    server: tuple[str, int | None] | None = None
    """Address and port at which the server took the request."""
    peer: tuple[str, int | None] | None = None
    """Address and port of the other end of the connection."""
    client: str | None = None
    """Address of the original client, where trusted proxies name another one than the peer."""
    host: str | None = None
    """The host that the client asked for, from the Host header or from trusted proxies."""
    user_agent: str | None = None
    """The User-Agent header."""


Address = tuple[str, int | None] | None
Encoded = str | bytes | None

RawFacts = tuple[str, str, str | bytes, str, Headers, str | None, Address, Address, str | None, Encoded, Encoded]
"""The same, as the server gives it: query, host and user agent may be encoded still."""


def decoded(raw: RawFacts) -> RequestFacts:
    """Return the facts of a request with all texts decoded."""
    method, path, query, scheme, headers, http_version, server, peer, client, host, agent = raw
    host, agent = decoded_header(host), decoded_header(agent)
    return RequestFacts(
        method, path, decoded_query(query), scheme, headers, http_version, server, peer, client, host, agent
    )


def decoded_header(value: Encoded) -> str | None:
    """Return the value of a header as text; None for what no server may give."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else None


def decoded_query(query: Encoded) -> str:
    """Return a query as text. Bytes that are not valid UTF-8 become replacement characters."""
    if isinstance(query, bytes):
        return query.decode("utf-8", "replace")
    return query if isinstance(query, str) else ""


def port_of(value: object) -> int | None:
    """Return a port as a number, also of its digits; None for anything else, and for 0, which stands for none."""
    text = str(value)
    return (int(text) or None) if text.isdecimal() else None
