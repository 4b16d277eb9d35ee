"""What takes the spans that the services export: OTLP over HTTP, on this machine."""

from __future__ import annotations

import base64
import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """An OTLP receiver that keeps what it gets, as JSON with hex ids."""

    def __init__(self) -> None:
        self.groups: list[dict[str, Any]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, body: bytes) -> None:
        """Keep the spans of one request."""
        request = ExportTraceServiceRequest.FromString(body)
        for group in MessageToDict(request, use_integers_for_enums=True).get("resourceSpans", ()):
            for scope in group.get("scopeSpans", ()):
                for span in scope["spans"]:
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if name in span:
                            span[name] = base64.b64decode(span[name]).hex()
            self.groups.append(group)

    def spans(self) -> list[tuple[str, dict[str, Any]]]:
        """Return all spans so far, each with its service."""
        found = []
        for group in list(self.groups):
            told = {each["key"]: each["value"] for each in group.get("resource", {}).get("attributes", ())}
            service = told.get("service.name", {}).get("stringValue", "")
            found += [(service, span) for scope in group["scopeSpans"] for span in scope["spans"]]
        return found

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
