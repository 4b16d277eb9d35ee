"""A small OTLP backend in a thread: it keeps what it receives and can be told to misbehave."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


class Backend:
    """What an OTLP/HTTP endpoint has received."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.retry_after: str | None = None
        self.hang = 0.0
        self.attempts = 0
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []

    @property
    def resource_spans(self) -> list[ResourceSpans]:
        return [batch for request in self.requests for batch in request.resource_spans]

    @property
    def spans(self) -> list[Span]:
        return [span for batch in self.resource_spans for scope in batch.scope_spans for span in scope.spans]

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    @property
    def resource(self) -> dict[str, str]:
        """The resource attributes of the latest batch."""
        return {pair.key: pair.value.string_value for pair in self.resource_spans[-1].resource.attributes}


@contextmanager
def backend_serving(port: int = 0, *, tls: ssl.SSLContext | None = None) -> Iterator[Backend]:
    """Serve an OTLP/HTTP endpoint on 127.0.0.1 for the length of the block."""
    backend = Backend()
    connections: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            connections.append(self.connection)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            backend.attempts += 1
            if backend.hang:
                time.sleep(backend.hang)
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if backend.status == 200:
                if self.path.endswith("/traces"):
                    backend.requests.append(ExportTraceServiceRequest.FromString(body))
                backend.headers.append({key.lower(): value for key, value in self.headers.items()})
                backend.paths.append(self.path)
            self.send_response(backend.status)
            self.send_header("Content-Length", "0")
            if backend.retry_after is not None:
                self.send_header("Retry-After", backend.retry_after)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    backend.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield backend
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for connection in connections:  # kept alive by clients, they would outlive the server
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
