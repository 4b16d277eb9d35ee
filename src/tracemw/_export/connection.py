"""An HTTP/1.1 connection whose requests end by a deadline, whatever the other side does.

A socket's timeout bounds one operation only: a server that sends a byte now and then can keep a client for ever. Here
all operations of one request share one deadline, from the first packet to the last byte of the response. Only the
resolution of a name cannot be cut short; the resolver has timeouts of its own.

The sockets are the operating system's own, and TLS is spoken in memory. The modules `socket`, `select` and `ssl` may
hold what gevent or eventlet has put there.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.message import Message
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final, NamedTuple, TypeVar, cast

from tracemw._process.native import Socket, getaddrinfo
from tracemw.config.endpoint import PORTS, Endpoint
from tracemw.config.proxy import Proxy

_LARGEST_ANSWER: Final = 65536  # bytes; of a larger one the rest is not read
_PART: Final = 65536  # bytes that go through TLS at a time

T = TypeVar("T")


class Reply(NamedTuple):
    """The answer of a server to one request."""

    status: int
    headers: Message
    body: bytes


class ProxyError(OSError):
    """A proxy gives no connection to the server."""


class _Response(HTTPResponse):
    """The final response of a server. Interim responses before it (RFC 9110, 15.2) are skipped."""

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200:
            if self.status == 101:
                raise HTTPException("HTTP 101: the other side switches to another protocol")
            self.headers = None  # type: ignore[assignment]  # with headers, `begin` would do nothing
            super().begin()


class Connection:
    """A connection to the server of an endpoint, by way of a proxy if need be.

    A deadline is in seconds of `time.monotonic`. A method that takes one raises an `OSError` or an `HTTPException`
    when something goes wrong, or when the deadline has passed.

    Args:
        endpoint: Where requests are posted to.
        context: How the server of a secure endpoint is trusted.
        proxy: The proxy to go through.
    """

    def __init__(self, endpoint: Endpoint, *, context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        self._endpoint = endpoint
        self._context = context if endpoint.is_secure else None
        self._proxy = proxy
        self._target = endpoint.target
        if proxy is not None and self._context is None:  # the absolute form (RFC 9112, 3.2.2)
            self._target = f"http://{endpoint.authority}{endpoint.target}"
        self._wire: _Wire | None = None

    @property
    def has_sent(self) -> bool:
        """Whether some of the latest request has left."""
        return self._wire is not None and self._wire.has_sent

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that the server has not closed, as far as is known."""
        if self._wire is None:
            return False
        try:
            self._wire.socket.settimeout(0)
            self._wire.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False  # no response is due, so anything that has come means the end

    def open(self, deadline: float) -> None:
        """Connect."""
        self.close()
        try:
            host, port, proxy = self._endpoint.host, self._endpoint.port, self._proxy
            wire = self._dial_proxy(proxy, deadline) if proxy is not None else self._dial(host, port, deadline)
            if self._context is not None:
                if proxy is not None:
                    self._tunnel(wire)
                wire.begin_tls(self._context, host)
        except BaseException:
            self.close()
            raise
        wire.has_sent = False

    def post(self, body: bytes, headers: Mapping[str, str], deadline: float) -> Reply:
        """Post once over the open connection."""
        if self._wire is None:
            raise OSError("the connection is closed")
        self._wire.deadline = deadline
        self._wire.has_sent = False
        http = HTTPConnection(self._endpoint.host, self._endpoint.port)
        http.default_port = PORTS[self._endpoint.scheme]
        http.sock = cast("socket.socket", self._wire)
        if self._proxy is not None and self._context is None:
            headers = {**headers, **self._authorization()}
        is_sent = True
        try:
            http.request("POST", self._target, body, dict(headers))
        except ConnectionError:  # the server closes before it has read everything, and may have answered
            is_sent = False
        # `http.getresponse` would close the wire of an answer that ends with the connection, before its body is read.
        response = _Response(cast("socket.socket", self._wire), method="POST")
        content, is_kept = b"", False
        try:
            response.begin()
        except BaseException:
            response.close()
            raise
        try:
            content = response.read(_LARGEST_ANSWER)
            is_kept = is_sent and response.isclosed() and not response.will_close
        except (OSError, HTTPException):
            pass  # the status has been read, and decides
        finally:
            response.close()
            if not is_kept:
                self.close()
        return Reply(response.status, response.headers, content)

    def close(self) -> None:
        """Close the connection. `open` may open another."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def leave_to_parent(self) -> None:
        """Close the connection in this forked process only. The parent may be in the midst of a request."""
        wire, self._wire = self._wire, None
        if wire is not None and (descriptor := wire.socket.detach()) >= 0:  # else the parent has just closed it
            os.close(descriptor)

    def _dial(self, host: str, port: int, deadline: float) -> _Wire:
        """Connect to the first address that answers. Each address gets its share of the time."""
        # As bytes, where possible: for a string, Python loads codecs, and a fork meanwhile locks up the child.
        name = host.encode() if host.isascii() else host
        addresses = getaddrinfo(name, port, type=socket.SOCK_STREAM)
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            wire = self._wire = _Wire(Socket(family, kind, protocol), deadline)  # kept at once: a fork may come now
            try:
                wire.socket.settimeout(max((deadline - time.monotonic()) / (len(addresses) - index), 0.001))
                wire.socket.connect(address)
                wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                self.close()
                if index == len(addresses) - 1:
                    raise
            else:
                return wire
        raise OSError(f"{host} has no address")

    def _dial_proxy(self, proxy: Proxy, deadline: float) -> _Wire:
        try:
            return self._dial(proxy.host, proxy.port, deadline)
        except (OSError, UnicodeError) as error:
            raise ProxyError(f"no connection to the proxy {proxy.host}:{proxy.port}: {error}") from error

    def _tunnel(self, wire: _Wire) -> None:
        target = self._endpoint.host_and_port
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        lines += [f"{key}: {value}" for key, value in self._authorization().items()]
        wire.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        response = _Response(cast("socket.socket", wire), method="CONNECT")
        try:
            response.begin()
        finally:
            response.close()
        if response.status != 200:
            raise ProxyError(f"the proxy answers {response.status}")

    def _authorization(self) -> dict[str, str]:
        if self._proxy is None or self._proxy.authorization is None:
            return {}
        return {"Proxy-Authorization": self._proxy.authorization}


class _Wire:
    """The part of a socket that `http.client` needs, with a deadline."""

    def __init__(self, bare: Socket, deadline: float) -> None:
        self.socket = bare
        self.deadline = deadline
        self.has_sent = False
        self._tls: ssl.SSLObject | None = None
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()

    def begin_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on."""
        self._tls = tls = context.wrap_bio(self._arrived, self._leaving, server_hostname=host)
        self._through_tls(tls.do_handshake)

    def sendall(self, data: bytes) -> None:
        tls, rest = self._tls, memoryview(data)
        while rest:
            if tls is None:
                rest = rest[self._send(rest) :]
            else:
                part = rest[:_PART]
                rest = rest[self._through_tls(partial(tls.write, part)) :]
            self.has_sent = True

    def receive_into(self, buffer: memoryview) -> int:
        """Read the bytes that have come, as many as fit in. Return their number; 0 at the end."""
        tls = self._tls
        if tls is None:
            self.socket.settimeout(self._left())
            return self.socket.recv_into(buffer)
        try:
            return cast("int", self._through_tls(partial(tls.read, len(buffer), cast("bytearray", buffer))))
        except ssl.SSLEOFError:  # many servers close without TLS's closing alert; HTTP knows whether that was all
            return 0

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # http.client asks for reading only
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        self.socket.close()

    def _left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: when none are left.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def _send(self, data: memoryview | bytes) -> int:
        self.socket.settimeout(self._left())
        return self.socket.send(data)

    def _through_tls(self, step: Callable[[], T]) -> T:
        """Take a step of TLS. Receive the bytes that the step asks for, and send those that it has written."""
        while True:
            try:
                taken = step()
            except ssl.SSLWantReadError:
                self._send_tls()
                self.socket.settimeout(self._left())
                if data := self.socket.recv(_PART):
                    self._arrived.write(data)
                else:
                    self._arrived.write_eof()
            except ssl.SSLError:
                with suppress(OSError):  # an alert tells the other side why; the error counts even if that fails
                    self._send_tls()
                raise
            else:
                self._send_tls()
                return taken

    def _send_tls(self) -> None:
        rest = memoryview(self._leaving.read())
        while rest:
            rest = rest[self._send(rest) :]


class _Reader(io.RawIOBase):
    """The reading end of a wire. The wire stays open when this end is closed."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(buffer)
