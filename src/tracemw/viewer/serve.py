"""The viewer's process: open the database and the port, serve until a signal, leave nothing unwritten."""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from tracemw.viewer.app import create_app
from tracemw.viewer.connections import Connection
from tracemw.viewer.store import Store

_BACKLOG = 512
_WARNING = (
    "warning: there is no authentication: whoever reaches this port can read all traces and send some; "
    "without --host it is for this machine only"
)


class PortError(Exception):
    """The address cannot be listened on; the message names it and the remedy."""


def serve(
    *, host: str, port: int, db: Path | None, max_spans: int, max_bytes: int, announce: Callable[[str], None]
) -> None:
    """Run the viewer until SIGINT or SIGTERM.

    Args:
        host: the name or address to listen on; on a loopback address only local Host headers are answered
        port: the TCP port, 0 for any free one
        db: the database file, None to keep traces in memory
        max_spans: how many spans are kept at most
        max_bytes: how many bytes they may have at most
        announce: called, as soon as connections are taken, with a line that has the viewer's URL and facts, and with
            a warning when others than this machine may connect

    Raises:
        PortError: the port cannot be had
        StoreError: the database file cannot be used
    """
    with _listening(host, port) as listener:
        store = Store(db, max_spans=max_spans, max_bytes=max_bytes)
        try:
            address, chosen = listener.getsockname()[:2]
            local_only = ipaddress.ip_address(address.partition("%")[0]).is_loopback
            app = create_app(store, local_only=local_only)
            announce(_announcement(host, chosen, db, max_spans))
            if not local_only:
                announce(_WARNING)
            _run(app, listener)
        finally:
            store.close()


def _run(app: Starlette, listener: socket.socket) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http=Connection,
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

    # uvicorn raises the signal again when it is done, for the handlers that were there before it. With ours the process
    # goes on to close the store and ends with status 0; and a signal before uvicorn is ready is not lost.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
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


def _announcement(host: str, port: int, db: Path | None, max_spans: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    place = "in memory" if db is None else f"in {db}"
    return f"tracemw viewer: http://{shown}:{port}  (traces {place}, at most {max_spans} spans)"
