"""The classes of `httpx` or of `httpx2` that its door works with, and what the door refuses by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, NamedTuple

from tracemw._httpx.bodies import AsyncBody, SyncBody

_LIBRARIES: Final = ("httpx", "httpx2")
_CLIENTS: Final = {"Client": "trace_client", "AsyncClient": "trace_client"}
_TRANSPORTS: Final = {"BaseTransport": "TraceTransport", "AsyncBaseTransport": "AsyncTraceTransport"}


class Half(NamedTuple):
    """The synchronous or the asynchronous half of a library."""

    client: type
    transport: type
    """The base class of transports."""
    default: Any
    """The class of the transport that a client makes for itself."""
    method: str
    """The method of a transport that sends."""
    stream: type
    """The base class of the bodies of responses."""
    body: Any
    """The class of the bodies that end spans."""


class Library:
    """The classes of one library.

    Args:
        module: The library itself, `httpx` or `httpx2`.
    """

    def __init__(self, module: ModuleType) -> None:
        given: Any = module
        self._name = module.__name__
        self.request: type = given.Request
        self.headers: Any = given.Headers
        self.byte_stream: type = given.ByteStream
        self.sync = Half(
            given.Client,
            given.BaseTransport,
            given.HTTPTransport,
            "handle_request",
            given.SyncByteStream,
            type("TracedStream", (SyncBody, given.SyncByteStream), {}),
        )
        self.asynchronous = Half(
            given.AsyncClient,
            given.AsyncBaseTransport,
            given.AsyncHTTPTransport,
            "handle_async_request",
            given.AsyncByteStream,
            type("TracedStream", (AsyncBody, given.AsyncByteStream), {}),
        )

    def half_of(self, client: object) -> Half:
        """Return the half that a client belongs to.

        Raises:
            TypeError: for anything but a client of this library.
        """
        for half in (self.sync, self.asynchronous):
            if isinstance(client, half.client):
                return half
        raise self._refusal("trace_client", "Client or AsyncClient", client, _home_of(client, _CLIENTS))

    def require_transport(self, given: object, half: Half) -> None:
        """Refuse anything but a transport of a half, such as one of the other half or of the other library.

        A transport may be of a class that neither library knows. Then it needs the method that sends.

        Raises:
            TypeError: for anything that is refused.
        """
        if isinstance(given, half.transport):
            return
        home = _home_of(given, _TRANSPORTS)
        if home is not None or isinstance(given, type) or not callable(getattr(given, half.method, None)):
            kind = half.transport.__name__
            raise self._refusal(_TRANSPORTS[kind], kind, given, home)

    def require_request(self, given: object, half: Half) -> None:
        """Refuse the other library's request.

        Raises:
            TypeError: for such a request.
        """
        door = _TRANSPORTS[half.transport.__name__]
        home = _home_of(given, {"Request": door})
        if home is not None and not isinstance(given, self.request):
            raise self._refusal(door, "Request", given, home)

    def _refusal(self, door: str, wanted: str, given: object, home: tuple[str, str] | None) -> TypeError:
        kind = given if isinstance(given, type) else type(given)
        shown = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
        message = f"tracemw.{self._name}.{door} takes a {self._name}.{wanted}"
        if isinstance(given, type):
            return TypeError(f"{message}, not the class {shown}; pass an instance")
        if home is None:
            return TypeError(f"{message}, not {shown}")
        return TypeError(f"{message}, not {shown}; that is for tracemw.{'.'.join(home)}")


def _home_of(given: object, doors: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the library that an object's class is of, and the name in its door that takes such objects."""
    for kind in (given if isinstance(given, type) else type(given)).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in _LIBRARIES and kind.__name__ in doors:
            return library, doors[kind.__name__]
    return None
