"""The batch under way alone: each span of it is counted once, whoever is faster."""

from __future__ import annotations

import pytest

from tracemw._export.in_flight import InFlight


@pytest.fixture
def counts() -> dict[str, int]:
    return dict.fromkeys(("exported", "rejected", "unknown", "shutdown"), 0)


@pytest.fixture
def in_flight(counts: dict[str, int]) -> InFlight:
    made = InFlight(counts)
    made.batch.extend([b"a", b"b", b"c", b"d"])
    return made


def test_the_spans_of_a_request_leave_the_batch_as_they_are_counted(
    in_flight: InFlight, counts: dict[str, int]
) -> None:
    in_flight.under_way = 3
    in_flight.settle(in_flight.batch, 3, "rejected", lost=1)
    assert counts == {"exported": 2, "rejected": 1, "unknown": 0, "shutdown": 0}
    assert (in_flight.batch, in_flight.under_way) == ([b"d"], 0)


def test_what_is_under_way_at_the_end_is_unknown_and_the_rest_is_lost_by_the_shutdown(
    in_flight: InFlight, counts: dict[str, int]
) -> None:
    in_flight.under_way = 3
    in_flight.give_up()
    assert counts == {"exported": 0, "rejected": 0, "unknown": 3, "shutdown": 1}
    assert in_flight.batch == []


def test_a_batch_that_was_given_up_is_settled_no_more(in_flight: InFlight, counts: dict[str, int]) -> None:
    batch = in_flight.batch
    in_flight.give_up()
    before = counts.copy()
    in_flight.settle(batch, 4, "rejected", lost=0)
    assert counts == before


def test_a_batch_that_was_settled_is_given_up_no_more(in_flight: InFlight, counts: dict[str, int]) -> None:
    in_flight.settle(in_flight.batch, 4, "rejected", lost=0)
    in_flight.give_up()
    assert counts == {"exported": 4, "rejected": 0, "unknown": 0, "shutdown": 0}
