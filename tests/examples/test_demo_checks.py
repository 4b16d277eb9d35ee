"""The demo's checks: each fault, made by hand, is found and named; a good trace passes."""

from dataclasses import replace

import pytest
from examples.demo.checks import check
from examples.demo.traces import Span, Trace
from examples.demo.traffic import Answer, checkout, health

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CHECKOUT = checkout(1)
ANSWER = Answer(CHECKOUT, 200, TRACE_ID)


def span(span_id: str, parent_id: str | None, service: str, kind: str, name: str = "") -> Span:
    return Span(
        span_id=span_id,
        parent_id=parent_id,
        service=service,
        name=name or f"{kind.lower()} {span_id}",
        kind=kind,
        start=0,
        end=1,
        attributes={},
    )


ROOT = span("a1", None, "storefront", "SERVER", "GET /checkout/{order_id}")
TO_PROFILE = span("a2", "a1", "storefront", "CLIENT")
PROFILE = span("b1", "a2", "profile", "SERVER")
QUERY = span("b2", "b1", "profile", "CLIENT")
TO_PAYMENTS = span("a3", "a1", "storefront", "CLIENT")
PAYMENTS = span("c1", "a3", "payments", "SERVER")
PROCESS = span("c2", "c1", "payments", "INTERNAL")
GOOD = (ROOT, TO_PROFILE, PROFILE, QUERY, TO_PAYMENTS, PAYMENTS, PROCESS)


def faults_of(*spans: Span) -> list[str]:
    faults = check([Trace(TRACE_ID, spans)], [ANSWER])
    assert {fault.trace_id for fault in faults} <= {TRACE_ID}
    return [fault.what for fault in faults]


def test_a_good_trace_has_no_faults() -> None:
    assert faults_of(*GOOD) == []


def test_a_missing_parent_is_found() -> None:
    without_process = [each for each in GOOD if each is not TO_PAYMENTS]
    assert faults_of(*without_process) == ["the parent a3 of SERVER span 'server c1' of payments is missing"]


def test_a_second_server_span_right_below_the_first_is_found() -> None:
    second = span("c9", "c1", "payments", "SERVER")
    assert (
        "a second SERVER span for one request: SERVER span 'server c9' of payments in "
        "SERVER span 'server c1' of payments"
    ) in faults_of(*GOOD, second)


def test_two_server_spans_below_one_client_span_are_found() -> None:
    twin = span("c9", "a3", "payments", "SERVER")
    assert faults_of(*GOOD, twin) == ["2 SERVER spans for one request, all below CLIENT span 'client a3' of storefront"]


def test_a_second_root_is_found() -> None:
    assert faults_of(*GOOD, span("d1", None, "payments", "SERVER")) == [
        "2 roots: SERVER span 'GET /checkout/{order_id}' of storefront, SERVER span 'server d1' of payments"
    ]


def test_a_root_that_is_no_server_span_is_found() -> None:
    assert faults_of(replace(ROOT, kind="INTERNAL"), *GOOD[1:]) == [
        "the root INTERNAL span 'GET /checkout/{order_id}' of storefront is no SERVER span"
    ]


@pytest.mark.parametrize(
    "parent",
    [
        pytest.param("a1", id="the caller's SERVER span"),
        pytest.param("b2", id="a CLIENT span of its own service"),
        pytest.param("c2", id="an INTERNAL span"),
    ],
)
def test_an_inner_server_span_that_is_not_below_its_caller_is_found(parent: str) -> None:
    moved = span("b9", parent, "profile", "SERVER")
    assert any(
        what.startswith("the parent of SERVER span 'server b9' of profile is")
        and what.endswith("not the CLIENT span of its caller")
        for what in faults_of(*GOOD, moved)
    )


@pytest.mark.parametrize(
    "checked",
    [
        replace(PROCESS, name="GET /health"),
        replace(PROCESS, attributes={"http.route": "/healthz"}),
        replace(PROCESS, attributes={"url.path": "/health"}),
        replace(PROCESS, attributes={"url.full": "http://127.0.0.1:8001/health"}),
    ],
)
def test_a_span_of_a_health_check_is_found(checked: Span) -> None:
    assert len(faults_of(*GOOD[:-1], checked)) == 1
    assert "a health check was traced" in faults_of(*GOOD[:-1], checked)[0]


def test_a_service_that_left_no_span_is_found() -> None:
    assert faults_of(ROOT, TO_PROFILE, PROFILE, QUERY, TO_PAYMENTS) == ["GET /checkout/1 has no span of payments"]


def test_a_missing_trace_is_found() -> None:
    assert [str(fault) for fault in check([], [ANSWER])] == [
        f"trace {TRACE_ID}: missing, though GET /checkout/1 was answered"
    ]


def test_an_answer_without_a_trace_id_is_found() -> None:
    faults = check([], [replace(ANSWER, trace_id=None)])
    assert [str(fault) for fault in faults] == ["trace (none): missing, though GET /checkout/1 was answered"]


def test_a_trace_that_nobody_asked_for_is_found() -> None:
    stray = Trace("f" * 32, (replace(QUERY, parent_id=None, kind="SERVER", name="GET /"),))
    assert [str(fault) for fault in check([Trace(TRACE_ID, GOOD), stray], [ANSWER])] == [
        f"trace {'f' * 32}: no traced request began it: SERVER span 'GET /' of profile"
    ]


def test_a_wrong_status_is_found() -> None:
    faults = check([Trace(TRACE_ID, GOOD)], [replace(ANSWER, status=500)])
    assert [fault.what for fault in faults] == ["GET /checkout/1 answered 500, not 200"]


def test_a_request_without_an_answer_is_found() -> None:
    faults = check([], [Answer(CHECKOUT, None, None)])
    assert [fault.what for fault in faults] == ["GET /checkout/1 was not answered"]


def test_a_health_check_needs_no_trace() -> None:
    assert check([], [Answer(health("profile"), 200, None)]) == []
