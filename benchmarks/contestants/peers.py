"""The others, each set up as its documentation has it, and told to deliver to the sink.

Each door's function gets a FastAPI application before its first request, sets everything up that the process needs,
and returns what waits until all has been delivered.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.contestants import pipelines

Flush = Callable[[], None]


@dataclass(frozen=True)
class Outbound:
    """An application's SQLAlchemy engine and httpx client, whose statements and calls are to be traced as well."""

    engine: Any
    client: Any


def patch(door: str) -> None:
    """Do what a peer wants to have done before anything else is imported."""
    if door == "datadog":
        os.environ |= {
            "DD_TRACE_AGENT_URL": pipelines.sink(),
            "DD_TRACE_API_VERSION": "v0.4",
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
            "DD_TRACE_STARTUP_LOGS": "false",
        }
        import ddtrace

        ddtrace.patch(fastapi=True, starlette=True, httpx=True, sqlalchemy=True)
    elif door == "elastic":
        import elasticapm

        elasticapm.instrument()


def untraced(app: Any, outbound: Outbound | None) -> Flush:
    return pipelines.none().flush


def ours_with_logs(app: Any, outbound: Outbound | None) -> Flush:
    import tracemw.logging

    tracemw.logging.install(kept_logs="DEBUG")
    return ours(app, outbound)


def ours_with_logs_alone(app: Any, outbound: Outbound | None) -> Flush:
    import tracemw.logging

    tracemw.logging.install(kept_logs="DEBUG")
    return ours(app, outbound, watch=False)


def ours_without_blame(app: Any, outbound: Outbound | None) -> Flush:
    return ours(app, outbound, blame=False)


def ours_unwatched(app: Any, outbound: Outbound | None) -> Flush:
    return ours(app, outbound, watch=False)


def ours(app: Any, outbound: Outbound | None, *, watch: bool = True, blame: bool = True) -> Flush:
    from tracemw.fastapi import TraceMiddleware

    pipeline = pipelines.ours(watch=watch, blame=blame)
    app.add_middleware(TraceMiddleware)
    if outbound:
        from tracemw.httpx import trace_client
        from tracemw.sqlalchemy import trace_engine

        trace_engine(outbound.engine)
        trace_client(outbound.client)
    return pipeline.flush


def official(app: Any, outbound: Outbound | None) -> Flush:
    return _official(app, outbound)


def official_one_span(app: Any, outbound: Outbound | None) -> Flush:
    return _official(app, outbound, exclude_spans=["receive", "send"])


def _official(app: Any, outbound: Outbound | None, **options: Any) -> Flush:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    pipeline = pipelines.sdk()
    FastAPIInstrumentor.instrument_app(app, **options)
    if outbound:
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

        _trace_statements(outbound)
        HTTPXClientInstrumentor.instrument_client(outbound.client)
    return pipeline.flush


def native(app: Any, outbound: Outbound | None) -> Flush:
    """Set up FastAPI's own telemetry: no more than a provider is needed."""
    pipeline = pipelines.sdk()
    if outbound:
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

        _trace_statements(outbound)
        HTTPXClientInstrumentor.instrument_client(outbound.client)
    return pipeline.flush


def _trace_statements(outbound: Outbound) -> None:
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    SQLAlchemyInstrumentor().instrument(engine=outbound.engine)


def logfire(app: Any, outbound: Outbound | None) -> Flush:
    import logfire
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint=f"{pipelines.sink()}/v1/traces")
    logfire.configure(
        send_to_logfire=False,
        console=False,
        metrics=False,
        inspect_arguments=False,
        additional_span_processors=[BatchSpanProcessor(exporter)],
    )
    logfire.instrument_fastapi(app)
    if outbound:
        logfire.instrument_sqlalchemy(outbound.engine)
        logfire.instrument_httpx(outbound.client)

    def flush() -> None:
        if not logfire.force_flush(60_000):
            raise RuntimeError("not delivered")

    return flush


def sentry(app: Any, outbound: Outbound | None) -> Flush:
    import sentry_sdk

    # Its integrations find FastAPI, SQLAlchemy and httpx by themselves.
    sentry_sdk.init(
        dsn=f"{pipelines.sink().replace('://', '://key@', 1)}/1",
        traces_sample_rate=1.0,
        transport_queue_size=65536,
        auto_session_tracking=False,
    )
    return lambda: sentry_sdk.flush(60)


def datadog(app: Any, outbound: Outbound | None) -> Flush:
    from ddtrace.trace import tracer

    flush: Flush = tracer.flush
    return flush


def elastic(app: Any, outbound: Outbound | None) -> Flush:
    from elasticapm.contrib.starlette import ElasticAPM, make_apm_client

    client = make_apm_client(
        {
            "SERVICE_NAME": os.environ["BENCH_NAME"],
            "SERVER_URL": pipelines.sink(),
            "METRICS_INTERVAL": "0s",
            "CENTRAL_CONFIG": False,
            "CLOUD_PROVIDER": "none",
        }
    )
    logging.getLogger("elasticapm").setLevel(logging.ERROR)
    app.add_middleware(ElasticAPM, client=client)
    transport: Any = client._transport
    return lambda: transport.flush()


def floor(app: Any, outbound: Outbound | None) -> Flush:
    from benchmarks.contestants.floor import Delivery, Middleware

    delivery = Delivery(pipelines.sink())
    app.add_middleware(Middleware, delivery=delivery)
    if outbound:
        from benchmarks.contestants.floor_outbound import trace_outbound

        trace_outbound(outbound.engine, outbound.client, delivery)
    return delivery.flush
