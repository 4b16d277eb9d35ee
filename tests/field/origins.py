"""Real origins and proxies that note all that a client lets them see: requests, connections, addresses, TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer, ThreadingUnixStreamServer
from typing import Any

import h2.config
import h2.connection
import h2.events
import trustme

from backend import Proxy, proxy_serving, sockets_serving
from servers import socketserver_serving

OF_THE_TRACE = frozenset({"traceparent", "tracestate", "baggage"})


@dataclass
class Seen:
    """What the origins have been shown since it was cleared."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    traceparents: list[str | None] = field(default_factory=list)
    connections: int = 0
    """Those on which a request has come."""

    def take(self) -> tuple[list[dict[str, Any]], int, list[str | None]]:
        """Return the requests, without what belongs to the trace, the connections, and the traceparents; clear all."""
        taken = sorted(self.requests, key=repr), self.connections, self.traceparents
        self.requests, self.traceparents, self.connections = [], [], 0
        return taken

    def add(self, headers: list[tuple[str, str]], **facts: Any) -> None:
        known = {name.lower(): value for name, value in headers}
        self.traceparents.append(known.get("traceparent"))
        others = [(name, value) for name, value in headers if name.lower() not in OF_THE_TRACE]
        self.requests.append({**facts, "headers": others})


@dataclass
class World:
    """The origins, their proxies, and what is needed to reach them."""

    folder: Path
    authority: trustme.CA
    seen: Seen
    http: str = ""
    https: str = ""
    strict: str = ""
    """Wants a client certificate."""
    http2: str = ""
    uds: str = ""
    socks: str = ""
    proxy: Proxy = field(default_factory=Proxy)

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    @property
    def pem(self) -> str:
        """A client certificate with its key."""
        return str(self.folder / "client.pem")

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the certificate of `https`."""
        return (self.folder / "fingerprint").read_text()

    def trusting(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if with_certificate:
            context.load_cert_chain(self.pem)
        return context


@contextmanager
def world(folder: Path) -> Iterator[World]:
    authority = trustme.CA()
    made = World(folder, authority, Seen())
    authority.cert_pem.write_to_path(made.ca)
    authority.issue_cert("client@example").private_key_and_cert_chain_pem.write_to_path(made.pem)
    certificate = authority.issue_cert("127.0.0.1", "localhost", "shop.example")
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    import hashlib

    (folder / "fingerprint").write_text(hashlib.sha256(der).hexdigest())
    with ExitStack() as stack:
        made.http = stack.enter_context(_origin(made.seen))
        made.https = stack.enter_context(_origin(made.seen, _tls(certificate)))
        made.strict = stack.enter_context(_origin(made.seen, _tls(certificate, authority)))
        made.http2 = stack.enter_context(_http2_origin(made.seen, _tls(certificate, alpn="h2")))
        made.uds = str(folder / "origin")
        stack.enter_context(_unix_origin(made.seen, made.uds))
        made.socks = stack.enter_context(sockets_serving(_socks)).replace("http://", "")
        made.proxy = stack.enter_context(proxy_serving())
        yield made


def _tls(certificate: trustme.LeafCert, authority: trustme.CA | None = None, alpn: str = "http/1.1") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    context.set_alpn_protocols([alpn])
    if authority is not None:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _handler(seen: Seen) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            self.request.settimeout(10)
            if isinstance(self.request, ssl.SSLSocket):
                self.request.do_handshake()
            super().setup()
            self.is_known = False

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the client has gone
                pass

        def do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            seen.connections += not self.is_known
            self.is_known = True
            peer = str(self.client_address[:1])
            is_tls = isinstance(self.request, ssl.SSLSocket)
            certificate = self.request.getpeercert() if is_tls else None
            seen.add(
                list(self.headers.items()),
                line=self.requestline,
                body=body,
                peer=peer,
                certificate=bool(certificate),
                tls=is_tls,
            )
            path = self.path.partition("?")[0]
            if path == "/slow":
                self.request.recv(1)  # until the client has gone
                return
            if path.startswith("/redirect"):
                self.answer(302, b"", ("Location", "/landed"))
            elif path == "/loop":
                self.answer(302, b"", ("Location", "/loop"))
            elif path == "/busy":
                self.answer(503, b"busy")
            elif path == "/private" and "Authorization" not in self.headers:
                self.answer(401, b"", ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"'))
            elif path == "/cookie":
                self.answer(200, b"baked", ("Set-Cookie", "kind=oat"))
            elif path == "/cached":
                self.answer(200, b"kept", ("Cache-Control", "max-age=3600"))
            elif path == "/latin":
                self.answer(200, "é".encode("latin-1"), ("Content-Type", "text/plain"))
            else:
                self.answer(200, b"hello")

        do_GET = do_POST = do_PUT = do_HEAD = do  # noqa: N815  as the standard library calls them

        def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


class _TcpServer(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 50
    tls: ssl.SSLContext | None = None

    def get_request(self) -> Any:
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a handshake that fails is what some tests are about


class _UnixServer(ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def _origin(seen: Seen, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    server = _TcpServer(("127.0.0.1", 0), _handler(seen))
    server.tls = tls
    with socketserver_serving(server) as url:
        yield url if tls is None else url.replace("http://", "https://")


@contextmanager
def _unix_origin(seen: Seen, path: str) -> Iterator[None]:
    server = _UnixServer(path, _handler(seen))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _http2_origin(seen: Seen, tls: ssl.SSLContext) -> Iterator[str]:
    def serve(raw: socket.socket) -> None:
        with tls.wrap_socket(raw, server_side=True) as connection:
            state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
            state.initiate_connection()
            connection.sendall(state.data_to_send())
            while data := connection.recv(65536):
                for event in state.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        headers = [(str(name), str(value)) for name, value in event.headers or ()]
                        seen.connections += event.stream_id == 1
                        seen.add(headers, protocol=connection.selected_alpn_protocol())
                        state.send_headers(event.stream_id or 0, [(":status", "200"), ("content-length", "5")])
                        state.send_data(event.stream_id or 0, b"hello", end_stream=True)
                connection.sendall(state.data_to_send())

    with sockets_serving(serve) as url:
        yield url.replace("http://", "https://")


def _socks(client: socket.socket) -> None:
    """Serve a connection as a SOCKS 5 proxy that lets everybody in."""
    greeting = client.recv(2)
    client.recv(greeting[1])
    client.sendall(b"\x05\x00")
    kind = client.recv(4)[3]
    length = 4 if kind == 1 else client.recv(1)[0]
    address = client.recv(length)
    host = socket.inet_ntoa(address) if kind == 1 else address.decode()
    port = int.from_bytes(client.recv(2), "big")
    with socket.create_connection((host, port)) as server:
        client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
        back.start()
        _pass_on(client, server)
        back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
