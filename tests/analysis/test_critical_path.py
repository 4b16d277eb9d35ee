"""The critical path and self time, by their definitions."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from analysis.building import Builder
from tracemw.analysis.critical_path import critical_path, self_time
from tracemw.analysis.model import MILLISECOND, Span


def by_name(root: Span) -> dict[str, float]:
    return {span.name: part / MILLISECOND for span, part in critical_path(root).items()}


def test_the_child_that_ends_last_owns_its_time_and_then_the_one_that_had_ended_by_then() -> None:
    built = Builder()
    root = built.add(None, "root", 0, 100)
    built.add(root, "first", 10, 40)
    built.add(root, "beside", 20, 45)
    built.add(root, "last", 40, 90)
    built.trace()
    assert by_name(root) == {"root": 20, "last": 50, "first": 30}


def test_a_child_that_ends_as_the_next_one_starts_is_on_the_path() -> None:
    built = Builder()
    root = built.add(None, "root", 0, 100)
    built.add(root, "a", 0, 50)
    built.add(root, "b", 50, 100)
    built.trace()
    assert by_name(root) == {"root": 0, "a": 50, "b": 50}


def test_children_are_cut_to_their_parent() -> None:
    built = Builder()
    root = built.add(None, "root", 0, 100)
    child = built.add(root, "late", 50, 500)
    built.add(child, "later", 120, 400)
    built.add(child, "within", 60, 70)
    built.trace()
    assert by_name(root) == {"root": 50, "late": 40, "within": 10}


def test_a_consumer_does_not_hold_up_its_producer() -> None:
    built = Builder()
    root = built.add(None, "send", 0, 100, kind="PRODUCER")
    built.add(root, "receive", 20, 90, kind="CONSUMER")
    built.trace()
    assert by_name(root) == {"send": 100}


def test_self_time_leaves_out_the_union_of_the_children() -> None:
    built = Builder()
    root = built.add(None, "root", 0, 100)
    for start, end in ((10, 40), (20, 50), (90, 130)):
        built.add(root, "child", start, end)
    built.trace()
    assert self_time(root) == 50 * MILLISECOND


@st.composite
def trees(draw: st.DrawFn) -> Builder:
    built = Builder()
    spans: list[Span] = []
    for _ in range(draw(st.integers(1, 30))):
        parent = draw(st.sampled_from(spans)) if spans else None
        start, length = draw(st.integers(-50, 200)), draw(st.integers(-5, 100))
        kind = draw(st.sampled_from(["INTERNAL", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"]))
        service = draw(st.sampled_from(["", "a", "b"]))
        spans.append(built.add(parent, "span", start, start + length, kind=kind, service=service))
    return built


@given(trees())
def test_the_parts_sum_to_the_duration_of_the_root(built: Builder) -> None:
    root = built.trace().root
    parts = critical_path(root)
    assert sum(parts.values()) == root.duration
    assert min(parts.values()) >= 0


def test_a_hundred_thousand_siblings_in_a_row_take_less_than_a_second() -> None:
    built = Builder()
    root = built.add(None, "root", 0, 100_000)
    for number in range(100_000):
        built.add(root, "child", number, number + 1)
    built.trace()
    began = time.process_time()
    parts = critical_path(root)
    assert time.process_time() - began < 1
    assert len(parts) == 100_001


def test_a_chain_of_a_hundred_thousand_does_not_overflow() -> None:
    built = Builder()
    span = root = built.add(None, "root", 0, 100_000)
    for number in range(100_000):
        span = built.add(span, "child", number / 10, 100_000)
    built.trace()
    assert sum(critical_path(root).values()) == root.duration
