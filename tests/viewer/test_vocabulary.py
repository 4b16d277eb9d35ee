"""A search looks only where a span can match, and finds what a look at every span would find."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .cost import cost, needs_proc
from .running import PROTOBUF, Viewer
from .running import viewer as start_viewer
from .samples import NOON, SECOND, Spans, attributes, hex_id, request, span

COMMON = 6_000  # spans before the rare ones, and as many after
RARE = 1_000_000  # the number of the trace with the rare ones

RARE_QUERIES = [
    "{ span.text = `rare` }",
    '{ .text = "rare" }',
    "{ span.whole = 77 }",
    "{ span.ratio = 0.125 }",
    "{ span.yes = true }",
    "{ span.list = `second` }",
    "{ span.list != `second` }",
    "{ span.numbers = 9 }",
    "{ resource.host.name = `rare-host` }",
    "{ .host.name = `rare-host` }",
    "{ span.whole > 70 }",
    "{ span.text =~ `ra.e` }",
    "{ span.text != nil }",
    "{ event:name = `rare event` }",
    "{ event.reason = `rare` }",
    "{ link.to = `rare` }",
    "{ instrumentation:name = `rare scope` }",
    "{ instrumentation.part = `rare` }",
    "{ name = `rare name` }",
    "{ status = error }",
    "{ name = `rare name` || span.text = `nowhere` }",
    "{ name = `rare name` && span.common = 1 }",
    "{ name = `rare name` } > { span.text = `rare` }",
    "{ span.common = 1 } && { span.text = `rare` }",
    "{ name = `rare name` } && { resource.service.name = `late` }",
    "{ name = `child` } !> { span.common = 7 }",
]


def common(first: int, count: int) -> Spans:
    """Spans of ten to a trace, which the rare ones have nothing in common with but one attribute."""
    return Spans(
        "shop",
        tuple(
            span(number // 10 + 1, number + 1, name=f"step {number % 7}", common=1, n=number, start=NOON + number)
            for number in range(first, first + count)
        ),
    )


def rare() -> list[Span]:
    """The rare spans: a root, and a child that has every kind of value."""
    root = span(RARE, 1, name="rare name", common=1, start=NOON - SECOND)
    values: dict[str, Any] = {
        "text": "rare",
        "whole": 77,
        "ratio": 0.125,
        "yes": True,
        "list": ["first", "second"],
        "numbers": [8, 9],
    }
    child = span(RARE, 2, 1, name="child", error="broken", start=NOON - SECOND, common=1, **values)
    child.events.add(name="rare event", attributes=attributes({"reason": "rare"}))
    child.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8, attributes=attributes({"to": "rare"}))
    return [root, child]


def send_all(viewer: Viewer) -> None:
    for first in range(0, COMMON, 500):
        viewer.send(common(first, 500)).raise_for_status()
    message = request(Spans("odd", tuple(rare())))
    message.resource_spans[0].resource.attributes.extend(attributes({"host.name": "rare-host"}))
    scope = message.resource_spans[0].scope_spans[0].scope
    scope.name = "rare scope"
    scope.attributes.extend(attributes({"part": "rare"}))
    viewer.http.post("/v1/traces", content=message.SerializeToString(), headers=PROTOBUF).raise_for_status()
    for first in range(COMMON, 2 * COMMON, 500):
        viewer.send(common(first, 500)).raise_for_status()
    # The trace goes on much later, in another stretch.
    viewer.send(Spans("late", (span(RARE, 3, 1, name="late", start=NOON - SECOND, common=7),))).raise_for_status()


@pytest.fixture(name="full", scope="module")
def viewer_with_rare_spans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """A viewer whose database another one has filled: it has to know the words, and those of the latest spans."""
    path = str(tmp_path_factory.mktemp("viewer") / "traces.db")
    with start_viewer("--db", path) as before:
        send_all(before)
    with start_viewer("--db", path) as running:
        yield running


@pytest.mark.parametrize("query", RARE_QUERIES)
def test_a_rare_span_is_found_among_many(full: Viewer, query: str) -> None:
    assert full.found(q=query, limit=10) == [hex_id(RARE)]


@pytest.mark.parametrize("query", ["{ span.n = 5 }", "{ name = `step 4` && span.n = 10000 }", "{ span.n = 11999 }"])
def test_the_one_span_of_an_attribute_is_found_wherever_it_is(full: Viewer, query: str) -> None:
    assert len(full.found(q=query)) == 1


def test_the_newest_traces_come_first_whether_words_are_rare_or_not(full: Viewer) -> None:
    newest = [hex_id(number) for number in range(2 * COMMON // 10, 2 * COMMON // 10 - 5, -1)]
    assert full.found(q="{ span.common = 1 }", limit=5) == newest
    assert full.found(q="{ span.n >= 0 }", limit=5) == newest
    some = " || ".join(f"span.n = {number}" for number in (11_995, 3, 11_985))
    assert full.found(q=f"{{ {some} }}", limit=5) == [newest[0], newest[1], hex_id(1)]


def test_what_replaces_a_span_is_found_and_what_it_replaced_is_not(tmp_path: Path) -> None:
    with start_viewer("--db", str(tmp_path / "traces.db")) as running:
        send_all(running)
        running.send(Spans("odd", (span(RARE, 2, 1, name="child", text="new"),))).raise_for_status()
        assert running.found(q="{ span.text = `new` }") == [hex_id(RARE)]
        assert running.found(q="{ span.text = `rare` }") == []


def test_what_comes_after_the_oldest_traces_have_gone_is_found(tmp_path: Path) -> None:
    with start_viewer("--db", str(tmp_path / "traces.db"), "--max-spans", "2500") as running:
        send_all(running)
        running.send(Spans("odd", tuple(rare()))).raise_for_status()
        assert running.found(q="{ span.text = `rare` }") == [hex_id(RARE)]
        assert running.found(q="{ span.n = 5 }") == []
        assert len(running.found(q="{ span.n = 11999 }")) == 1


def test_old_traces_are_found_in_their_order_when_the_newest_are_not_enough() -> None:
    traces = 2_600
    with start_viewer() as running:
        spans = tuple(span(number, 1, n=number, start=NOON + number) for number in range(1, traces + 1))
        running.send(Spans("shop", spans)).raise_for_status()
        assert running.found(q="{ span.n < 3 }") == [hex_id(2), hex_id(1)]
        assert running.found(q="{ span.n <= 2600 }", limit=traces) == [hex_id(n) for n in range(traces, 0, -1)]
        assert running.found(q="{ span.n > 2599 || span.n = 1 }") == [hex_id(traces), hex_id(1)]
        assert running.found(q="{ span.n > 2600 }") == []


@needs_proc
def test_a_rare_attribute_costs_little_among_many_spans(full: Viewer) -> None:
    full.found(q="{ span.text = `rare` }")
    with cost(full) as paid:
        for _ in range(20):
            full.found(q="{ span.text = `rare` }")
    assert paid.seconds < 1
