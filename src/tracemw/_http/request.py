"""One request as a server door sees it: its headers, its facts, and the attributes that its span starts with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracemw._http import semconv
from tracemw._http.facts import RawFacts, RequestFacts, decoded
from tracemw._otel.attributes import AttributeValue, LazyAttributes, Parts, whole

if TYPE_CHECKING:
    from tracemw._http.settings import ServerSettings


class ServerRequest(LazyAttributes):
    """One request as it was when it arrived. The application may change what the server gave for the request.

    The same object gives the request's headers (see `RequestHeaders`), its facts, and the attributes that its SERVER
    span starts with. Facts and attributes are made when somebody asks: most requests are never recorded.
    """

    settings: ServerSettings
    method: str
    path: str
    """The whole path, with the application's mount point."""
    mounts: tuple[str, ...]
    """The paths at which the application is mounted: one as the server sees it, one as an outer application does."""
    has_marks: bool
    """Whether a caller or a proxy has marked the request, once the headers are noted. Most requests have no marks.

    Marks are the headers `traceparent`, `baggage`, `x-request-start` and `x-queue-start`.
    """

    def note_headers(self) -> None:
        """Note the headers as they arrived, and whether marks are among them. A skipped request does without."""
        raise NotImplementedError

    def get(self, name: str, /) -> list[str]:
        """Return all values of the header with this lower-case name, in their order; an empty list without any."""
        raise NotImplementedError

    def keys(self) -> list[str]:
        """Return the names of all headers, in lower case."""
        raise NotImplementedError

    def received(self) -> str | None:
        """Return the header that says when the proxy has received the request; None without one."""
        raise NotImplementedError

    def read(self) -> RawFacts:
        """Return the facts as the server gives them, whatever proxies say."""
        raise NotImplementedError

    def facts(self) -> RequestFacts:
        """Return the facts, with what the trusted proxies on the request's way say."""
        facts, proxies = decoded(self.read()), self.settings.proxies
        return facts if proxies is None else proxies.seen_through(facts)

    def parts(self) -> Parts:
        """Return the attributes in parts."""
        settings = self.settings
        facts = self.read() if settings.proxies is None else self.facts()
        parts = semconv.server_attributes(facts, settings.known_methods)
        if settings.captures_request:
            parts.update(settings.captured_from_request.attributes(self))
        return parts

    def make(self) -> dict[str, AttributeValue]:
        """Return the attributes, in a new dictionary."""
        return whole(self.parts())
