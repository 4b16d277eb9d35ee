"""Many like spans beneath one parent: the first ones stay, and the others become one span."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

import tracemw
from recording.local_traces import SECOND, Init, Running, attributes
from tracemw._recording import folds

QUERY = {"db.system.name": "postgresql", "db.query.text": "SELECT name FROM users WHERE id = $1"}
MILLISECOND = 10**6


def run(
    number: int,
    *,
    name: str = "SELECT users",
    kind: SpanKind = SpanKind.CLIENT,
    given: Any = None,
    work: Callable[[trace.Span, int], object] = lambda span, count: None,
) -> None:
    """Run so many spans of one millisecond each beneath the current one, one after another."""
    tracer = trace.get_tracer("database")
    start = trace.get_current_span().start_time  # type: ignore[attr-defined]
    for count in range(number):
        at = start + count * MILLISECOND
        span = tracer.start_span(name, kind=kind, attributes=QUERY if given is None else given, start_time=at)
        work(span, count)
        span.end(at + MILLISECOND)


def folded(running: Running) -> list[Span]:
    return [span for span in running.spans if "tracemw.folded.count" in attributes(span)]


@pytest.mark.parametrize("ratio", [1.0, 0.0])
def test_of_many_like_queries_the_first_stay_and_one_span_stands_for_the_rest(init: Init, ratio: float) -> None:
    running = init(ratio)
    with tracemw.span("request"):
        run(100)
        tracemw.keep("test")
    assert Counter(running.names) == {"request": 1, "SELECT users": 21}
    (fold,) = folded(running)
    (request,) = (span for span in running.spans if span.name == "request")
    start = request.start_time_unix_nano
    assert fold.parent_span_id == request.span_id
    assert (fold.start_time_unix_nano, fold.end_time_unix_nano) == (start + 20 * MILLISECOND, start + 100 * MILLISECOND)
    found = attributes(fold)
    assert found["tracemw.folded.count"] == 80
    assert found["tracemw.folded.sum"] == pytest.approx(0.08)
    assert found["tracemw.folded.min"] == found["tracemw.folded.max"] == 0.001
    assert found["db.query.text"] == QUERY["db.query.text"]
    assert (running.stats.folded, running.stats.ended) == (79, 101)


def test_a_fold_tells_the_shortest_and_the_slowest_of_its_spans(init: Init) -> None:
    running = init(1.0)
    tracer = trace.get_tracer("database")
    with tracemw.span("request"):
        run(20)
        for start, length in ((1, 5), (10, 900), (30, 2)):
            span = tracer.start_span("SELECT users", kind=SpanKind.CLIENT, attributes=QUERY, start_time=start * SECOND)
            span.end(start * SECOND + length * MILLISECOND)
    found = attributes(folded(running)[0])
    assert (found["tracemw.folded.min"], found["tracemw.folded.max"]) == (0.002, 0.9)
    assert found["tracemw.folded.slowest_start"] == 10 * SECOND
    assert found["tracemw.folded.sum"] == pytest.approx(0.907)


def test_the_twenty_first_span_stays_as_it_is_when_no_other_follows(init: Init) -> None:
    running = init(1.0)
    with tracemw.span("request"):
        run(21)
    assert running.names.count("SELECT users") == 21
    assert folded(running) == []
    assert running.stats.folded == 0


def test_business_spans_are_folded(init: Init) -> None:
    running = init(1.0)
    with tracemw.span("import"):
        for number in range(50):
            with tracemw.span("row", number=number):
                pass
    assert Counter(running.names) == {"import": 1, "row": 21}
    assert attributes(folded(running)[0])["tracemw.folded.count"] == 30


def fail(span: trace.Span, count: int) -> None:
    span.set_status(StatusCode.ERROR)


def fail_once(span: trace.Span, count: int) -> None:
    if count == 50:
        span.set_status(StatusCode.ERROR, "lost")


def have_an_event(span: trace.Span, count: int) -> None:
    span.add_event("row locked")


def have_a_child(span: trace.Span, count: int) -> None:
    with trace.use_span(span):
        trace.get_tracer("database").start_span("fetch").end()


def add_another_query(span: trace.Span, count: int) -> None:
    span.set_attribute("db.query.text", f"SELECT name FROM users_{count}")


def add_a_literal(span: trace.Span, count: int) -> None:
    span.set_attribute("db.query.text", f"SELECT name FROM users WHERE id = {count}")


def test_queries_that_differ_in_literals_only_are_folded(init: Init) -> None:
    running = init(1.0)
    with tracemw.span("request"):
        run(40, work=add_a_literal)
    assert Counter(running.names) == {"request": 1, "SELECT users": 21}
    (fold,) = folded(running)
    assert attributes(fold)["tracemw.folded.count"] == 20
    assert attributes(fold)["db.query.text"] == "SELECT name FROM users WHERE id = ?"


@pytest.mark.parametrize("work", [fail, have_an_event, have_a_child, add_another_query])
def test_spans_that_say_something_of_their_own_are_never_folded(
    init: Init, work: Callable[[trace.Span, int], object]
) -> None:
    running = init(1.0)
    with tracemw.span("request"):
        run(40, work=work)
    assert sum(name.startswith("SELECT users") for name in running.names) == 40
    assert folded(running) == []


def test_one_failure_among_many_spans_is_shown_by_itself(init: Init) -> None:
    running = init(0.0)
    with tracemw.span("request"):
        run(100, work=fail_once)
    assert len(running.spans) == 23
    (failed,) = (span for span in running.spans if span.status.code == 2)
    assert failed.status.message == "lost"
    assert attributes(folded(running)[0])["tracemw.folded.count"] == 79


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (SpanKind.CLIENT, {"http.request.method": "GET"}),
        (SpanKind.CLIENT, {"rpc.system": "grpc"}),
        (SpanKind.PRODUCER, {}),
        (SpanKind.SERVER, {}),
        (SpanKind.CONSUMER, {}),
    ],
)
def test_spans_that_another_process_may_have_children_of_are_never_folded(
    init: Init, kind: SpanKind, given: dict[str, str]
) -> None:
    running = init(1.0)
    with tracemw.span("request"):
        run(40, kind=kind, given=given)
    assert running.names.count("SELECT users") == 40


def test_spans_of_different_names_or_parents_are_counted_apart(init: Init) -> None:
    running = init(1.0)
    with tracemw.span("request"):
        for name in ("a", "b", "c"):
            run(15, name=name, kind=SpanKind.INTERNAL, given={})
        for _ in range(3):
            with tracemw.span("step"):
                run(15)
    assert folded(running) == []
    assert running.names.count("SELECT users") == 45


def test_a_parent_counts_a_hundred_shapes_and_no_more(init: Init) -> None:
    running = init(1.0)
    with tracemw.span("request"):
        for number in range(150):
            run(1, name=f"{number}", kind=SpanKind.INTERNAL, given={})
        run(30, name="0", kind=SpanKind.INTERNAL, given={})
        run(30, name="149", kind=SpanKind.INTERNAL, given={})
    assert running.names.count("0") == 21
    assert running.names.count("149") == 31


def test_a_fold_goes_after_a_minute_though_its_parent_is_open(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "LONGEST", 30 * MILLISECOND)
    running = init(1.0)
    with tracemw.span("worker"):
        run(100)
        counts = [attributes(span)["tracemw.folded.count"] for span in folded(running)]
        assert len(counts) == 2
    counts = [attributes(span)["tracemw.folded.count"] for span in folded(running)]
    assert sum(counts) == 80
    assert running.stats.ended == 101


def test_a_span_that_ends_after_its_parent_is_not_folded(init: Init) -> None:
    running = init(1.0)
    tracer = trace.get_tracer("database")
    with tracemw.span("request"):
        run(30)
        late = tracer.start_span("SELECT users", kind=SpanKind.CLIENT, attributes=QUERY)
    late.end()
    assert running.names.count("SELECT users") == 22


@pytest.mark.parametrize(("after", "number"), [(0, 100), (5, 6), (200, 100)])
def test_init_says_how_many_like_spans_stay(init: Init, after: int, number: int) -> None:
    running = init(1.0, more={"fold_after": after})
    with tracemw.span("request"):
        run(100)
    assert running.names.count("SELECT users") == number


def test_the_environment_says_how_many_like_spans_stay(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMW_FOLD_AFTER", "3")
    running = init(1.0)
    with tracemw.span("request"):
        run(100)
    assert running.names.count("SELECT users") == 4


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (True, TypeError), ("3", TypeError)])
def test_a_number_of_like_spans_that_is_none_is_refused(init: Init, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"fold_after(={value} is not accepted; use| takes) a whole number"):
        init(1.0, more={"fold_after": value})


def test_a_foreign_processor_that_hears_of_starts_hears_of_every_end(init: Init) -> None:
    class Pairs(SpanProcessor):
        open = 0
        ended = 0

        def on_start(self, span: Any, parent_context: Any = None) -> None:
            self.open += 1

        def on_end(self, span: Any) -> None:
            self.open -= 1
            self.ended += 1

    running, pairs = init(1.0), Pairs()
    running.add(pairs)
    with tracemw.span("request"):
        run(100)
    assert (pairs.open, pairs.ended) == (0, 101)
    assert running.names.count("SELECT users") == 100


@pytest.mark.parametrize("ratio", [1.0, 0.0])
def test_no_span_is_lost_when_threads_end_like_spans_at_once(init: Init, ratio: float) -> None:
    running = init(ratio)
    with tracemw.span("request") as request:
        tracemw.keep("test")
        within = trace.set_span_in_context(request)
        tracer = trace.get_tracer("database")

        def work() -> None:
            for _ in range(500):
                tracer.start_span("SELECT users", within, SpanKind.CLIENT, QUERY).end()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert attributes(folded(running)[0])["tracemw.folded.count"] == 1980
    assert (running.stats.folded, running.stats.ended) == (1979, 2001)


def test_no_span_is_lost_when_like_spans_end_while_their_parent_does(init: Init) -> None:
    running = init(1.0, more={"fold_after": 2})
    tracer = trace.get_tracer("database")
    rounds, workers, each = 20, 4, 10
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(rounds):
            parent = tracer.start_span("request")
            within = trace.set_span_in_context(parent)
            children = [
                tracer.start_span("SELECT users", within, SpanKind.CLIENT, QUERY) for _ in range(workers * each)
            ]
            start = threading.Barrier(workers)

            def end(spans: list[trace.Span], start: threading.Barrier = start) -> None:
                start.wait()
                for span in spans:
                    span.end()

            shares = [children[number::workers] for number in range(workers)]
            shares[0].append(parent)
            threads = [threading.Thread(target=end, args=(spans,)) for spans in shares]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    shown = [attributes(span).get("tracemw.folded.count", 1) for span in running.spans]
    assert sum(shown) == rounds * (workers * each + 1)
    assert running.stats.folded == sum(shown) - len(shown) > 0


def test_a_dropped_trace_of_many_queries_holds_nothing(init: Init) -> None:
    running = init(0.0)
    with tracemw.span("request"):
        run(5000)
    assert running.holds_nothing()
    assert running.stats.ended == 5001
    assert running.spans == []
