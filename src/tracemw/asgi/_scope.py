"""A request's scope, read as the facts of the request."""

from __future__ import annotations

from typing import Any, Final

from tracemw._http.facts import RawFacts, port_of
from tracemw._http.request import ServerRequest
from tracemw._http.settings import ServerSettings
from tracemw.asgi._types import Scope

_LEFT_OUT: Final[Scope] = {
    "type": "http",
    "method": "GET",
    "path": "",
    "root_path": "",
    "headers": (),
    "query_string": b"",
    "scheme": "http",
    "http_version": None,
    "server": None,
    "client": None,
}
"""What a scope may leave out. A WebSocket has no method."""


_DIGITS_OF_A_SMALL_BODY: Final = 4


class ScopeRequest(ServerRequest):
    """A request's scope, and its headers as they were when the request arrived."""

    _headers: Any
    """The headers as the server gives them."""

    _by_name: dict[bytes, bytes] | None
    """The headers by name, once they are noted."""
    _host: bytes | None
    _all: tuple[tuple[bytes, bytes], ...] | None = None
    """All headers, if some names come more than once."""

    def arrive(self, scope: Scope, settings: ServerSettings) -> None:
        """Take the scope. The door calls this first; an `__init__` would take longer."""
        self.scope = scope
        self.settings = settings
        try:
            method, path = scope["method"], scope["path"]
            root, headers = scope["root_path"], scope["headers"]
        except KeyError:
            given = {**_LEFT_OUT, **scope}
            method, path = given["method"], given["path"]
            root, headers = given["root_path"], given["headers"]
        self.method, self.path, self._headers = method or "GET", path or "", headers
        self.mounts = _mounts(scope) if root else ()
        self._by_name = None

    def note_headers(self) -> None:
        raw = self._headers
        if type(raw) is not list:
            raw = self._listed(raw)
        by_name = dict(raw)
        # Some servers break ASGI's rule that names are in lower case. Then "host" is missing, or is one that somebody
        # has added beside the server's "Host".
        host = by_name.get(b"host")
        if host is None or len(by_name) != len(raw):
            by_name = {name.lower(): value for name, value in reversed(raw)}  # of those with the same name, the first
            host = by_name.get(b"host")
            self._all = None if len(by_name) == len(raw) else tuple(raw)
        self._host = host
        self._by_name = by_name
        self.has_marks = (
            b"traceparent" in by_name
            or b"baggage" in by_name
            or b"x-request-start" in by_name
            or b"x-queue-start" in by_name
        )

    def _listed(self, raw: Any) -> Any:
        """Return headers that are no list as a sequence."""
        if isinstance(raw, (list, tuple)):
            return raw
        # ASGI allows any iterable, also one that can be read only once.
        raw = self.scope["headers"] = [tuple(pair) for pair in raw or ()]
        for name in ("server", "client"):  # Falcon's test client, for one, gives iterators for these, too
            if self.scope.get(name) is not None:
                self.scope[name] = tuple(self.scope[name])
        return raw

    def _noted(self) -> dict[bytes, bytes]:
        """Return the headers by name. A `skip` predicate asks before the headers are noted."""
        if self._by_name is None:
            self.note_headers()
        return self._by_name or {}

    def defer(self) -> None:
        self.scope = dict(self.scope)  # middleware beneath may change the scope, one for proxy headers, say

    def get(self, name: str, /) -> list[str]:
        wanted, by_name = name.encode("latin-1"), self._noted()
        if self._all is not None:
            return [value.decode("latin-1") for key, value in self._all if key.lower() == wanted]
        value = by_name.get(wanted)
        return [] if value is None else [value.decode("latin-1")]

    def keys(self) -> list[str]:
        return [key.decode("latin-1") for key in self._noted()]

    def received(self) -> str | None:
        by_name = self._by_name or self._noted()
        value = by_name.get(b"x-request-start") or by_name.get(b"x-queue-start")
        return None if value is None else value.decode("latin-1")

    def has_small_body(self) -> bool:
        """Tell whether the noted headers declare a body of less than 10,000 bytes. No server pauses for that."""
        if self._by_name is None:  # the request is skipped
            return False
        length = self._by_name.get(b"content-length")
        return length is not None and len(length) <= _DIGITS_OF_A_SMALL_BODY

    def read(self) -> RawFacts:
        scope, by_name = self.scope, self._by_name or self._noted()
        try:
            kind, scheme, version = scope["type"], scope["scheme"], scope["http_version"]
            query, server, peer = scope["query_string"], scope["server"], scope["client"]
        except KeyError:
            self.scope = {**_LEFT_OUT, **scope}
            return self.read()
        scheme = scheme or "http"
        if kind == "websocket" and scheme in ("http", "https"):  # some servers give the handshake's scheme
            scheme = scheme.replace("http", "ws")
        host, agent = self._host, by_name.get(b"user-agent")
        return (
            self.method,
            self.path,
            query or "",
            scheme,
            self,
            "1.0" if version == "1" else version,  # granian writes HTTP/1.0 so, ports as text, and "" for nobody
            (server[0], server[1] if type(server[1]) is int else port_of(server[1])) if server else None,
            (peer[0], peer[1] if type(peer[1]) is int else port_of(peer[1])) if peer and peer[0] else None,
            None,
            host if isinstance(host, bytes) else None,
            agent if isinstance(agent, bytes) else None,
        )


def _mounts(scope: Scope) -> tuple[str, ...]:
    # Starlette's mounts add to the root path, and keep the application's own in `app_root_path`.
    return tuple(path for path in (scope.get("root_path"), scope.get("app_root_path")) if isinstance(path, str))
