"""A service that records whatever it is sent, in every carrier, and exports it on every way there is.

Arguments: the file that the console exporter writes to, and the endpoint of the SDK's own exporter.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from opentelemetry import baggage, context, metrics, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

import tracemw
import tracemw.asgi
import tracemw.logging
from leaks.corpus import leaks

_logger = logging.getLogger("shop")


def record(text: str) -> None:
    """Record a text in each carrier that a span has."""
    span = trace.get_current_span()
    span.set_attribute("note.text", text)
    span.set_attribute("note.list", ["first", text, "last"])
    span.set_attribute("note.deep", {"a": [{"b": text}], text: 1})
    span.set_attribute("own.text", text)
    span.set_attribute("own.list", [text])
    span.set_attribute("http.route", text)
    span.set_attribute(text, "a key")
    span.add_event(f"event {text}", {"note.text": text, "own": text})
    linked = SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(1))
    tracer = trace.get_tracer("shop", attributes={"note": text})
    with tracer.start_as_current_span(f"child {text}", links=[Link(linked, {"note.text": text, "own": text})]) as child:
        child.set_status(Status(StatusCode.ERROR, f"failed: {text}"))
    statement = "SELECT * FROM customers WHERE note = '" + text.replace("'", "''") + "'"
    database = {"db.system": "postgresql", "db.statement": statement}
    with tracer.start_as_current_span("query", kind=SpanKind.CLIENT, attributes=database):
        pass
    # Bytes stand on a span of their own: the console exporter cannot show them.
    with tracer.start_as_current_span("bytes", attributes={"note.bytes": text.encode(), "db.statement": statement}):
        pass
    _logger.debug("kept: %s", text)
    try:
        try:
            raise KeyError(text)
        except KeyError as cause:
            raise RuntimeError(f"because of {text}") from cause
    except RuntimeError as error:
        error.add_note(f"note: {text}")
        span.record_exception(error)
        span.record_exception(ExceptionGroup(f"group {text}", [ValueError(text), error]))
    metrics.get_meter("shop").create_counter("shop.notes").add(1, {"http.route": text, "own": text})


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """Record the text of the request's body."""
    message = await receive()
    text = json.loads(message["body"])["text"]
    record(text)
    headers = [(b"x-note", text.encode("utf-8")), (b"set-cookie", b"sid=" + text.encode("utf-8"))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"done"})
    if scope["path"].startswith("/fail"):
        raise RuntimeError(f"left with {text}")


async def ask(app: Any, text: str) -> None:
    """Make one request that carries a text in all of its parts."""
    plain = text.encode("utf-8")
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = [
        (b"host", b"shop.example.com"),
        (b"user-agent", b"agent " + plain),
        (b"x-note", plain),
        (b"authorization", plain),
        (b"cookie", plain),
        (b"traceparent", parent),
        (b"tracestate", b"vendor=" + text.replace(",", ";").replace("=", ":").encode()),
        (b"baggage", b"tenant.id=" + text.replace(",", " ").replace(";", " ").encode()),
    ]
    query = b"note=" + plain + b"&page=2"
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": f"/fail/{text}",
        "raw_path": b"/fail",
        "query_string": query,
        "headers": headers,
        "root_path": "",
        "client": ("10.1.2.3", 4000),
        "server": ("shop.example.com", 443),
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps({"text": text}).encode()}

    async def send(message: Any) -> None:
        del message

    token = context.attach(baggage.set_baggage("tenant.id", text))
    try:
        await app(scope, receive, send)
    except RuntimeError:
        pass
    finally:
        context.detach(token)


def main(console: str, endpoint: str) -> None:
    """Record all leaks, deliver them, and say what was redacted."""
    tracing = tracemw.init(
        "shop", environment="production", sampling=1.0, metrics=True, allow={"note.*"}, baggage=("tenant.id",)
    )
    out = Path(console).open("w", encoding="utf-8")  # noqa: SIM115  until the end of the process
    provider: Any = tracing.provider
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out)))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    tracemw.logging.install(kept_logs="DEBUG", loggers=["shop"])
    app = tracemw.asgi.TraceMiddleware(
        serve,
        capture_request_headers=("x-note", "authorization", "cookie"),
        capture_response_headers=("x-note", "set-cookie"),
    )

    async def ask_all() -> None:
        for number, leak in enumerate(leaks()):
            await ask(app, leak.text)
            if number % 20 == 19:
                tracing.flush(60)

    asyncio.run(ask_all())
    provider.force_flush()
    assert tracing.shutdown(60)
    sys.stdout.write(json.dumps(tracing.stats().redacted))


if __name__ == "__main__":
    main(*sys.argv[1:])
