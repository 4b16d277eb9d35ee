"""The queue alone: its limits, what it drops, and when it tells the worker."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from interrupting import Interrupter
from tracemw._export.queue import SpanQueue


class Queue:
    """A queue of records that need no encoding."""

    def __init__(self, **limits: Any) -> None:
        self.counts = dict.fromkeys(("queue_full", "queue_bytes", "too_large", "encoding", "late"), 0)
        self.woken = 0
        self.has_worker = True
        given = {"most_spans": 10, "most_bytes": 1000, "batch_spans": 4, "batch_bytes": 100, **limits}
        encode: Any = lambda record: record  # noqa: E731
        self.queue = SpanQueue(encode, self.wake, self.counts, **given)

    def wake(self) -> bool:
        self.woken += 1
        return self.has_worker

    def take(self, *records: bytes | None) -> None:
        take: Any = self.queue.take
        for record in records:
            take(record)

    def moved(self, most: int = 1000) -> list[bytes]:
        batch: list[bytes] = []
        self.queue.move(batch, most)
        return batch

    @property
    def dropped(self) -> dict[str, int]:
        return {cause: count for cause, count in self.counts.items() if count}


def test_spans_leave_in_the_order_they_came_and_no_more_at_once_than_are_wanted() -> None:
    queue = Queue()
    queue.take(b"a", b"b", b"c")
    assert (queue.moved(2), queue.moved(2), queue.moved(2)) == ([b"a", b"b"], [b"c"], [])


def test_spans_are_added_to_what_is_left_of_a_batch() -> None:
    queue, batch = Queue(), [b"left"]
    queue.take(b"a")
    queue.queue.move(batch, 5)
    assert batch == [b"left", b"a"]


def test_beyond_the_number_of_spans_the_oldest_are_dropped() -> None:
    queue = Queue(most_spans=3)
    queue.take(*[bytes([number]) for number in range(8)])
    assert queue.dropped == {"queue_full": 5}
    assert queue.moved() == [b"\x05", b"\x06", b"\x07"]


def test_beyond_the_bytes_the_oldest_are_dropped_as_many_as_it_takes() -> None:
    queue = Queue(most_bytes=100)
    queue.take(b"a" * 40, b"b" * 40, b"c" * 90)
    assert queue.dropped == {"queue_bytes": 2}
    assert queue.moved() == [b"c" * 90]
    queue.take(b"d" * 60, b"e" * 40)  # what has left counts no more
    assert queue.dropped == {"queue_bytes": 2}


def test_a_span_larger_than_a_batch_is_dropped_and_the_others_stay() -> None:
    queue = Queue()
    queue.take(b"a", b"b" * 101, b"c" * 100)
    assert queue.dropped == {"too_large": 1}
    assert queue.moved() == [b"a", b"c" * 100]


def test_a_span_that_cannot_be_encoded_is_counted() -> None:
    queue = Queue()
    queue.take(b"a", None)
    assert queue.dropped == {"encoding": 1}
    assert len(queue.queue) == 1


def test_a_queue_that_refuses_counts_each_span_by_the_reason_and_encodes_none() -> None:
    queue = Queue(refuses="late")
    queue.take(b"a", None)
    assert queue.dropped == {"late": 2}
    queue.queue.refuses = None
    queue.take(b"a")
    assert queue.moved() == [b"a"]


def test_what_is_dropped_on_demand_is_the_oldest_and_is_counted_by_the_cause() -> None:
    queue = Queue()
    queue.take(b"a", b"b", b"c")
    assert queue.queue.drop_oldest("late") is True
    assert (queue.dropped, len(queue.queue)) == ({"late": 1}, 2)
    queue.queue.drop_all("late")
    assert (queue.dropped, queue.queue.drop_oldest("late")) == ({"late": 3}, False)


def test_the_worker_is_told_of_the_first_span_and_of_a_full_batch() -> None:
    queue = Queue()
    told = []
    for _ in range(8):
        queue.take(b"a")
        told.append(queue.woken)
    assert told == [1, 1, 1, 2, 2, 2, 2, 2]


def test_the_worker_is_told_of_a_batch_full_of_bytes() -> None:
    queue = Queue()
    queue.take(b"a" * 60)
    queue.take(b"b" * 60)
    assert queue.woken == 2
    queue.take(b"c" * 60)
    assert queue.woken == 2


def test_a_full_queue_shorter_than_a_batch_tells_the_worker_too() -> None:
    queue = Queue(most_spans=3)
    queue.take(b"a", b"b")
    assert queue.woken == 1
    queue.take(b"c")
    assert queue.woken == 2


def test_a_worker_that_has_looked_is_told_of_the_next_span() -> None:
    queue = Queue()
    queue.take(b"a", b"b")
    queue.queue.expect()
    queue.take(b"c", b"d")
    assert queue.woken == 2 + 1  # and of the batch that is full


def test_without_a_worker_each_span_asks_for_one() -> None:
    queue = Queue()
    queue.has_worker = False
    queue.take(b"a", b"b")
    queue.has_worker = True
    queue.take(b"c", b"c")
    assert queue.woken == 3 + 1


def test_a_child_inherits_the_spans_with_their_bytes() -> None:
    parent, child = Queue(), Queue(most_bytes=100)
    parent.take(b"a" * 50, b"b" * 20)
    child.queue.inherit(parent.queue)
    child.take(b"c" * 60)
    assert child.dropped == {"queue_bytes": 1}
    assert child.moved() == [b"b" * 20, b"c" * 60]


@pytest.mark.usefixtures("hasty_switching")
def test_spans_of_many_threads_are_taken_dropped_or_moved_each_once() -> None:
    queue = Queue(most_spans=5, most_bytes=120, batch_bytes=100)
    threads = [threading.Thread(target=queue.take, args=[b"x" * 30] * 1000) for _ in range(4)]
    for thread in threads:
        thread.start()
    moved = 0
    while any(thread.is_alive() for thread in threads):
        moved += len(queue.moved(3))
        queue.queue.drop_oldest("late")
    moved += len(queue.moved())
    assert moved + sum(queue.counts.values()) == 4000
    queue.take(b"y" * 100)  # no byte of what has left is counted still
    assert queue.moved() == [b"y" * 100]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="newer Pythons trace too few instructions to tell anything")
@pytest.mark.parametrize("size", [1, 90])
def test_an_interrupt_between_any_two_steps_leaves_the_span_in_the_queue_or_out_of_it_and_the_worker_told(
    size: int,
) -> None:
    with Interrupter() as counting:
        Queue().take(b"x" * size)
    interrupted = 0
    for at in counting.steps:
        queue = Queue()
        with Interrupter(at) as interrupter:
            try:
                queue.take(b"x" * size)
            except KeyboardInterrupt:
                interrupted += 1
        waiting = len(queue.queue)
        assert waiting + sum(queue.counts.values()) <= 1, interrupter.where
        queue.take(b"next")
        assert queue.woken >= 1, interrupter.where
        assert len(queue.moved()) == waiting + 1
        queue.take(b"y" * 100)
        assert queue.moved() == [b"y" * 100], interrupter.where
    assert interrupted > 20
