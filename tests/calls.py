"""One request, made to an ASGI or WSGI application directly, as a server would."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

RawHeaders = list[tuple[bytes, bytes]]


@dataclass
class Answer:
    """What the application sent."""

    status: int | None = None
    headers: RawHeaders = field(default_factory=list)
    body: bytes = b""
    messages: list[Any] = field(default_factory=list)

    def header(self, name: bytes) -> bytes | None:
        """The only value of a header, None without it."""
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) <= 1
        return values[0] if values else None


def http_scope(
    path: str = "/",
    *,
    method: str = "GET",
    query: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
    **more: Any,
) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"shop.example"), *headers],
        "client": ("192.0.2.7", 40000),
        "server": ("127.0.0.1", 8000),
        **more,
    }


def carrying(traceparent: str) -> RawHeaders:
    return [(b"traceparent", traceparent.encode("latin-1"))]


async def ask(
    app: Any,
    path: str = "/",
    *,
    body: bytes = b"",
    scope: dict[str, Any] | None = None,
    answer: Answer | None = None,
    **more: Any,
) -> Answer:
    """Ask an ASGI application; `answer` holds what was sent until then when it raises."""
    answer = answer if answer is not None else Answer()
    incoming: list[dict[str, Any]] = [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, Any]:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answer.messages.append(message)
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")

    await app(scope if scope is not None else http_scope(path, **more), receive, send)
    return answer


def environ(
    path: str = "/", *, method: str = "GET", query: str = "", headers: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """A WSGI environ; `path` and `query` are latin-1 strings that tunnel bytes, as PEP 3333 has it."""
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "40000",
        "HTTP_HOST": "shop.example",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{"HTTP_" + name.upper().replace("-", "_"): value for name, value in (headers or {}).items()},
        **more,
    }


class WSGIServer:
    """The server's side of PEP 3333: a `start_response` that refuses what a server refuses."""

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.headers_sent = False

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        if exc_info is not None:
            if self.headers_sent:
                raise exc_info[1].with_traceback(exc_info[2])
        elif self.status:
            raise AssertionError("start_response called twice without exc_info")
        self.status, self.headers = status, headers
        return self._write

    def _write(self, data: bytes) -> None:
        self.headers_sent = True
        self.body += data

    def ask(self, app: Any, path: str = "/", **more: Any) -> WSGIServer:
        """Ask a WSGI application, read its whole body and close it."""
        self.environ = environ(path, **more)  # as servers do: what they give for a request leads to all that they have
        result = app(self.environ, self.start_response)
        try:
            for chunk in result:
                self._write(chunk)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        return self

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) <= 1
        return values[0] if values else None


def in_a_thread(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a thread of its own: an interrupt within a handler leaves its exception to the thread for good."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(test, *args, **kwargs).result()

    return run
