"""What is known of a request before the application has seen it: the lowest floor of the room."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Headers(Protocol):
    """Read access to a message's headers; also what an OpenTelemetry propagator reads from."""

    def get(self, name: str, /) -> list[str]:
        """Return every value of the header with this lower-case name, in order; none is an empty list."""
        ...

    def keys(self) -> list[str]:
        """Return the names of all headers, in lower case."""
        ...


class RequestHeaders(Headers, Protocol):
    """The headers of a request, which may carry the caller's context."""

    carries_context: bool
    """Whether `traceparent` or `baggage` is there."""


class RequestFacts(NamedTuple):
    """What a server door knows of a request before the application has seen it.

    A `skip` predicate and the hooks get this. Strings hold what was sent, decoded with replacement characters where
    it was not valid UTF-8.
    """

    method: str
    """As it was sent, also when it is no method that HTTP knows."""
    path: str
    """The whole path, the application's mount point included."""
    query: str
    """The raw query string, without its question mark."""
    scheme: str
    """`http`, `https`, `ws` or `wss`, as the client sees it where trusted proxies tell."""
    headers: Headers
    """The headers, by lower-case name."""
    http_version: str | None = None
    """`1.0`, `1.1`, `2` or `3`."""
    server: tuple[str, int | None] | None = None
    """Address and port on which the server took the request."""
    peer: tuple[str, int | None] | None = None
    """Address and port of the other end of the connection."""
    client: str | None = None
    """Address of the original client, when trusted proxies tell of one other than the peer."""
    host: str | None = None
    """The host that the client asked for: the Host header, or what trusted proxies tell of it."""
    user_agent: str | None = None
    """The User-Agent header."""
