"""A call over HTTP is named by method, host and path wherever it is told, since its span may be called `GET` alone."""

from __future__ import annotations

from analysis.building import Builder
from tracemw.analysis.grouping import look_at
from tracemw.analysis.model import Trace
from tracemw.analysis.report.as_text import lines_of_one
from tracemw.analysis.traffic import ELSEWHERE, SERVICE, Edge, Node, Route, Traffic


def calls_alone() -> Trace:
    """The trace of a script that calls, and serves nobody."""
    built = Builder()
    call = built.add(
        None, "GET", 0, 80, kind="CLIENT", http__request__method="GET", server__address="stock", url__path="/items/7"
    )
    built.add(call, "inside", 10, 20)
    return built.trace()


def test_a_call_is_named_by_method_host_and_path_in_verdict_and_tree() -> None:
    trace = calls_alone()
    verdict, findings = look_at(trace)
    assert "GET stock/items/{} of shop" in verdict.sentence
    assert any("GET stock/items/{} [shop]" in line.text for line in lines_of_one(trace, verdict, findings))


def test_a_call_that_begins_a_trace_is_a_route_by_its_whole_name() -> None:
    traffic = Traffic()
    traffic.add(calls_alone())
    assert list(traffic.routes) == [Route("shop", "GET stock/items/{}")]


def test_calls_of_an_address_are_calls_of_the_service_that_was_seen_there_in_another_trace() -> None:
    traffic, store = Traffic(), Builder()
    traffic.add(calls_alone())
    shop = Node(SERVICE, "shop")
    assert list(traffic.ways()) == [Edge(shop, Node(ELSEWHERE, "stock"))]
    root = store.request(0, 80)
    store.request(10, 30, store.call(root, 5, 40), service="store")
    traffic.add(store.trace())
    ((way, latencies),) = traffic.ways().items()
    assert way == Edge(shop, Node(SERVICE, "store"))
    assert latencies.seen == 2
    assert {bar.calls for bar in latencies.bars()} == {1.0}
