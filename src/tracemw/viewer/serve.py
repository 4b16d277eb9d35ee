"""The viewer's process: open the port and the database, serve until a signal, and write the last spans."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import secrets
import signal
import socket
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from tracemw.viewer.allowance import Allowance
from tracemw.viewer.app import create_app
from tracemw.viewer.patience import LimitedConnection
from tracemw.viewer.storing.store import DEFAULT_MAX_BYTES, DEFAULT_MAX_SPANS, Store

_BACKLOG = 512
_M_ARENA_MAX, _ARENAS = -8, 2  # glibc's name for the option, in malloc.h
_WARNING = (
    "warning: other machines may connect, and nothing is encrypted: outside of a network that you trust, let a proxy "
    "with TLS stand before the viewer"
)


class PortError(Exception):
    """The viewer cannot listen on the address. The message names the address and the remedy."""


def serve(
    *,
    host: str,
    port: int,
    announce: Callable[[str], None],
    db: Path | None = None,
    max_spans: int = DEFAULT_MAX_SPANS,
    max_bytes: int = DEFAULT_MAX_BYTES,
    token: str | None = None,
    allowed_hosts: Collection[str] = (),
    allowance: Allowance = Allowance(),  # noqa: B008  # frozen
) -> None:
    """Run the viewer until SIGINT or SIGTERM.

    Args:
        host: The name or address to listen on.
        port: The TCP port. 0 stands for any free one.
        announce: Called once connections are taken, with a line that has the viewer's URL and facts. If other machines
            may connect, further lines warn, and show the token once if it is a new one.
        db: The database file. None keeps traces in memory.
        max_spans: How many spans are kept.
        max_bytes: How many bytes of spans are kept.
        token: What requests have to show. None for nothing on a loopback address, and for a new token on others.
        allowed_hosts: The names, in lower case, by which others may call the viewer. Where none is given, and the
            address is no loopback address, these are the machine's own.
        allowance: What one peer may take.

    Raises:
        PortError: when the viewer cannot listen on the port.
        StoreError: when the database file cannot be used.
    """
    _limit_arenas()
    with _listen(host, port) as listener:
        store = Store(db, max_spans=max_spans, max_bytes=max_bytes)
        try:
            address, chosen = listener.getsockname()[:2]
            is_local = ipaddress.ip_address(address.partition("%")[0]).is_loopback
            made = None if token or is_local else secrets.token_urlsafe(32)
            app = create_app(
                store,
                token=token or made,
                names=allowed_hosts or ([] if is_local else _own_names(host)),
                allowance=allowance,
            )
            announce(_announcement(host, chosen, db, max_spans))
            if not is_local:
                announce(_WARNING)
            if made:
                announce(
                    f"the page, with the token of this run: {_url(_reachable(host, address), chosen)}/?token={made}"
                )
            _run(app, listener, allowance)
        finally:
            store.close()


def _limit_arenas() -> None:
    """Keep glibc from an arena of memory for each thread: what large answers leave free in many of them adds up."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_ARENA_MAX, _ARENAS)


def _run(app: Starlette, listener: socket.socket, allowance: Allowance) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http=partial(LimitedConnection, allowance=allowance),  # type: ignore[arg-type]  # uvicorn only calls it
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=2,
        )
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    # When uvicorn has ended, it raises the signal again for the handlers that were there before. With this one the
    # process goes on: it closes the store and ends with status 0. A signal before uvicorn is ready is not lost either.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortError(f"cannot listen on {host}: {error.strerror}; choose another --host") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise PortError(f"cannot listen on {host} port {port}: {_reason(error)}") from None
    return listener


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; end the program that has it, or choose another one with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address; choose another --host"
    if error.errno == errno.EACCES:
        return "not permitted; choose a --port from 1024 up"
    return str(error.strerror)


def _own_names(host: str) -> list[str]:
    return [name.lower() for name in (host, socket.gethostname(), socket.getfqdn())]


def _reachable(host: str, address: str) -> str:
    """Return the host as a browser on this machine calls it."""
    return "127.0.0.1" if ipaddress.ip_address(address.partition("%")[0]).is_unspecified else host


def _announcement(host: str, port: int, db: Path | None, max_spans: int) -> str:
    place = "in memory" if db is None else f"in {db}"
    return f"tracemw viewer: {_url(host, port)}  (traces {place}, at most {max_spans} spans)"


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
