"""The validation service with a FastAPI door in and an httpx door out."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
from fastapi import Body, FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from tracemw.fastapi import TraceMiddleware
from tracemw.httpx import trace_client

if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
    trace.set_tracer_provider(TracerProvider())

app = FastAPI()
app.add_middleware(TraceMiddleware)


@app.post("/test")
async def call_each(calls: Annotated[list[dict[str, Any]], Body()]) -> dict[str, int]:
    """Post each call's arguments to its url."""
    async with trace_client(httpx.AsyncClient()) as client:
        for call in calls:
            await client.post(call["url"], json=call["arguments"])
    return {"calls": len(calls)}
