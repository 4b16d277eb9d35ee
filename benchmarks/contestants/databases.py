"""Selects from SQLite by SQLAlchemy: one beneath a parent of its own each time, as in a request, or a loop of them."""

from __future__ import annotations

from random import getrandbits
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from sqlalchemy import Integer, String, create_engine, select
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import Column, MetaData, Table

from benchmarks.contestants import Burst, cpu, pipelines

_ITEMS = Table("items", MetaData(), Column("id", Integer, primary_key=True), Column("name", String(40)))
_REPEATS = 5000
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def sqlalchemy(*, door: str | None = None) -> Burst:
    """Select an item, traced by a door."""
    pipeline = {"ours": pipelines.ours, "official": pipelines.sdk}.get(door or "", pipelines.none)()
    engine = _engine()
    if door == "ours":
        from tracemw.sqlalchemy import trace_engine

        trace_engine(engine)
    if door == "official":
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

        SQLAlchemyInstrumentor().instrument(engine=engine)
    wanted = select(_ITEMS).where(_ITEMS.c.id == 1)
    connection = engine.connect()
    connection.execute(wanted).one()
    pipeline.flush()

    def call(operations: int) -> None:
        for _ in range(operations):
            parent = SpanContext(getrandbits(128), getrandbits(64), is_remote=True, trace_flags=_SAMPLED)
            token = context.attach(trace.set_span_in_context(NonRecordingSpan(parent)))
            connection.execute(wanted).one()
            context.detach(token)
        pipeline.flush()

    return cpu(lambda operations: lambda: call(operations))


def repeats(*, door: str | None = None) -> Burst:
    """Select an item 5,000 times in a loop beneath one span."""
    engine = _engine()
    pipeline = pipelines.ours() if door else pipelines.none()
    if door:
        from tracemw.sqlalchemy import trace_engine

        trace_engine(engine)
    wanted = select(_ITEMS).where(_ITEMS.c.id == 1)
    tracer = trace.get_tracer("shop")
    connection = engine.connect()

    def call(operations: int) -> None:
        for _ in range(operations):
            with tracer.start_as_current_span("request"):
                for _ in range(_REPEATS):
                    connection.execute(wanted).one()
        pipeline.flush()

    return cpu(lambda operations: lambda: call(operations))


def _engine() -> Any:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    _ITEMS.create(engine)
    with engine.begin() as connection:
        connection.execute(_ITEMS.insert().values(id=1, name="mug"))
    return engine
