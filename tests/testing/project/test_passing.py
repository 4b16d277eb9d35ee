from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi.testclient import TestClient
from opentelemetry import metrics
from opentelemetry.trace import get_tracer_provider
from shop import app, orders, site

import tracemw
from tracemw.testing import Traces

client = TestClient(app, raise_server_exceptions=False)
before = get_tracer_provider()


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    assert get_tracer_provider() is before


def test_the_one_trace_has_its_queries(traces: Traces) -> None:
    client.get("/orders/2")
    assert traces.one().name == "GET /orders/{count}"
    assert traces.one().queries == 2
    assert traces.queries <= 3
    traces.assert_no_n_plus_one()
    traces.assert_no_findings()


def test_each_test_begins_without_traces(traces: Traces) -> None:
    assert list(traces) == []
    client.get("/healthz")
    assert len(traces) == 0


def test_traces_are_found_by_name(traces: Traces) -> None:
    client.get("/orders/1")
    client.get("/quiet")
    assert traces.named("GET /quiet").failures == 1
    assert traces.named("GET /quiet").span("charge").attributes["error.type"] == "ConnectionError"
    traces.clear()
    assert len(traces) == 0


def test_findings_can_be_named_and_accepted(traces: Traces) -> None:
    client.get("/quiet")
    traces.assert_no_findings(but=["swallowed-error"])
    traces.assert_no_findings("n-plus-one", "error-source")
    with pytest.raises(ValueError, match="'swallowed' is not accepted; use some of killed, "):
        traces.assert_no_findings("swallowed")


def test_an_argument_of_another_type_is_told_plainly(traces: Traces) -> None:
    client.get("/quiet")
    with pytest.raises(TypeError, match=r"but='n-plus-one' is not accepted; use a list of codes, such as but=\["):
        traces.assert_no_findings(but="n-plus-one")
    with pytest.raises(TypeError, match=r"within='1' is not accepted; use seconds, such as within=1\.0"):
        traces.one(within="1")  # type: ignore[arg-type]


def test_nothing_secret_leaves(traces: Traces) -> None:
    client.get("/orders/1?card=4111111111111111")
    with tracemw.span("pay", note="card 4111 1111 1111 1111"):
        pass
    traces.assert_no_secrets("4111111111111111", "4111 1111")
    with pytest.raises(ValueError, match="'' is not accepted; use strings that must not leave"):
        traces.assert_no_secrets("")


def test_a_snapshot_has_no_times_and_no_ids(traces: Traces) -> None:
    client.get("/orders/30")
    assert traces.one().snapshot("http.response.status_code") == (
        "GET /orders/{count} [SERVER] http.response.status_code=200\n  SELECT sqlite_master [CLIENT] x 30"
    )


def test_the_critical_path_sums_to_the_trace(traces: Traces) -> None:
    client.get("/orders/2")
    path = traces.one().critical_path()
    assert [step.name for step in path] == ["GET /orders/{count}", "SELECT sqlite_master", "SELECT sqlite_master"]
    assert sum(step.milliseconds for step in path) == pytest.approx(traces.one().spans[0].duration / 1e6)


def test_a_flask_application_is_seen_by_its_own_client(traces: Traces) -> None:
    assert site.test_client().get("/hello").data == b"hello"
    assert traces.one().snapshot() == "GET /hello [SERVER]"


async def test_an_asynchronous_test_sees_the_calls_between_services(traces: Traces) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as caller:
        await asyncio.gather(caller.get("/relay"), caller.get("/relay"))
    for trace in traces:
        assert trace.snapshot().split("\n") == [
            "GET /relay [SERVER]",
            "  GET [CLIENT]",
            "    GET /orders/{count} [SERVER]",
            "      SELECT sqlite_master [CLIENT]",
        ]
    assert all(trace.calls == 1 for trace in traces)


def test_an_init_within_the_test_is_obeyed_but_sends_nothing(traces: Traces) -> None:
    tracing = tracemw.init("till", endpoint="http://127.0.0.1:1", sampling=0.0, fold_after=0, metrics=True)
    with tracemw.span("sale"):
        orders(25)
    assert {span.service for span in traces.one().spans} == {"till"}
    assert len(traces.one().spans) == 26
    assert tracing.flush()
    with pytest.raises(RuntimeError, match="called already"):
        tracemw.init("till")


def test_the_service_s_own_tracing_goes_on_after_a_test() -> None:
    assert type(metrics.get_meter_provider()).__name__ == "MeterProvider"
    with tracemw.span("work") as span:
        assert not span.is_recording() or span.get_span_context().trace_flags.sampled is False
    with pytest.raises(RuntimeError, match="called already"):
        tracemw.init("shop")
