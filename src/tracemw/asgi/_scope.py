"""A request's scope, read as the facts of the request."""

from __future__ import annotations

from tracemw._http.facts import RawFacts, port_of
from tracemw._http.request import ServerRequest
from tracemw._http.settings import ServerSettings
from tracemw.asgi._types import Scope


class ScopeRequest(ServerRequest):
    """A request's scope, and its headers as they were when the request arrived."""

    _by_name: dict[bytes, bytes] | None
    """The headers by name, once they are noted."""
    _all: tuple[tuple[bytes, bytes], ...] | None
    """All headers, if some names come more than once."""

    def __init__(self, scope: Scope, settings: ServerSettings) -> None:
        self.scope = scope
        self.settings = settings
        self.method = scope.get("method") or "GET"
        self.path = scope.get("path") or ""
        self.mounts = _mounts(scope) if scope.get("root_path") else ()
        self._by_name = self._made = None

    def note_headers(self) -> None:
        raw = self.scope.get("headers") or ()
        if type(raw) is not list and not isinstance(
            raw, (list, tuple)
        ):  # ASGI allows any iterable, also one that can be read only once
            raw = self.scope["headers"] = [tuple(pair) for pair in raw]
            for name in ("server", "client"):  # Falcon's test client, for one, gives iterators for these, too
                if self.scope.get(name) is not None:
                    self.scope[name] = tuple(self.scope[name])
        by_name = dict(raw)
        # Some servers break ASGI's rule that names are in lower case. Then "host" is missing, or is one that somebody
        # has added beside the server's "Host".
        if b"host" not in by_name or len(by_name) != len(raw):
            by_name = {name.lower(): value for name, value in reversed(raw)}  # of those with the same name, the first
        self._by_name = by_name
        self._all = None if len(by_name) == len(raw) else tuple(raw)
        self.carries_context = b"traceparent" in by_name or b"baggage" in by_name

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

    def read(self) -> RawFacts:
        scope, by_name = self.scope, self._by_name or self._noted()
        server, peer = scope.get("server"), scope.get("client")
        host, agent, version = by_name.get(b"host"), by_name.get(b"user-agent"), scope.get("http_version")
        scheme = scope.get("scheme") or "http"
        if scope["type"] == "websocket" and scheme in ("http", "https"):  # some servers give the handshake's scheme
            scheme = scheme.replace("http", "ws")
        return (
            self.method,
            self.path,
            scope.get("query_string") or "",
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
