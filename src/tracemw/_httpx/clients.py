"""`trace_client`: the transports of an existing client get tracing ones around them."""

from __future__ import annotations

from typing import Any, TypeVar

from tracemw._http.client import ClientOptions, ClientTracing
from tracemw._http.options import refuse_unknown
from tracemw._httpx.library import Library
from tracemw._httpx.transports import AsyncTransport, SyncTransport

C = TypeVar("C")


def trace_client(
    library: Library, client: C, sync: type[SyncTransport], asynchronous: type[AsyncTransport], options: ClientOptions
) -> C:
    """Wrap the transports of a client, with its mounts. A transport that traces already takes the options.

    Args:
        library: The library that the client must be of.
        client: The client.
        sync: The door's transport for synchronous clients.
        asynchronous: The door's transport for asynchronous clients.
        options: The options of the door.

    Raises:
        TypeError: for anything but a client of the library, and for an unknown option.
        ValueError: for an option whose value is not accepted.
    """
    door = sync if library.half_of(client) is library.sync else asynchronous
    refuse_unknown("trace_client", options, ClientOptions)
    ClientTracing(**options)  # refuses what is not accepted before anything is changed
    has: Any = client
    transport, mounts = has._transport, has._mounts  # noqa: SLF001  neither has a public name
    wrapped: dict[int, Any] = {}  # one transport that is mounted twice stays one
    for each in (transport, *mounts.values()):
        if each is not None and id(each) not in wrapped:
            wrapped[id(each)] = _traced(each, door, options)
    has._transport = wrapped.get(id(transport))  # noqa: SLF001
    mounts.update({pattern: wrapped[id(each)] for pattern, each in mounts.items() if each is not None})
    return client


def _traced(transport: Any, door: Any, options: ClientOptions) -> Any:
    if not isinstance(transport, door):
        return door(transport, **options)
    transport.take(options)
    return transport
