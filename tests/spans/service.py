"""A small service that fails, and what its spans say once they have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from tracemw.asgi import TraceMiddleware


class PaymentError(Exception):
    pass


def attributes(recorded_span: ReadableSpan) -> dict[str, Any]:
    return dict(recorded_span.attributes or {})


def exceptions(recorded_span: ReadableSpan) -> list[str]:
    return [str((event.attributes or {})["exception.type"]) for event in recorded_span.events]


def current_name() -> str | None:
    current = trace.get_current_span()
    return current.name if isinstance(current, ReadableSpan) else None


def child_of(child: ReadableSpan, parent: ReadableSpan) -> bool:
    return child.parent is not None and parent.context is not None and child.parent.span_id == parent.context.span_id


async def ask(app: Callable[[], Any]) -> httpx.Response:
    """GET / from a small ASGI application behind the tracing door, which runs `app` and answers."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await app()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    transport = httpx.ASGITransport(TraceMiddleware(asgi, skip=["/skipped"]))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/skipped" if app.__name__ == "skipped" else "/")
