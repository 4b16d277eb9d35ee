"""A small OTLP backend in a thread: it keeps what it receives and can be told to misbehave."""

from __future__ import annotations

import gzip
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


class Refusal(NamedTuple):
    """How a request is refused: with this status, body and type over HTTP, or code and details over gRPC."""

    status: int | str
    body: bytes | str = b""
    content_type: str = "text/plain; charset=utf-8"


class Backend:
    """What an OTLP/HTTP endpoint has received."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.retry_after: str | None = None
        self.hang = 0.0
        self.answer = b""
        self.location: str | None = None
        self.judge: Callable[[bytes], Refusal | None] = lambda body: None
        """Refuses the requests that it gives a refusal of; those for spans."""
        self.content_type: str | None = None
        self.refused = 0
        self.metrics_attempts = 0
        self.metrics_bodies: list[bytes] = []
        self.hangs_up: str | None = None
        """When the connection is closed unannounced: `before` the answer, or `after` it."""
        self.attempts = 0
        self.connections = 0
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
    def requests_measured(self) -> dict[str, int]:
        """How many requests the metrics tell of, at the latest, by the instance that has served them."""
        return {
            pair.value.string_value: sum(point.count for point in metric.histogram.data_points)
            for body in list(self.metrics_bodies)
            for told in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for pair in told.resource.attributes
            if pair.key == "service.instance.id"
            for scope in told.scope_metrics
            for metric in scope.metrics
            if metric.name == "http.server.request.duration"
        }

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
            backend.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            backend.attempts += 1
            if backend.hang:
                time.sleep(backend.hang)
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if backend.hangs_up == "before":
                self.close_connection = True
                return
            is_of_spans = self.path.endswith("/traces")
            backend.metrics_attempts += not is_of_spans
            if is_of_spans and (refusal := backend.judge(body)) is not None:
                backend.refused += 1
                self.send_response(int(refusal.status))
                self.send_header("Content-Type", refusal.content_type)
                self.send_header("Content-Length", str(len(refusal.body)))
                self.end_headers()
                self.wfile.write(bytes(refusal.body))  # type: ignore[arg-type]  # bytes, over HTTP
                return
            if 200 <= backend.status < 300:
                if not is_of_spans:
                    backend.metrics_bodies.append(body)
                if self.path.endswith("/traces"):
                    backend.requests.append(ExportTraceServiceRequest.FromString(body))
                backend.headers.append({key.lower(): value for key, value in self.headers.items()})
                backend.paths.append(self.path)
            self.send_response(backend.status)
            self.send_header("Content-Length", str(len(backend.answer)))
            if backend.content_type is not None:
                self.send_header("Content-Type", backend.content_type)
            if backend.retry_after is not None:
                self.send_header("Retry-After", backend.retry_after)
            if backend.location is not None:
                self.send_header("Location", backend.location)
            self.end_headers()
            self.wfile.write(backend.answer)
            if backend.hangs_up == "after":
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exc_info()[1], OSError):  # a client that has gone is no news
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", port), Handler)
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


class GrpcBackend(Backend):
    """What an OTLP/gRPC endpoint has received; `code` is what it answers with, OK or not."""

    def __init__(self) -> None:
        super().__init__()
        self.code = grpc.StatusCode.OK
        self.details = "as the test says"
        self.takes_metrics = True
        self.metrics_refusal: Refusal | None = None
        self.trailers: tuple[tuple[str, bytes], ...] = ()
        self.metrics_headers: list[dict[str, str]] = []


@contextmanager
def grpc_backend_serving(port: int = 0, *, credentials: grpc.ServerCredentials | None = None) -> Iterator[GrpcBackend]:
    """Serve an OTLP/gRPC endpoint on 127.0.0.1 for the length of the block."""
    backend = GrpcBackend()

    def export(body: bytes, context: Any) -> bytes:
        backend.attempts += 1
        if backend.hang:
            time.sleep(backend.hang)
        if backend.code is not grpc.StatusCode.OK:
            context.set_trailing_metadata(backend.trailers)
            context.abort(backend.code, backend.details)
        if (refusal := backend.judge(body)) is not None:
            backend.refused += 1
            context.abort(grpc.StatusCode[str(refusal.status)], refusal.body)
        backend.requests.append(ExportTraceServiceRequest.FromString(body))
        backend.headers.append(dict(context.invocation_metadata()))
        return backend.answer

    def export_metrics(body: bytes, context: Any) -> bytes:
        if (refusal := backend.metrics_refusal) is not None:
            context.abort(grpc.StatusCode[str(refusal.status)], refusal.body)
        backend.metrics_bodies.append(body)
        backend.metrics_headers.append(dict(context.invocation_metadata()))
        return b""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, call: Any) -> Any:
            if call.method == "/opentelemetry.proto.collector.trace.v1.TraceService/Export":
                return grpc.unary_unary_rpc_method_handler(export)
            is_of_metrics = call.method == "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
            backend.metrics_attempts += is_of_metrics
            if is_of_metrics and backend.takes_metrics:
                return grpc.unary_unary_rpc_method_handler(export_metrics)
            return None

    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([Handler()])
    address = f"127.0.0.1:{port}"
    bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    backend.url = f"{'https' if credentials else 'http'}://127.0.0.1:{bound}"
    server.start()
    try:
        yield backend
    finally:
        server.stop(0).wait()


@contextmanager
def sockets_serving(behave: Callable[[socket.socket], object]) -> Iterator[str]:
    """Hand each connection to `behave`, in a thread of its own, and give the base URL; all end with the block."""
    serving: list[tuple[socket.socket, threading.Thread]] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        try:
            behave(connection)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            serving.append((connection, threading.Thread(target=serve, args=(connection,), daemon=True)))
            serving[-1][1].start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection, server in serving:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            server.join(10)  # it has seen the end; closed under its hands, the number may be another's
            connection.close()


def bodies_from(connection: socket.socket) -> Iterator[bytes]:
    """Yield the body of each request that comes in, as it is."""
    size = 0
    with connection.makefile("rb") as requests:
        while line := requests.readline():
            if line.lower().startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
            elif line == b"\r\n":
                yield requests.read(size)


@contextmanager
def nobody_serving() -> Iterator[str]:
    """Give the base URL of a listener whose backlog is full: it neither takes a connection nor refuses one."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            each = waiting.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Proxy:
    """What a proxy was asked for: the first line and the headers of each connection."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.passed_on = 0
        """Bytes from clients to servers, once the tunnel was there."""


@contextmanager
def proxy_serving() -> Iterator[Proxy]:
    """Serve an HTTP proxy: it tunnels what CONNECT asks for, and passes on requests with an absolute URL."""
    proxy = Proxy()

    def behave(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return
            head += data
        text = head.partition(b"\r\n\r\n")[0].decode()
        proxy.asked.append(text)
        method, target, _ = text.split("\r\n")[0].split(" ")
        address = target if method == "CONNECT" else target.split("/")[2]
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                server.sendall(head.replace(f"http://{address}".encode(), b"", 1))
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        proxy.passed_on += len(data)
                    (server if source is client else client).sendall(data)

    with sockets_serving(behave) as url:
        proxy.url = url
        yield proxy
