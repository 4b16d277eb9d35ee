"""A request's environ, read as the facts of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracemw._http.facts import RawFacts, port_of
from tracemw._http.request import ServerRequest
from tracemw._http.settings import ServerSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class EnvironRequest(ServerRequest):
    """A request's environ as it was when the request arrived. The application may change the environ itself."""

    def __init__(self, environ: WSGIEnvironment, settings: ServerSettings) -> None:
        self.environ = environ = dict(environ)
        self.settings = settings
        self.method = environ.get("REQUEST_METHOD") or "GET"
        mount = environ.get("SCRIPT_NAME") or ""
        path = mount + (environ.get("PATH_INFO") or "") or "/"
        self.path = path if path.isascii() else _decoded(path)
        self.mounts = (_decoded(mount),) if mount else ()
        self._made = None

    def note_headers(self) -> None:
        environ = self.environ
        self.has_marks = (
            "HTTP_TRACEPARENT" in environ
            or "HTTP_BAGGAGE" in environ
            or "HTTP_X_REQUEST_START" in environ
            or "HTTP_X_QUEUE_START" in environ
        )

    def get(self, name: str, /) -> list[str]:
        key = name.upper().replace("-", "_")
        value = self.environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
        return [value] if isinstance(value, str) else []

    def keys(self) -> list[str]:
        return [key[5:].replace("_", "-").lower() for key in self.environ if key.startswith("HTTP_")]

    def received(self) -> str | None:
        value = self.environ.get("HTTP_X_REQUEST_START") or self.environ.get("HTTP_X_QUEUE_START")
        return value if isinstance(value, str) else None

    def read(self) -> RawFacts:
        get = self.environ.get
        query, protocol = get("QUERY_STRING") or "", get("SERVER_PROTOCOL") or ""
        server, peer, peer_port = get("SERVER_NAME"), get("REMOTE_ADDR"), get("REMOTE_PORT")
        host, agent = get("HTTP_HOST"), get("HTTP_USER_AGENT")
        return (
            self.method,
            self.path,
            query if query.isascii() else _decoded(query),
            get("wsgi.url_scheme") or "http",
            self,
            protocol[5:] if protocol.startswith("HTTP/") else None,
            (server, port_of(get("SERVER_PORT"))) if server else None,
            (peer, None if peer_port is None else port_of(peer_port)) if peer else None,
            None,
            host if isinstance(host, str) else None,  # an environ may hold anything, as in `get`
            agent if isinstance(agent, str) else None,
        )


def _decoded(value: str) -> str:
    # PEP 3333: an environ holds the request's bytes as latin-1.
    return value.encode("latin-1", "replace").decode("utf-8", "replace")
