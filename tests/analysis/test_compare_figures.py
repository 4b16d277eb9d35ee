"""How often `tracemw compare` is right, in seeded repetitions."""

from __future__ import annotations

import tracemalloc

from analysis.traffic import Traffic
from tracemw.analysis.comparison.comparing_sides import compare
from tracemw.analysis.comparison.side import Side
from tracemw.analysis.load.otlp_json import spans_of
from tracemw.analysis.model import Trace

REPETITIONS = 20
ENOUGH = 19
FEWER = 4
"""Where the number of failures is given, only the durations differ from one repetition to the next."""


def side(traffic: Traffic) -> Side:
    made = Side(f"traffic {traffic.seed}")
    for document in traffic.documents():
        made.add(Trace(spans_of(document)))
    return made


def test_two_samples_of_a_service_are_alike_and_a_fifth_on_one_query_is_found_in_19_of_20() -> None:
    quiet = found = 0
    for seed in range(REPETITIONS):
        before = side(Traffic(seed=100 + seed))
        quiet += not compare(before, side(Traffic(seed=200 + seed))).is_regression
        slower = compare(before, side(Traffic(seed=300 + seed, query=7.2)))
        found += [group.name for group in slower.grown_groups] == ["SELECT orders"]
    assert quiet >= ENOUGH
    assert found >= ENOUGH


def test_failures_of_1_and_3_percent_differ_in_1500_requests_and_not_in_300() -> None:
    claimed = {300: 0, 1500: 0}
    for seed in range(FEWER):
        for count in claimed:
            before, after = (
                side(Traffic(seed=seed * 10 + part, count=count, failing=count * percent // 100, bare=True))
                for part, percent in ((1, 1), (2, 3))
            )
            claimed[count] += any("error_rate" in route.worse for route in compare(before, after).routes)
    assert claimed == {300: 0, 1500: FEWER}


def test_a_rare_and_long_wait_is_found_in_the_slowest_requests() -> None:
    before = side(Traffic(seed=1))
    after = Side("after")
    for number, document in enumerate(Traffic(seed=2).documents()):
        if number % 10 == 0:
            _wait(document, 50_000_000)
        after.add(Trace(spans_of(document)))
    made = compare(before, after)
    assert [route.worse for route in made.worse_routes if route.is_entry] == [["p95_ms", "p99_ms"]]
    assert [group.name for group in made.grown_groups] == ["GET /orders"]


def _wait(document: dict[str, list[dict[str, list[dict[str, list[dict[str, str]]]]]]], nanoseconds: int) -> None:
    """Let the root end later."""
    root = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    root["endTimeUnixNano"] = str(int(root["endTimeUnixNano"]) + nanoseconds)


def test_memory_grows_with_the_kinds_of_spans_and_not_with_the_traces() -> None:
    made = Side("many")
    sizes = []
    tracemalloc.start()
    try:
        for number, document in enumerate(Traffic(seed=1, count=600).documents(), 1):
            made.add(Trace(spans_of(document)))
            if number % 200 == 0:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[2] - sizes[1] < 400 * 200  # 10,000 traces: 4 MB at most, for durations, weights and ids
