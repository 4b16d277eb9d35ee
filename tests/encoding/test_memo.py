"""What the encoder remembers: it changes no attribute, and has bounds."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoding.samples import (
    LeanSpan,
    a_span,
    an_encoder,
    attributes_in,
    entries,
    official,
)
from encoding.strategies import dicts


@given(st.lists(dicts, min_size=1, max_size=6))
@settings(max_examples=150)
def test_what_is_remembered_changes_no_attribute(drawn: list[dict[str, Any]]) -> None:
    warm, tiny = an_encoder(), an_encoder(memo_size=3)
    for given_attributes in drawn + drawn[::-1]:
        span = a_span(attributes=given_attributes)
        assert warm.encode([span]) == tiny.encode([span]) == official([span])


def test_a_second_batch_of_the_same_values_misses_only_what_is_never_kept() -> None:
    encoder = an_encoder()
    spans = [a_span(attributes={"s": "a", "i": 1, "b": True, "f": 1.5, "l": [1], "long": "x" * 1000})] * 3
    encoder.encode(spans)
    before = encoder.misses
    encoder.encode(spans)
    assert encoder.misses - before == 3 * len(["f", "l", "long"])


def test_the_memo_stays_bounded_whatever_the_values_and_keys() -> None:
    encoder = an_encoder(memo_size=320)
    for i in range(5_000):
        encoder.encode(
            [LeanSpan(a_span(name=f"n{i}", attributes={"path": f"/{i}", "port": i, f"key{i % 700}": i % 11}))]
        )
        assert entries(encoder) <= 320
    assert len(encoder._names) <= 1024
    for i in range(5_000):
        encoder.encode([a_span(attributes={f"key{i}": "x" * (i % 600)})])
        assert entries(encoder) <= 320


def test_the_memo_stays_bounded_by_texts_that_differ_in_their_letters_and_sizes() -> None:
    encoder = an_encoder(memo_size=320)
    for i in range(3_000):
        word = "".join(chr(ord("a") + int(digit)) for digit in str(i * 7919)) * (1 + i % 9)
        encoder.encode(
            [LeanSpan(a_span(attributes={"url.path": f"/{word}", "server.address": word, "port": 1 << i % 50}))]
        )
        assert entries(encoder) <= 320


def test_keys_whose_values_are_all_different_do_not_displace_the_others() -> None:
    encoder = an_encoder(memo_size=512)
    repetitive = {f"key{i}": f"value{i}" for i in range(9)}
    encoder.encode([a_span(attributes=repetitive)])
    before = encoder.misses
    for i in range(2_000):
        encoder.encode([LeanSpan(a_span(attributes={**repetitive, "path": f"/{i}", "query": f"q={i}", "port": i}))])
    assert encoder.misses - before == 3 * 2_000


def test_values_that_come_back_are_remembered_again_under_a_key_that_had_too_many() -> None:
    encoder = an_encoder(memo_size=160)
    for i in range(1_000):
        encoder.encode([a_span(attributes={"path": f"/{i}"})])
    for _ in range(100):
        encoder.encode([a_span(attributes={"path": "/health"})])
    before = encoder.misses
    encoder.encode([a_span(attributes={"path": "/health"})])
    assert encoder.misses == before


def test_values_are_told_apart_by_type_while_their_key_rests_and_when_it_is_remembered_again() -> None:
    encoder = an_encoder(memo_size=64)
    odd = [1, True, 1.0, "1", b"1", 0, False, 0.0, -0.0, "", -1, 2**62, "x" * 600]
    for i in range(400):  # the integers and the texts fill their share again and again
        spans = [a_span(attributes={"k": value}) for value in (i, str(i), odd[i % len(odd)])]
        assert encoder.encode(spans) == official(spans)


def test_a_text_without_a_form_in_utf8_is_escaped_while_its_key_rests() -> None:
    encoder = an_encoder(memo_size=64)
    for i in range(100):
        got = attributes_in(encoder.encode([a_span(attributes={"k": f"caf\udce9{i}"})]))
        assert got["k"].string_value == f"caf\\udce9{i}"


@pytest.mark.parametrize("size", [0, -1])
def test_a_memo_without_room_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"memo_size={size}"):
        an_encoder(memo_size=size)


def test_long_keys_are_not_remembered() -> None:
    encoder = an_encoder()
    batches = [[a_span(attributes={f"{number}{'k' * 20_000}": "v"})] for number in range(200)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for batch in batches:
            assert encoder.encode(batch) == official(batch)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000
    assert encoder.misses >= 200
