"""One request as a server door sees it, and as the attributes that its span begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracemw._http import semconv
from tracemw._http.facts import RequestFacts
from tracemw._otel.attributes import AttributeValue, LazyAttributes

if TYPE_CHECKING:
    from tracemw._http.settings import ServerSettings


class ServerRequest(LazyAttributes):
    """One request as it was when it arrived: what the server gives for it may change while it is being served.

    Nothing is made of it that nobody asks for: most requests are never recorded. It is also the request's headers, by
    name (see `RequestHeaders`), and the attributes that a SERVER span has from its start.
    """

    settings: ServerSettings
    method: str
    path: str
    """The whole path, the application's mount point included."""
    mounts: tuple[str, ...]
    """The paths at which the application is mounted, as the server and as applications around it see them."""
    carries_context: bool
    """Whether `traceparent` or `baggage` is among the headers."""

    def get(self, name: str, /) -> list[str]:
        """Return every value of the header with this lower-case name, in order; none is an empty list."""
        raise NotImplementedError

    def keys(self) -> list[str]:
        """Return the names of all headers, in lower case."""
        raise NotImplementedError

    def read(self) -> RequestFacts:
        """Return the facts as the server gives them."""
        raise NotImplementedError

    def facts(self) -> RequestFacts:
        """Return the facts as the trusted proxies tell them that the request came through."""
        proxies = self.settings.proxies
        return self.read() if proxies is None else proxies.seen_through(self.read())

    def make(self) -> dict[str, AttributeValue]:
        """Return the attributes, in a new dictionary."""
        settings = self.settings
        facts = self.read() if settings.proxies is None else self.facts()
        attributes = semconv.server_attributes(facts, settings.known_methods)
        if settings.captures_request:
            attributes.update(settings.captured_from_request.attributes(facts.headers))
        return attributes
