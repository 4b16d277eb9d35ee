"""The validation service with a Flask door in and a requests door out."""

from __future__ import annotations

import requests
from flask import Flask, request
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from tracemw.flask import TraceMiddleware
from tracemw.requests import trace_session

if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
    trace.set_tracer_provider(TracerProvider())

app = Flask(__name__)
TraceMiddleware(app)


@app.post("/test")
def call_each() -> dict[str, int]:
    """Post each call's arguments to its url."""
    calls = request.get_json()
    with trace_session(requests.Session()) as session:
        for call in calls:
            session.post(call["url"], json=call["arguments"], timeout=5)
    return {"calls": len(calls)}
