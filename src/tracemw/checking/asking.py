"""One request as a server would send it, and what is seen of it. Nobody serves its method and its path."""

from __future__ import annotations

import asyncio
import inspect
import io
import itertools
import secrets
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final, NamedTuple

from opentelemetry.trace import Span, SpanKind

from tracemw._http.exchange import ServerExchange
from tracemw._otel.context import current_context, exchange_in, is_skipped
from tracemw.checking.layers import Layer, framework_of, is_door, layers_in, stack_from, within
from tracemw.lint.doors import Framework

METHOD: Final = "TRACEMW-CHECK"
"""The method of the request. Routers refuse it, so that no handler runs, not even one for all paths."""
PATH: Final = f"/tracemw-check-{secrets.token_hex(6)}"
_HEADERS: Final = (("host", "localhost"), ("user-agent", "tracemw-check"))
_PATIENCE: Final = 30.0
"""Seconds that the application may take to begin its answer."""
_REST: Final = 2.0
"""Seconds that the rest of an answer may take: it may have no end."""
_PARTS: Final = 100
"""How many parts of a body are read: it may have no end."""


class ServerSpan(NamedTuple):
    """A SERVER span that has started for the request."""

    scope: str
    """The instrumentation scope."""
    outside: list[Layer]
    """What the request has passed before, the outermost first; at the end, the door."""


@dataclass(kw_only=True)
class SeenRequest:
    """What has been seen of one request."""

    path: str
    status: int | None = None
    error: BaseException | None = None
    """What has escaped from the application."""
    spans: list[ServerSpan] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    """What the request has passed by the time of its answer, or of the exception, the outermost first."""
    exchange: ServerExchange | None = None
    """What the door holds of the request at the time of the answer."""
    is_skipped: bool = False

    @property
    def doors(self) -> list[Layer]:
        """The doors that the request has passed."""
        return [layer for layer in self.layers if is_door(layer.owner)]

    def answered(self, status: int, frame: FrameType | None) -> None:
        """Note the beginning of the answer."""
        self.status = status
        self.layers = layers_in(reversed(list(stack_from(frame))))
        self.exchange = exchange_in(current_context())
        self.is_skipped = is_skipped()

    def failed(self, error: BaseException) -> None:
        """Note an exception that has escaped."""
        self.error = error
        if not self.layers:
            self.layers = layers_in(frame for frame, _ in traceback.walk_tb(error.__traceback__))


class Requester:
    """Sends requests to an application, one at a time.

    Args:
        application: The application.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._seen: SeenRequest | None = None

    def span_started(self, span: Span) -> None:
        """Note a span that starts while a request is under way."""
        if self._seen is not None and getattr(span, "kind", None) is SpanKind.SERVER:
            scope = getattr(span, "instrumentation_scope", None)
            layers = layers_in(reversed(list(stack_from(inspect.currentframe()))))
            self._seen.spans.append(ServerSpan(getattr(scope, "name", ""), layers))

    async def ask_asgi(self, path: str, state: dict[str, Any]) -> SeenRequest:
        """Send a request by ASGI."""
        seen = self._seen = SeenRequest(path=path)
        begun, over = asyncio.Event(), asyncio.Event()
        given = itertools.chain([{"type": "http.request", "body": b"", "more_body": False}])
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": METHOD,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in _HEADERS],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": dict(state),
        }

        async def receive() -> dict[str, Any]:
            for message in given:
                return message
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                seen.answered(message["status"], inspect.currentframe())
                begun.set()
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                over.set()

        async def serve() -> None:
            await self._application(scope, receive, send)

        serving, beginning = asyncio.ensure_future(serve()), asyncio.ensure_future(begun.wait())
        await asyncio.wait([serving, beginning], timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        beginning.cancel()
        await asyncio.wait([serving], timeout=_REST)
        has_ended = serving.done()
        if not has_ended:
            over.set()
            serving.cancel()
            await asyncio.wait([serving], timeout=1.0)
        # what nobody asks for, asyncio prints
        error = serving.exception() if serving.done() and not serving.cancelled() else None
        if has_ended and error is not None:
            seen.failed(error)
        self._seen = None
        return seen

    def ask_wsgi(self, path: str) -> SeenRequest:
        """Send a request by WSGI."""
        seen = self._seen = SeenRequest(path=path)
        environ = {
            "REQUEST_METHOD": METHOD,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": True,
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in _HEADERS},
        }

        def start_response(status: str, headers: object, error: object = None) -> Callable[[bytes], object]:
            del headers, error
            seen.answered(int(status.split(" ")[0]), inspect.currentframe())
            return lambda _: None

        body: Iterable[bytes] = ()
        try:
            body = self._application(environ, start_response)
            for _ in itertools.islice(body, _PARTS):
                pass
        except Exception as error:
            seen.failed(error)
        finally:
            if (close := getattr(body, "close", None)) is not None:
                close()
        self._seen = None
        return seen


def protocol_of(application: Any) -> str:
    """Return `asgi` or `wsgi`: which of them an application is called by."""
    if (framework := framework_of(application)) is not None:
        return framework.protocol
    if inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(type(application).__call__):
        return "asgi"
    try:
        inspect.signature(application).bind("environ", "start_response")
    except TypeError:
        return "asgi"
    except ValueError:  # written in C, without a signature
        return "wsgi"
    return "wsgi"


def framework_within(application: Any) -> tuple[Any, Framework] | None:
    """Return the outermost application of a framework, and the framework; None without one."""
    for each in within(application):
        if (framework := framework_of(each)) is not None:
            return each, framework
    return None
