"""The endpoints that say what analysis finds, as the page asks them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from . import incidents
from .cost import cost, needs_proc
from .running import Viewer, viewer, with_allowance
from .samples import CHECKOUT, Spans, checkout, hex_id, many_spans, one, span


def test_a_trace_is_told_with_its_verdict_and_the_parts_of_the_critical_path_sum_to_its_duration(
    viewer: Viewer,
) -> None:
    viewer.send(*checkout())
    told = viewer.get(f"/viewer/trace/{hex_id(CHECKOUT)}")
    rows = {row["id"]: row for row in told["rows"]}
    assert told["cause"] == "error-source"
    assert told["findings"][0]["span_ids"][0] == f"{33:016x}"
    assert sum(row.get("path", 0) for row in rows.values()) == rows[told["root"]]["took"] == 412_000_000
    assert rows[f"{33:016x}"]["parent"] == f"{31:016x}"
    assert rows[f"{33:016x}"]["notes"][1]["type"] == "payments.gateway.CardDeclined"


def test_repeats_name_the_first_of_them_and_waits_say_when(viewer: Viewer) -> None:
    viewer.send(*incidents.n_plus_one(1), *incidents.timeout(2))
    rows = viewer.get(f"/viewer/trace/{hex_id(1)}")["rows"]
    assert {row["like"] for row in rows if "like" in row} == {f"{10:016x}"}
    assert len([row for row in rows if "like" in row]) == 40
    waits = viewer.get(f"/viewer/trace/{hex_id(2)}")["waits"]
    assert waits == [{"span": f"{4:016x}", "start": 9_000_000, "took": 2_994_000_000, "why": "pool-wait"}]


def test_whoever_knows_the_version_is_told_that_it_holds_until_the_trace_changes(viewer: Viewer) -> None:
    path = f"/viewer/trace/{hex_id(4)}"
    assert viewer.get(path) is None
    viewer.send(Spans("shop", (span(4, 1, name="root"),)))
    version = viewer.get(path)["version"]
    assert viewer.http.get(path, params={"known": version}).status_code == 204
    viewer.send(one(5))
    assert viewer.http.get(path, params={"known": version}).status_code == 204
    viewer.send(Spans("shop", (span(4, 2, 1, name="child"),)))
    assert viewer.get(path, known=version)["spans"] == 2


def test_one_span_is_given_whole_and_one_that_is_not_there_is_null(viewer: Viewer) -> None:
    viewer.send(*checkout())
    path = f"/viewer/trace/{hex_id(CHECKOUT)}/span/"
    found = viewer.get(f"{path}{33:016x}")
    assert found["span"]["name"] == "authorize card"
    assert found["scope"]["name"] == "tests"
    assert {"key": "service.name", "value": {"stringValue": "payments"}} in found["resource"]["attributes"]
    assert viewer.get(f"{path}{99:016x}") is None


def test_spans_of_a_trace_are_found_by_words_in_names_attributes_and_events(viewer: Viewer) -> None:
    viewer.send(*checkout())
    path = f"/viewer/trace/{hex_id(CHECKOUT)}/matches"
    assert viewer.get(path, text="payment.CURRENCY=eur")["spans"] == [f"{33:016x}"]
    assert viewer.get(path, text="insufficient card")["spans"] == [f"{33:016x}"]
    assert viewer.get(path, text="nobody has this")["spans"] == []


def test_a_survey_has_findings_routes_and_ways_of_the_traces_that_pass_the_filters(viewer: Viewer) -> None:
    viewer.send(*incidents.n_plus_one(1), *incidents.healthy(2), *incidents.healthy(3))
    told = viewer.get("/viewer/survey")
    assert told["traces"] == 3
    assert [(each["code"], each["traces"]) for each in told["findings"]] == [("n-plus-one", 1)]
    account = next(route for route in told["routes"] if route["name"] == "GET /account")
    assert (account["calls"], account["p50"]["ms"]) == (3, 40)
    assert account["p99"]["trace_id"] == hex_id(1)
    assert sum(bar["calls"] for bar in account["bars"]) == 3
    ways = {(way["caller"]["name"], way["called"]["name"]): way["calls"] for way in told["ways"]}
    assert ways == {("storefront", "profile"): 3, ("profile", "postgresql shop"): 47}
    assert viewer.get("/viewer/survey", minDuration="100ms")["traces"] == 1
    assert viewer.get("/viewer/survey", service="nobody")["traces"] == 0
    assert viewer.http.get("/viewer/survey", params={"known": told["version"]}).status_code == 204


def test_a_list_is_told_the_cause_of_each_trace_that_has_one(viewer: Viewer) -> None:
    viewer.send(*incidents.n_plus_one(1), *incidents.healthy(2))
    told = viewer.get("/viewer/causes")
    assert {trace: cause["code"] for trace, cause in told["causes"].items()} == {hex_id(1): "n-plus-one"}
    assert told["labels"] == {}
    assert viewer.http.get("/viewer/causes", params={"known": told["version"]}).status_code == 204


def test_a_list_is_told_what_a_call_that_begins_a_trace_calls(viewer: Viewer) -> None:
    called = incidents.call(1, 1, 0, "stock", "/v1/items/77", 0, 30)
    viewer.send(Spans("cron", (called,)), *incidents.healthy(2))
    assert viewer.get("/viewer/causes")["labels"] == {hex_id(1): "GET stock/v1/items/{}"}


def test_requests_that_take_no_time_are_in_the_first_bar(viewer: Viewer) -> None:
    viewer.send(Spans("shop", (incidents.request(1, 1, 0, "GET /now", 0, 0),)))
    (route,) = viewer.get("/viewer/survey")["routes"]
    assert [(bar["low_ms"], bar["calls"]) for bar in route["bars"]] == [(0.001, 1)]
    assert route["p50"]["ms"] == 0


def test_each_idle_gap_of_a_trace_is_a_wait_though_those_that_are_alike_are_one_finding(viewer: Viewer) -> None:
    work = [span(1, number, 1, name="wait", at=10 + 1000 * number, took=900) for number in (2, 3)]
    viewer.send(Spans("shop", (span(1, 1, name="job", took=4800), *work)))
    told = viewer.get(f"/viewer/trace/{hex_id(1)}")
    waits = {(wait["span"], wait["why"]) for wait in told["waits"]}
    assert waits == {(f"{number:016x}", "idle-gap") for number in (1, 2, 3)}
    assert told["findings"][-1]["title"].endswith("with nothing below (and 1 more like it)")
    own = {row["id"]: row.get("own") for row in told["rows"]}
    assert own == {f"{1:016x}": 3_000_000_000, f"{2:016x}": None, f"{3:016x}": None}


def test_a_survey_of_more_traces_than_are_looked_at_is_refused(viewer: Viewer) -> None:
    response = viewer.http.get("/viewer/survey", params={"limit": 1001})
    assert (response.status_code, response.text.strip()) == (
        400,
        "limit=1001 is not accepted; use a whole number from 1 to 1000",
    )


def test_a_survey_tells_what_it_knows_when_its_time_is_out() -> None:
    with viewer(command=with_allowance(search_seconds=0.15)) as running:
        for number in range(60):
            running.send(Spans("shop", tuple(span(number + 1, each, name=f"step {each}") for each in range(1, 500))))
        told = running.get("/viewer/survey", limit=1000)
        assert not told["complete"]
        assert 0 < told["traces"] < 60


@needs_proc
def test_an_explanation_is_remembered_and_holds_up_nobody(viewer: Viewer) -> None:
    viewer.send(*many_spans(1))
    with ThreadPoolExecutor(2) as threads:
        asked = threads.submit(viewer.get, f"/viewer/trace/{hex_id(1)}")
        began = time.monotonic()
        with httpx.Client(base_url=viewer.url, trust_env=False) as other:
            other.get("/ready").raise_for_status()
        assert time.monotonic() - began < 5
        assert asked.result()["spans"] == 10_000
    with cost(viewer) as spent:
        for _ in range(5):
            viewer.get(f"/viewer/trace/{hex_id(1)}")
    assert spent.seconds < 1
