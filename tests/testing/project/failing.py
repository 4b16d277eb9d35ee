from __future__ import annotations

from fastapi.testclient import TestClient
from shop import app

from tracemw.testing import Traces

client = TestClient(app, raise_server_exceptions=False)


def test_too_many_queries(traces: Traces) -> None:
    client.get("/orders/4")
    assert traces.one().queries <= 3


def test_a_repetition(traces: Traces) -> None:
    client.get("/orders/7")
    traces.assert_no_n_plus_one()


def test_a_failing_request(traces: Traces) -> None:
    client.get("/broken")
    traces.assert_no_findings()


def test_a_value_that_leaves(traces: Traces) -> None:
    client.get("/orders/4711")
    traces.assert_no_secrets("4711")


def test_no_trace(traces: Traces) -> None:
    client.get("/healthz")
    traces.one()


def test_two_traces(traces: Traces) -> None:
    client.get("/orders/1")
    client.get("/quiet")
    traces.one()


def test_no_such_name(traces: Traces) -> None:
    client.get("/quiet")
    traces.named("GET /loud")


def test_no_such_span(traces: Traces) -> None:
    client.get("/quiet")
    traces.one().span("refund")
