"""How much is held: spans of one local trace, local traces, spans and bytes in all."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanContext, StatusCode

from recording.local_traces import Init, open_children
from tracemw._recording import FlightRecorder, TracerProvider, held_span
from tracemw._recording.books import Fragment


class Holding:
    """A flight recorder with limits of its own, and what it has kept."""

    def __init__(self, **limits: int) -> None:
        self.kept: list[ReadableSpan] = []
        self.recorder = FlightRecorder(self.kept.append, is_on=True, slow=None, rate=1e9, **limits)
        provider = TracerProvider(ALWAYS_OFF, Resource({}), shutdown_on_exit=False, recorder=self.recorder)
        self.tracer = provider.get_tracer("test")

    @property
    def names(self) -> list[str]:
        return sorted(span.name for span in self.kept)

    @property
    def lost(self) -> dict[str, int]:
        """The spans that were dropped, by cause."""
        return {cause: number for cause, number in self.recorder.books.lost.items() if number}

    def open_children(self, number: int = 1) -> tuple[Any, list[Any]]:
        """Start a local root, and so many spans beneath it."""
        return open_children(number, self.tracer)

    def holds_nothing(self) -> bool:
        books = self.recorder.books
        return (books.held, books.held_bytes, books.fragments) == (0, 0, 0)


def end_all(spans: list[Any], **attributes: Any) -> None:
    for span in spans:
        span.set_attributes(attributes)
        span.end()


def fail(root: Any) -> None:
    root.set_status(StatusCode.ERROR)
    root.end()


def test_a_local_trace_holds_no_more_spans_than_its_limit_and_the_oldest_give_way() -> None:
    holding = Holding(held_spans_per_trace=5)
    root, children = holding.open_children(8)
    children[-1].update_name("last")
    end_all(children)
    fail(root)
    assert holding.names == [*["child"] * 4, "last", "root"]
    assert holding.lost == {"held_spans_per_trace": 3}
    assert holding.holds_nothing()


def test_a_span_that_has_failed_has_its_trace_kept_though_it_has_given_way() -> None:
    holding = Holding(held_spans_per_trace=2)
    root, (failed, *children) = holding.open_children(4)
    failed.update_name("failed")
    fail(failed)
    end_all(children)
    root.end()
    assert holding.names == ["child", "child", "root"]
    assert {(span.attributes or {})["tracemw.kept"] for span in holding.kept} == {"error"}


def test_a_span_that_ends_while_its_trace_gives_way_is_counted_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    holding = Holding(held_traces=1)
    (one, (first, second, third)), (other, (elsewhere,)) = holding.open_children(3), holding.open_children()
    first.end()
    measured = Fragment.__len__

    def length(fragment: Any) -> int:  # where the interpreter may change threads
        monkeypatch.setattr(Fragment, "__len__", measured)
        thread = threading.Thread(target=elsewhere.end)
        thread.start()
        thread.join()
        return measured(fragment)

    monkeypatch.setattr(Fragment, "__len__", length)
    second.end()
    assert holding.lost == {"held_traces": 2}
    third.end()
    fail(one)
    other.end()
    assert holding.names == ["child", "root"]
    assert holding.lost == {"held_traces": 3}
    assert holding.holds_nothing()


def test_no_more_spans_are_held_than_the_limit_and_the_oldest_local_trace_gives_way() -> None:
    holding = Holding(held_spans=3)
    (one, some), (other, others) = holding.open_children(2), holding.open_children(2)
    end_all([*some, *others])
    assert holding.recorder.books.held == 2
    fail(one)
    fail(other)
    assert holding.names == ["child"] * 2 + ["root"] * 2
    assert holding.lost == {"held_spans": 2}
    assert holding.holds_nothing()


def test_no_more_local_traces_hold_spans_than_the_limit_and_the_oldest_gives_way() -> None:
    holding = Holding(held_traces=2)
    inflight = [holding.open_children() for _ in range(3)]
    for _, children in inflight:
        end_all(children)
    for root, _ in inflight:
        fail(root)
    assert holding.names == ["child"] * 2 + ["root"] * 3
    assert holding.lost == {"held_traces": 1}
    # They have ended, though somebody still has them: there is room again.
    root, children = holding.open_children()
    end_all(children)
    assert holding.lost == {"held_traces": 1}
    del root, inflight


def test_no_more_bytes_are_held_than_the_limit_and_the_oldest_local_traces_give_way() -> None:
    holding = Holding(held_bytes=100_000)
    inflight = [holding.open_children(2) for _ in range(6)]
    for _, children in inflight[:4]:
        end_all(children, text="x" * 10_000)
    assert holding.lost == {}
    assert 80_000 < holding.recorder.books.held_bytes <= 100_000
    end_all(inflight[4][1], text="x" * 30_000)  # as much as three of the others
    assert holding.lost == {"held_bytes": 6}
    end_all(inflight[5][1])
    for root, _ in inflight:
        fail(root)
    assert Counter(holding.names) == {"child": 6, "root": 6}
    assert holding.lost == {"held_bytes": 6}
    assert holding.holds_nothing()


def test_a_span_of_more_bytes_than_may_be_held_takes_the_room_of_no_other() -> None:
    holding = Holding(held_bytes=20_000)
    root, (small, large) = holding.open_children(2)
    small.end()
    large.set_attribute("text", "x" * 30_000)
    fail(large)
    root.end()
    assert holding.names == ["child", "root"]
    assert holding.lost == {"held_bytes": 1}
    assert {(span.attributes or {})["tracemw.kept"] for span in holding.kept} == {"error"}
    assert holding.holds_nothing()


def test_large_spans_that_come_in_the_place_of_small_ones_keep_to_the_bytes_that_may_be_held() -> None:
    holding = Holding(held_spans=10, held_bytes=50_000)
    inflight = [holding.open_children() for _ in range(30)]
    for number, (_, children) in enumerate(inflight):
        end_all(children, text="x" * 10_000 * (number >= 10))
        assert holding.recorder.books.held <= 10
        assert holding.recorder.books.held_bytes <= 50_000
    assert holding.lost.keys() == {"held_spans", "held_bytes"}
    del inflight


@pytest.mark.parametrize("limit", ["held_traces", "held_spans", "held_bytes"])
def test_connections_that_last_do_not_take_the_room_of_requests(limit: str) -> None:
    holding = Holding(**{limit: 6_500 if limit == "held_bytes" else 10})
    connections = [holding.open_children() for _ in range(10)]
    for _, children in connections:
        end_all(children)
    for _ in range(100):
        root, children = holding.open_children(3)
        end_all(children)
        fail(root)
    assert Counter(holding.names) == {"child": 300, "root": 100}
    assert set(holding.lost) == {limit}
    assert sum(holding.lost.values()) <= 10
    assert len(holding.recorder.books._by_age) < 30
    del connections


def test_each_span_is_delivered_or_counted_once_where_limits_bite_in_many_threads() -> None:
    holding = Holding(held_traces=3, held_spans=20, held_spans_per_trace=8, held_bytes=12_000)
    rounds, workers, each = 60, 8, 10
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def serve(number: int) -> None:
        for _ in range(rounds):
            root, children = holding.open_children(each)
            end_all(children)
            if number % 2:
                root.set_status(StatusCode.ERROR)
            root.end()

    try:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(serve, range(workers)))
    finally:
        sys.setswitchinterval(interval)
    gc.collect()
    books = holding.recorder.books
    assert holding.holds_nothing()
    assert len({span.context.span_id for span in holding.kept if span.context}) == len(holding.kept)
    assert len(holding.kept) + books.unsampled + sum(books.lost.values()) == rounds * workers * (each + 1)
    assert holding.names.count("root") == books.kept["error"] == rounds * workers / 2


def test_a_span_that_another_thread_writes_to_while_it_ends_is_held_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holding = Holding()
    root, (child,) = holding.open_children()
    child.set_attributes({"text": "x" * 40_000, "more": 1})

    def cut(text: str) -> str:  # where the interpreter may change threads
        child._attributes["late"] = True  # by one that has found the span open
        return text[:100]

    monkeypatch.setattr(held_span, "cut", cut)
    child.end()
    fail(root)
    assert holding.names == ["child", "root"]
    assert holding.holds_nothing()


# What spans take in memory.


def traced_memory(work: Callable[[], object]) -> int:
    """Return how many bytes `work` has taken and not given back, whatever other threads take meanwhile."""
    tracemalloc.start(12)  # frames: `work` is among them
    try:
        work()
        taken = tracemalloc.take_snapshot().traces
        return sum(each.size for each in taken if any(frame.filename == __file__ for frame in each.traceback))
    finally:
        tracemalloc.stop()


def test_long_values_of_spans_that_are_held_take_little_memory(init: Init) -> None:
    init()
    root, children = open_children(40)

    def end_with_long_values() -> None:
        for number, child in enumerate(children):
            child.set_attribute("text", f"{number}" + "x" * 1_000_000)
            child.set_attribute("list", [f"{number}" + "x" * 1_000_000])
            child.add_event("event", {"text": f"{number}" + "x" * 1_000_000})
            child.update_name(f"{number}" + "x" * 1_000_000)
            child.end()

    assert traced_memory(end_with_long_values) < 40 * 5 * 32_768
    root.end()


def nothing(span: Any, number: int) -> None:
    pass


def numbers(span: Any, number: int) -> None:
    span.set_attributes({f"number {count}": 1000 + number + count for count in range(20)})


def brief_texts(span: Any, number: int) -> None:
    span.set_attributes({f"text {count}": f"{number} {count}" for count in range(20)})


def long_texts(span: Any, number: int) -> None:
    span.set_attributes({f"text {count}": f"{number}" + "x" * 5000 for count in range(5)})


def texts_beyond_latin(span: Any, number: int) -> None:
    span.set_attribute("text", f"{number}" + "x" * 20_000 + "\N{SNOWMAN}\N{GRINNING FACE}")


def a_long_name(span: Any, number: int) -> None:
    span.update_name(f"{number}" + "x" * 20_000)


def a_long_description(span: Any, number: int) -> None:
    span.set_status(StatusCode.ERROR, f"{number}" + "x" * 20_000)


def lists(span: Any, number: int) -> None:
    span.set_attribute("list", [f"{number} {count}" for count in range(500)])


def bytes_and_mappings(span: Any, number: int) -> None:
    span.set_attribute("mapping", {f"{number}": b"x" * 10_000, "inner": {"list": [number, None, "x" * 10_000]}})


def events(span: Any, number: int) -> None:
    for count in range(10):
        span.add_event("event", {"text": f"{number} {count}" + "x" * 1000})


def links(span: Any, number: int) -> None:
    for count in range(10):
        span.add_link(SpanContext(number + 1, count + 1, is_remote=True), {"text": f"{number} {count}" + "x" * 1000})


def more_than_the_limit_of_attributes(span: Any, number: int) -> None:
    span.set_attributes({f"{count}": f"{number}" + "x" * 500 for count in range(200)})


@pytest.mark.parametrize(
    "tell",
    [
        *(nothing, numbers, brief_texts, long_texts, texts_beyond_latin, a_long_name, a_long_description, lists),
        *(bytes_and_mappings, events, links, more_than_the_limit_of_attributes),
    ],
)
def test_what_a_span_is_said_to_take_is_about_what_it_takes(
    tell: Callable[[Any, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("opentelemetry.attributes"), "disabled", True)  # log lines take memory too
    holding = Holding()
    root, _ = holding.open_children(0)
    _, warm = holding.open_children(3)
    end_all(warm)
    before = holding.recorder.books.held_bytes

    def work() -> None:
        beneath = trace.set_span_in_context(root)
        for number in range(20):
            span = holding.tracer.start_span("child", beneath)
            tell(span, number)
            span.end()

    taken = traced_memory(work)
    said = holding.recorder.books.held_bytes - before
    assert 0.8 * taken < said < 3 * taken, (taken, said)
    root.end()
