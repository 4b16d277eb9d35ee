"""The server doors behind every server that people deploy: what a client gets is what is recorded.

Each server is a process of its own; its application is `field.served`, which tells what it has recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from servers import free_port, process, wait_until

BOOM = "field.served.Boom"

_GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "error", "{app}")
_UVICORN = ("-m", "uvicorn", "--port", "{port}", "--log-level", "error", "{app}")
_UWSGI = (
    *("-c", "import sys, pyuwsgi; pyuwsgi.run(sys.argv[1:])", "--http-socket", "127.0.0.1:{port}", "--master"),
    *("--enable-threads", "--die-on-term", "--disable-logging", "--need-app", "--module", "{app}"),
)
_GRANIAN = ("-m", "granian", "--port", "{port}", "--no-log", "{app}", "--interface")


@dataclass(frozen=True)
class Server:
    """A server: its arguments, and what of it is not as with others."""

    arguments: tuple[str, ...]
    package: str
    """What has to be installed."""
    around: str = ""
    """What stands between the server and the WSGI application."""
    app: str = "field.served:app"
    statuses: tuple[tuple[str, int | None], ...] = ()
    """What clients get for some paths, where that is not what most servers do; None for no whole response."""
    lacks: tuple[str, ...] = ()
    """Paths that it cannot serve, whatever the door does."""


# Heads that go out with start_response stay, and no 500 can follow.
_AT_ONCE = (("/late", 200), ("/later", 200), ("/restart", 200))

WSGI = {
    "gunicorn-sync": Server((*_GUNICORN, "-k", "sync"), "gunicorn"),
    "gunicorn-gthread": Server((*_GUNICORN, "-k", "gthread"), "gunicorn"),
    "gunicorn-gevent": Server((*_GUNICORN, "-k", "gevent"), "gevent"),
    "gunicorn-preload": Server((*_GUNICORN, "--preload"), "gunicorn"),
    "waitress": Server(
        ("-m", "waitress", "--listen", "127.0.0.1:{port}", "{app}"), "waitress", statuses=(("/later", 500),)
    ),
    "uvicorn-interface": Server((*_UVICORN, "--interface", "wsgi"), "uvicorn", statuses=_AT_ONCE),
    "uvicorn-own": Server(_UVICORN, "uvicorn", around="uvicorn", statuses=_AT_ONCE, lacks=("/written",)),
    "asgiref": Server((*_UVICORN, "--lifespan", "off"), "asgiref", around="asgiref", lacks=("/written", "/up")),
    "a2wsgi": Server((*_UVICORN, "--lifespan", "off"), "a2wsgi", around="a2wsgi", statuses=_AT_ONCE),
    "granian": Server((*_GRANIAN, "wsgi"), "granian", lacks=("/written",)),
    "hypercorn": Server(
        ("-m", "hypercorn", "--bind", "127.0.0.1:{port}", "--log-level", "critical", "{app}"),
        "hypercorn",
        app="wsgi:field.served:app",
        lacks=("/written", "/empty"),  # its WSGI wrapper has no write(), and sends nothing for a body without parts
    ),
    "uwsgi": Server(_UWSGI, "pyuwsgi", statuses=(*_AT_ONCE, ("/boom", None)), lacks=("/restart",)),
}

ASGI = {
    **{
        f"uvicorn-{loop}-{http}": Server(
            (*_UVICORN, "--loop", loop, "--http", http), loop if loop == "uvloop" else "h11"
        )
        for loop in ("asyncio", "uvloop")
        for http in ("h11", "httptools")
    },
    "hypercorn": Server(
        ("-m", "hypercorn", "--bind", "127.0.0.1:{port}", "--log-level", "critical", "{app}"), "hypercorn"
    ),
    "granian-asyncio": Server((*_GRANIAN, "asgi", "--loop", "asyncio"), "granian", statuses=(("/late", 500),)),
    "granian-uvloop": Server((*_GRANIAN, "asgi", "--loop", "uvloop"), "granian", statuses=(("/late", 500),)),
    # Daphne waits for ever for what an application owes it.
    "daphne": Server(("-m", "daphne", "-p", "{port}", "{app}"), "daphne", lacks=("/late", "/midway", "/silent")),
    "gunicorn-asgi": Server((*_GUNICORN, "-k", "asgi"), "gunicorn.asgi"),
    "gunicorn-uvicorn": Server((*_GUNICORN, "-k", "uvicorn_worker.UvicornWorker"), "uvicorn_worker"),
}

SERVERS = {
    **{f"wsgi-{name}": server for name, server in WSGI.items()},
    **{f"asgi-{name}": server for name, server in ASGI.items()},
}


@dataclass
class Running:
    """A server, and the doors behind it."""

    server: Server
    doors: tuple[str, ...]
    url: str
    client: httpx.Client

    def recorded(self) -> Any:
        """Return the SERVER spans that have ended so far, and the number of requests being served."""
        return self.get("/recorded")

    def get(self, path: str, door: str = "") -> Any:
        """Return what a path that always answers tells."""
        return self.send("GET", path, {"x-door": door})

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Any:
        """Return the answer to a request on the kept connection, or on a new one where the server has closed it."""
        try:
            return self.client.request(method, path, headers=headers, content=body).json()
        except httpx.TransportError:
            return self.client.request(method, path, headers=headers, content=body).json()

    def ask(self, door: str, path: str, *, method: str = "GET") -> tuple[int | None, dict[str, Any]]:
        """Make one request; return the status that came, and the one span of it when no request is active any more."""
        before = len(self.recorded()["spans"])
        status = None
        # A connection of its own: some are broken off.
        with (
            suppress(httpx.RemoteProtocolError, httpx.ReadError),
            httpx.Client(headers={"x-door": door}) as client,
            client.stream(method, f"{self.url}{path}") as answer,
        ):
            status = answer.status_code
            answer.read()
        found: list[Any] = []

        def ended() -> bool:
            now = self.recorded()
            found[:] = now["spans"][before:]
            return bool(found) and now["active"] == 0

        wait_until(ended)
        (span,) = found
        return status, span


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest) -> Iterator[Running]:
    server = SERVERS[request.param]
    if find_spec(server.package.partition(".")[0]) is None or find_spec(server.package) is None:
        pytest.skip(f"{server.package} cannot be installed for this Python")
    port = free_port()
    arguments = [part.format(port=port, app=server.app) for part in server.arguments]
    root = Path(__file__).parents[1]
    doors = ("asgi",) if server in ASGI.values() else ("wsgi", "flask")
    environment = {"FIELD_AROUND": "asgi" if doors == ("asgi",) else server.around, "PYTHONPATH": str(root)}
    with ExitStack() as stack:
        started = stack.enter_context(process(*arguments, env=environment, cwd=root))
        kept = httpx.Limits(max_keepalive_connections=0 if "/up" in server.lacks else 1)
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", limits=kept))

        def up() -> bool:
            assert started.poll() is None, started.stdout and started.stdout.read()
            with suppress(httpx.TransportError):
                return client.get("/recorded").status_code == 200
            return False

        wait_until(up)
        yield Running(server, doors, f"http://127.0.0.1:{port}", client)


# What a client gets of most servers, by path, and the exception that is recorded beside.
ANSWERS: dict[str, tuple[int, str | None]] = {
    "/ok": (200, None),
    "/stream": (200, None),
    "/empty": (204, None),
    "/file": (200, None),
    "/written": (200, None),
    "/closing": (200, None),
    "/restart": (503, None),
    "/boom": (500, BOOM),
    "/late": (500, BOOM),
    "/later": (200, BOOM),
    "/midway": (200, BOOM),
}
NOT_IN_FLASK = ("/written", "/restart")
ASGI_ANSWERS: dict[str, tuple[int, str | None]] = {
    "/ok": (200, None),
    "/boom": (500, BOOM),
    "/late": (200, BOOM),
    "/midway": (200, BOOM),
    "/silent": (500, None),
}


def test_the_status_is_the_one_that_the_client_got(served: Running) -> None:
    for door in served.doors:
        special = dict(served.server.statuses)
        if door == "flask":  # it answers for its exceptions itself
            special.pop("/boom", None)
        for path, (usual, exception) in (ASGI_ANSWERS if door == "asgi" else ANSWERS).items():
            if path in served.server.lacks or (door == "flask" and path in NOT_IN_FLASK):
                continue
            case, expected = (door, path), special.get(path, usual)
            status, span = served.ask(door, path)
            assert (case, span.get("http.response.status_code")) == (case, expected)
            # Of a connection that is broken off, the client may get nothing at all.
            assert (case, status) in ((case, expected), (case, None if exception and expected == 200 else expected))
            assert (case, span["exceptions"]) == (case, [] if exception is None else [exception])
            assert (case, "error.type" in span) == (case, exception is not None or (expected or 0) >= 500)


def test_a_response_that_a_head_request_leaves_out_ends_its_span(served: Running) -> None:
    for door in served.doors:
        for path in ("/ok", "/stream", "/file"):
            if door == "asgi" or (door == "flask") is ("/empty" in served.server.lacks):
                continue  # without a part of a body, as Flask has it for HEAD
            status, span = served.ask(door, path, method="HEAD")
            assert (door, path, status, span["http.response.status_code"]) == (door, path, 200, 200)


def test_nothing_of_a_request_is_there_in_the_next_on_its_connection(served: Running) -> None:
    if "/up" in served.server.lacks:
        pytest.skip(
            "asgiref leaves its own executor in the context that asyncio keeps, and fails by itself on the next"
        )
    for door in served.doors:
        for path in ("/up", "/health", *(["/unread"] if door == "asgi" else [])):
            before = len(served.recorded()["spans"])
            headers = {"x-door": door, "baggage": "tenant.id=A"}
            first = served.send("POST", path, headers, b"x" * 300_000)
            following = [served.get("/other", door) for _ in range(3)]
            outside = served.get("/outside")
            assert first["baggage"] == ({} if path == "/health" else {"tenant.id": "A"})
            assert [seen["baggage"] for seen in following] == [{}] * 3
            assert len({seen["trace"] for seen in following} - {None}) == 3
            assert outside == {"baggage": {}, "trace": None}
            expected = before + 4 - (path == "/health")
            wait_until(lambda expected=expected: len(served.recorded()["spans"]) == expected)
