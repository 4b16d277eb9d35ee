"""Both generations of OpenTelemetry's semantic conventions, read in one place.

Attributes get their names of today when a trace is built. Whatever reads them afterwards knows those names only.
Source: the migration guides for HTTP, database, code and RPC spans (opentelemetry.io/docs/specs/semconv/non-normative),
and OpenTracing, whose clients many services still have (opentracing.io/specification/conventions).
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

_LONGEST: Final = 2**64 / 1e9
"""Seconds: the times of OTLP are nanoseconds in 64 bits."""

_NAMES: Final = {
    "http.method": "http.request.method",
    "http.status_code": "http.response.status_code",
    "http.url": "url.full",
    "http.target": "url.path",
    "http.host": "server.address",
    "net.peer.name": "server.address",
    "net.peer.port": "server.port",
    "http.resend_count": "http.request.resend_count",
    "db.system": "db.system.name",
    "db.statement": "db.query.text",
    "db.operation": "db.operation.name",
    "db.name": "db.namespace",
    "db.sql.table": "db.collection.name",
    "code.filepath": "code.file.path",
    "code.lineno": "code.line.number",
    "code.function": "code.function.name",
    "rpc.system.name": "rpc.system",
    "db.type": "db.system.name",
    "db.instance": "db.namespace",
    "peer.hostname": "server.address",
    "peer.port": "server.port",
    "message_bus.destination": "messaging.destination.name",
    "messaging.destination": "messaging.destination.name",
}
"""Names of before, and what they are called today. Where several become one, the first that a span has holds."""

_BEFORE: Final = frozenset(_NAMES)

_SOFT_GRPC: Final = frozenset({1, 3, 5, 6, 9, 10, 11, 16})
"""gRPC statuses that answer the caller, as 4xx does: cancelled, invalid argument, not found, already exists, ..."""

_AGAIN: Final = frozenset({408, 425, 429})
"""HTTP statuses that ask to try again."""

_CANCELLED: Final = ("CancelledError", "GeneratorExit", "StopIteration", "StopAsyncIteration", "ClientDisconnect")


_OF_MODELS: Final = ("gen_ai.operation.name", "gen_ai.request.model", "gen_ai.system", "llm.model_name")
_MODELS: Final = (
    "api.openai.com",
    ".openai.azure.com",
    "api.anthropic.com",
    "api.mistral.ai",
    "generativelanguage.googleapis.com",
)
"""Hosts of language models, whose calls most applications trace as any other call."""

_CONTENT_TYPES: Final = ("http.response.header.content-type", "http.response.header.content_type")


def in_names_of_today(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes under the names of the stable conventions. A name of today that is there already holds."""
    if _BEFORE.isdisjoint(attributes):
        return attributes
    renamed = {key: value for key, value in attributes.items() if key not in _BEFORE}
    for before, now in _NAMES.items():
        if before in attributes:
            renamed.setdefault(now, attributes[before])
    return renamed


def whole(value: object) -> int | None:
    """Return a whole number that some formats write as text; None for anything else."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return None


def seconds(value: object) -> float:
    """Return a length of time that an attribute gives; 0 for anything that is none, or longer than OTLP can say."""
    is_length = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LONGEST
    return float(value) if is_length else 0.0  # type: ignore[arg-type]


def http_status(attributes: Mapping[str, Any]) -> int | None:
    """Return the status of an HTTP response."""
    value = attributes.get("http.response.status_code")
    return None if value is None else whole(value)


def answers_the_caller(attributes: Mapping[str, Any]) -> bool:
    """Return whether a failed call has an answer that is normal in life: 4xx, or its like in gRPC."""
    status = http_status(attributes)
    if status is not None:
        return 400 <= status < 500
    grpc = attributes.get("rpc.grpc.status_code")
    return grpc is not None and whole(grpc) in _SOFT_GRPC


def asks_to_try_again(attributes: Mapping[str, Any]) -> bool:
    """Return whether a response says that the same call may succeed later."""
    return http_status(attributes) in _AGAIN


def is_cancelled(error_type: str) -> bool:
    """Return whether an exception only says that nobody waits any longer."""
    return error_type.endswith(_CANCELLED)


def asks_a_model(attributes: Mapping[str, Any]) -> bool:
    """Return whether this is a call of a language model, which takes its time."""
    if any(name in attributes for name in _OF_MODELS):
        return True
    host = attributes.get("server.address")
    return isinstance(host, str) and host.endswith(_MODELS)


def is_connection(attributes: Mapping[str, Any]) -> bool:
    """Return whether a request became a connection that lasts: a WebSocket, or a stream of events."""
    if attributes.get("url.scheme", attributes.get("http.scheme")) in ("ws", "wss") or http_status(attributes) == 101:
        return True
    return any("text/event-stream" in str(attributes.get(name, "")) for name in _CONTENT_TYPES)


def is_proxy(attributes: Mapping[str, Any]) -> bool:
    """Return whether a sidecar recorded this span, such as Istio's Envoy, beside what the service itself recorded."""
    return attributes.get("component") == "proxy" or "upstream_cluster" in attributes or "istio.mesh_id" in attributes


def path(attributes: Mapping[str, Any]) -> str:
    """Return the path of a request without its query; empty when there is none."""
    found = attributes.get("url.path")
    if not isinstance(found, str):
        full = attributes.get("url.full")
        try:
            found = urlsplit(full).path if isinstance(full, str) else ""
        except ValueError:
            found = ""
    return found.partition("?")[0]


def peer(attributes: Mapping[str, Any]) -> str:
    """Return who is called: host and port, or the name of the peer; empty when the span does not say."""
    host, port = attributes.get("server.address"), attributes.get("server.port")
    if not host:
        full = attributes.get("url.full")
        try:
            host = urlsplit(full).netloc.rpartition("@")[2] if isinstance(full, str) else ""
        except ValueError:
            host = ""
        host = host or attributes.get("peer.service") or attributes.get("rpc.service") or ""
    host = str(host)
    return f"{host}:{port}" if port and ":" not in host else host


def callee_name(attributes: Mapping[str, Any]) -> str:
    """Return the name that a service most likely has which is called at this address: the first part of the host."""
    return peer(attributes).partition(":")[0].partition(".")[0]


def code_line(attributes: Mapping[str, Any]) -> str:
    """Return the line of code that a span or event names, as `app.py:57, orders_of`; empty when it names none."""
    file, line = attributes.get("code.file.path"), attributes.get("code.line.number")
    function = str(attributes.get("code.function.name") or "").rpartition(".")[2]
    if not file:
        return function
    place = os.path.basename(str(file)) if line is None else f"{os.path.basename(str(file))}:{line}"  # noqa: PTH119  a path of another machine
    return f"{place}, {function}" if function else place
