"""What listens on a port, when spans are not taken there: gRPC, HTTP, TLS, Tempo's query API."""

from __future__ import annotations

import socket
import ssl
import time
from http.client import HTTPException, HTTPResponse
from typing import Final, Literal

from tracemw.config import Backend
from tracemw.doctor.reaching import open_tunnel

Listens = Literal["gRPC", "HTTP", "TLS", "Tempo's query API", ""]

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""How a client begins HTTP/2: the preface, and a frame of settings that is empty (RFC 9113, 3.4)."""

_SETTINGS: Final = 4
"""The type of the first frame of a server (RFC 9113, 6.5)."""

_PATIENCE: Final = 1.0
"""Seconds for each of the questions, at most."""


def what_listens(backend: Backend, deadline: float) -> Listens:
    """Return what listens there; empty where it cannot be told. Nothing secret is sent, so nobody need be trusted."""
    greeting = _answer(backend, _PREFACE, deadline)
    if len(greeting) > _SETTINGS and greeting[3] == _SETTINGS and not greeting.startswith(b"HTTP"):
        return "gRPC"
    said = _echoed(backend, deadline)
    if said is not None and b"HTTPS" not in said:
        return "Tempo's query API" if said.strip() == b"echo" else "HTTP"
    return "TLS" if not backend.endpoint.is_secure and _shakes_hands(backend, deadline) else ""


def _answer(backend: Backend, sent: bytes, deadline: float) -> bytes:
    """Return the first bytes that come back for some that are sent; empty for none."""
    try:
        with _opened(backend, ("h2", "http/1.1"), deadline) as wire:
            wire.sendall(sent)
            return wire.recv(64)
    except OSError:
        return b""


def _shakes_hands(backend: Backend, deadline: float) -> bool:
    """Tell whether TLS is spoken where the settings expect none."""
    try:
        with _secured(open_tunnel(backend, _until(deadline)), backend, ("http/1.1",), deadline):
            return True
    except OSError:
        return False


def _echoed(backend: Backend, deadline: float) -> bytes | None:
    """Return what `/api/echo` says, which is `echo` at Tempo's query port; None from what does not speak HTTP/1.1."""
    request = f"GET /api/echo HTTP/1.1\r\nHost: {backend.endpoint.authority}\r\nConnection: close\r\n\r\n"
    try:
        with _opened(backend, ("http/1.1",), deadline) as wire:
            wire.sendall(request.encode())
            response = HTTPResponse(wire)
            response.begin()
            return response.read(100)
    except (OSError, HTTPException):
        return None


def _opened(backend: Backend, protocols: tuple[str, ...], deadline: float) -> socket.socket:
    bare = open_tunnel(backend, _until(deadline))
    if backend.endpoint.is_secure:
        return _secured(bare, backend, protocols, deadline)
    bare.settimeout(max(_until(deadline) - time.monotonic(), 0.001))
    return bare


def _secured(bare: socket.socket, backend: Backend, protocols: tuple[str, ...], deadline: float) -> ssl.SSLSocket:
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    blind.set_alpn_protocols(list(protocols))
    try:
        bare.settimeout(max(_until(deadline) - time.monotonic(), 0.001))
        return blind.wrap_socket(bare, server_hostname=backend.endpoint.host)
    except BaseException:
        bare.close()
        raise


def _until(deadline: float) -> float:
    return min(deadline, time.monotonic() + _PATIENCE)
