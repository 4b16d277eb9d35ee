"""How a service of the recording is traced, as the variable `TRACED_BY` says."""

from __future__ import annotations

import os
from typing import Any

TRACED_BY = os.environ.get("TRACED_BY", "opentelemetry")


def trace_shop(app: Any, engine: Any, client: Any) -> None:
    """Trace a FastAPI application, its SQLAlchemy engine, and its httpx client."""
    if TRACED_BY == "tracemw":
        import tracemw
        from tracemw.fastapi import TraceMiddleware
        from tracemw.httpx import trace_client
        from tracemw.sqlalchemy import trace_engine

        tracemw.init("shop")
        trace_engine(engine)
        trace_client(client)
        app.add_middleware(TraceMiddleware)
        return
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    _start("shop")
    SQLAlchemyInstrumentor().instrument(engine=engine)
    HTTPXClientInstrumentor().instrument_client(client)
    RedisInstrumentor().instrument()
    FastAPIInstrumentor.instrument_app(app)


def trace_stock(app: Any, session: Any) -> None:
    """Trace a Flask application, and its session of requests."""
    if TRACED_BY == "tracemw":
        import tracemw
        from tracemw.flask import TraceMiddleware
        from tracemw.requests import trace_session

        tracemw.init("stock")
        trace_session(session)
        TraceMiddleware(app)
        return
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    _start("stock")
    RequestsInstrumentor().instrument()
    FlaskInstrumentor().instrument_app(app)


def _start(service: str) -> None:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=200))
    trace.set_tracer_provider(provider)


def flush() -> None:
    """Have all spans that have ended leave the process."""
    from opentelemetry import trace

    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
