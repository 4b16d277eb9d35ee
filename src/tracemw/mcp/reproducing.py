"""How to send a request like the one of a trace. Names only: no value of the request is told."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from urllib.parse import parse_qsl

from tracemw.analysis.conventions import http_status, path
from tracemw.analysis.model import SERVER, Span, Trace
from tracemw.analysis.shapes import without_numbers


def lines_to_reproduce(trace: Trace) -> Iterator[str]:
    """Give the lines that say how to send a trace's request again.

    Raises:
        LookupError: if the trace has no HTTP request.
    """
    request = next((span for span in trace.spans if span.kind == SERVER and _method(span)), None)
    if request is None:
        raise LookupError(f"trace {trace.trace_id} has no request over HTTP; look at it with show_trace")
    method = _method(request)
    route = str(request.attributes.get("http.route") or without_numbers(path(request.attributes)) or "/")
    names = list(
        dict.fromkeys(
            name for name, _ in parse_qsl(str(request.attributes.get("url.query", "")), keep_blank_values=True)
        )
    )
    query = f"?{'&'.join(f'{name}=...' for name in names)}" if names else ""
    yield f"{method} {route}{query} on {request.service}"
    status = str(http_status(request.attributes) or "without a status")
    why = request.error_type
    yield f"It answered {status}" + (f", {why}" if why and why != status else "")
    if names:
        yield f"Query parameters, without their values: {', '.join(names)}"
    called = list(dict.fromkeys(span.service for span in trace.spans if span.service != request.service))
    if called:
        yield f"Services that took part, and must run: {', '.join(called)}"
    url = shlex.quote(f"{request.attributes.get('url.scheme', 'http')}://{_host(request)}{route}{query}")
    yield f"curl -g -i -X {shlex.quote(method)} {url} -H 'traceparent: 00-{trace.trace_id}-{request.span_id}-01'"
    yield "Put in values. The header adds the new spans to this trace; leave it out for a trace of its own."


def _host(request: Span) -> str:
    """Return host and port as the request named them; `HOST` stands for a host that is not known."""
    host, port = str(request.attributes.get("server.address", "HOST")), request.attributes.get("server.port")
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"


def _method(span: Span) -> str:
    return str(span.attributes.get("http.request.method", ""))
