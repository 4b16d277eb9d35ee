"""The database spans of others leave by the conventions of now, and without what may be secret."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from encoding.samples import an_encoder
from tracemw._db.conforming import conformed
from tracemw._recording import TracerProvider

FORMER: dict[str, Any] = {
    "db.system": "postgresql",
    "db.name": "shop",
    "db.user": "ada",
    "db.connection_string": "postgresql://ada:secret@db.example.com/shop",
    "db.statement": "SELECT * FROM orders WHERE card = '4111' AND id = %s",
    "db.statement.parameters": "('secret',)",
    "db.operation": "SELECT shop",
    "net.peer.name": "db.example.com",
    "net.peer.port": 5432,
    "net.transport": "ip_tcp",
    "http.route": "/orders",
}
NOW: dict[str, Any] = {
    "db.system.name": "postgresql",
    "db.namespace": "shop",
    "db.query.text": "SELECT * FROM orders WHERE card = ? AND id = %s",
    "db.query.summary": "SELECT orders",
    "db.operation.name": "SELECT",
    "db.collection.name": "orders",
    "server.address": "db.example.com",
    "server.port": 5432,
    "http.route": "/orders",
}

SUMMED_UP = {"db.query.summary": "SET", "db.operation.name": "SET"}


def test_former_names_become_those_of_now_and_what_is_private_goes() -> None:
    assert conformed("SELECT shop", FORMER) == ("SELECT orders", NOW, False)


def test_a_span_that_conforms_stays_as_it_is() -> None:
    assert conformed("SELECT orders", NOW) == ("SELECT orders", NOW, False)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"db.system": "redis", "db.statement": "SET session secret"}, {"db.query.text": "SET ?"}),
        ({"db.system": "redis", "db.statement": "SET a\nsecret b"}, {"db.query.text": "SET ?"}),
        ({"db.system": "redis", "db.statement": "SET ? ?\nGET ?"}, {"db.query.text": "SET ? ?\nGET ?"}),
        ({"db.system": "redis", "db.statement": "PING"}, {"db.query.text": "PING"}),
        ({"db.system": "redis", "db.redis.database_index": 3}, {"db.namespace": "3"}),
        ({"db.system": "mongodb", "db.statement": "find {'name': 'secret'}"}, {"db.query.text": "find ?"}),
        ({"db.system": "mongodb", "db.mongodb.collection": "orders"}, {"db.collection.name": "orders"}),
        ({"db.system": "elasticsearch", "db.statement": '{"query": "secret"}'}, {}),
        ({"db.system.name": "sqlite", "db.query.text": "SET 1"}, {"db.query.text": "SET ?", **SUMMED_UP}),
        ({"db.system": "mssql"}, {}),
        ({"db.system.name": "sqlite", "db.query.parameter.id": "secret"}, {}),
        ({"db.system.name": "sqlite", "db.query.text": ("no", "text")}, {}),
        (
            {"db.system": "sqlite", "db.system.name": "sqlite", "db.statement": "SET 1", "db.query.text": "SET 1"},
            {"db.query.text": "SET ?", **SUMMED_UP},
        ),
    ],
)
def test_only_what_may_be_told_of_a_statement_is_told(given: dict[str, Any], told: dict[str, Any]) -> None:
    name, made, _ = conformed("name", given)
    system = made.pop("db.system.name")
    assert system in ("redis", "mongodb", "elasticsearch", "sqlite", "microsoft.sql_server", "postgresql")
    assert made == told
    assert name == told.get("db.query.summary", "name")


def test_a_batch_is_called_so() -> None:
    batch = {**NOW, "db.operation.batch.size": 3, "db.operation.name": "BATCH SELECT", "db.query.summary": "BATCH"}
    name, made, _ = conformed("SELECT", batch)
    assert (name, made["db.query.summary"]) == ("BATCH SELECT orders", "BATCH SELECT orders")
    assert made["db.operation.name"] == "BATCH SELECT"


def sent(span: ReadableSpan) -> tuple[str, dict[str, Any]]:
    """The name and attributes of a span in the bytes that leave."""
    request = TracesData.FromString(an_encoder().encode([span]))
    (message,) = request.resource_spans[0].scope_spans[0].spans
    values = {pair.key: pair.value.string_value or pair.value.int_value for pair in message.attributes}
    return message.name, values


@pytest.mark.parametrize("kind", [SpanKind.CLIENT, SpanKind.INTERNAL])
def test_every_database_span_of_the_recorder_leaves_by_the_conventions(kind: SpanKind) -> None:
    span = (
        TracerProvider(shutdown_on_exit=False)
        .get_tracer("test")
        .start_span("SELECT shop", kind=kind, attributes=FORMER)
    )
    span.end()
    assert isinstance(span, ReadableSpan)
    assert sent(span) == ("SELECT orders", NOW)
    assert span.attributes == FORMER  # what the application and other processors see is theirs


def test_a_span_of_no_database_keeps_its_attributes_but_for_literals() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    span = tracer.start_span("call", attributes={"net.peer.name": "db.example.com", "db.statement": "SELECT 'a'"})
    span.end()
    assert isinstance(span, ReadableSpan)
    assert sent(span) == ("call", {"net.peer.name": "db.example.com", "db.statement": "SELECT ?"})
