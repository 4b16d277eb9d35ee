"""How batches are cut into requests, beside backends with limits and dislikes of every kind."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from tracemw._export.exporter import AttemptResult
from tracemw._export.portions import Portions

OVERHEAD = 50
"""Bytes of a request beside its spans."""


def delivered(
    portions: Portions, records: list[bytes], backend: Callable[[list[bytes]], AttemptResult]
) -> tuple[list[bytes], int]:
    """Send records as a delivery does; return those that have been accepted, and the number of attempts."""
    accepted, attempts, left = list[bytes](), 0, records
    portions.begin(len(records), seconds=3600)
    while left:
        count = portions.next(left)
        assert 1 <= count <= len(left)
        portion, size = left[:count], sum(map(len, left[:count])) + OVERHEAD
        if not portions.admit(count, size):
            continue
        if portions.is_hopeless(count, size, size):
            left = left[count:]
            continue
        attempts += 1
        assert attempts < 20 * len(records) + 20, "it comes to no end"
        answer = backend(portion)
        if answer is AttemptResult.ACCEPTED:
            portions.note_accepted(count)
            accepted += portion
        elif (
            portions.note_too_large(count, size, size)
            if answer is AttemptResult.TOO_LARGE
            else portions.note_invalid(count)
        ):
            continue
        left = left[count:]
    return accepted, attempts


batches = st.lists(st.integers(1, 400).map(bytes), min_size=1, max_size=120)


@given(records=batches, limit=st.integers(0, 2000), most=st.integers(400, 4000))
def test_whatever_fits_by_itself_arrives_in_order_whatever_the_limit(
    records: list[bytes], limit: int, most: int
) -> None:
    def backend(portion: list[bytes]) -> AttemptResult:
        assert len(portion) == 1 or sum(map(len, portion)) + OVERHEAD <= most
        return AttemptResult.ACCEPTED if sum(map(len, portion)) + OVERHEAD <= limit else AttemptResult.TOO_LARGE

    portions = Portions(most)
    for _ in range(2):
        accepted, _ = delivered(portions, records, backend)
        assert accepted == [record for record in records if len(record) + OVERHEAD <= limit]


@given(size=st.integers(1, 600), culprits=st.sets(st.integers(0, 599), max_size=6))
def test_a_few_spans_that_are_refused_are_found_in_about_as_many_attempts_as_the_number_has_bits(
    size: int, culprits: set[int]
) -> None:
    records = [number.to_bytes(2, "big") for number in range(size)]
    bad = {records[culprit % size] for culprit in culprits}
    accepted, attempts = delivered(
        Portions(10**6),
        records,
        lambda portion: AttemptResult.INVALID if bad & set(portion) else AttemptResult.ACCEPTED,
    )
    assert accepted == [record for record in records if record not in bad]
    assert attempts <= 1 + len(bad) * 2 * (size.bit_length() + 1)


@given(records=batches, limit=st.integers(0, 500), bad=st.sets(st.integers(1, 400), max_size=3))
def test_limits_and_dislikes_together_end_and_no_span_is_sent_twice(
    records: list[bytes], limit: int, bad: set[int]
) -> None:
    def backend(portion: list[bytes]) -> AttemptResult:
        if sum(map(len, portion)) + OVERHEAD > limit:
            return AttemptResult.TOO_LARGE
        return AttemptResult.INVALID if bad & set(map(len, portion)) else AttemptResult.ACCEPTED

    accepted, _ = delivered(Portions(2000), records, backend)
    left = iter(records)
    assert all(record in left for record in accepted)  # in order, and each once
    assert not bad & set(map(len, accepted))


@given(size=st.integers(2, 600))
def test_a_backend_that_refuses_everything_is_asked_little_and_then_once_for_each_batch(size: int) -> None:
    portions, records = Portions(10**6), [b"x"] * size
    for batch in range(20):
        accepted, attempts = delivered(portions, records, lambda portion: AttemptResult.INVALID)
        assert accepted == []
        assert attempts <= (2 * size.bit_length() + 4 if batch == 0 else 2 * size.bit_length() + 3)
    assert attempts == 1
