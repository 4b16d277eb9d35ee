"""Spans with wrong fields, and with times that are none."""

from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry.sdk.trace import Event
from opentelemetry.trace import Link

from encoding.samples import (
    CONTEXT,
    LeanSpan,
    Lookalike,
    a_span,
    an_encoder,
    official,
    spans_in,
)


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ({"name": 5}, ("5", 1, 1)),
        ({"kind": 0}, ("GET /", 1, 1)),
        ({"start_time": -1}, ("GET /", 1, 1)),
        ({"end_time": 1.5}, ("GET /", 1, 1)),
        ({"events": [object()]}, ("GET /", 1, 1)),
        ({"events": 5}, ("GET /", 0, 1)),
        ({"links": [Link(None)]}, ("GET /", 1, 0)),  # type: ignore[arg-type]
        ({"status": "ok"}, ("GET /", 1, 1)),
        ({"attributes": 5}, ("GET /", 1, 1)),
        ({"parent": "parent"}, ("GET /", 1, 1)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_a_field_that_is_none_costs_that_field_alone(fault: dict[str, Any], left: Any) -> None:
    usual = {"attributes": {"a": 1}, "events": [Event("e", {"k": 1}, 3)], "links": [Link(CONTEXT, {"k": 1})]}
    bad = a_span(**{**usual, **fault})
    with pytest.raises(Exception):  # noqa: B017, PT011  the official encoder raises this and that
        official([bad])
    encoder = an_encoder()
    (got,) = spans_in(encoder.encode([bad]))
    assert (got.name, len(got.events), len(got.links)) == left
    assert [attribute.key for attribute in got.attributes] == ([] if "attributes" in fault else ["a"])
    assert got.trace_id == CONTEXT.trace_id.to_bytes(16, "big")
    assert 0 < got.start_time_unix_nano <= got.end_time_unix_nano
    assert encoder.spans_left_out == 0


LATE = 1_700_000_000_000_000_000


@pytest.mark.parametrize("wrap", [lambda span: span, LeanSpan, Lookalike], ids=["read-only", "plain", "lookalike"])
@pytest.mark.parametrize(
    ("start", "end", "sent"),
    [
        (LATE, LATE - 1, (LATE, LATE)),
        (LATE, 1, (LATE, LATE)),
        (LATE, LATE, (LATE, LATE)),
        (LATE, None, (LATE, LATE)),
        (LATE, -1, (LATE, LATE)),
        (LATE, 2**63, (LATE, LATE)),
        (LATE, 2**64, (LATE, LATE)),
        (LATE, 10**30, (LATE, LATE)),
        (LATE, float("nan"), (LATE, LATE)),
        (None, LATE, (LATE, LATE)),
        (0, LATE, (LATE, LATE)),
        (-1, LATE, (LATE, LATE)),
        (2**64, LATE, (LATE, LATE)),
        (float(LATE), LATE + 10**6, (LATE, LATE + 10**6)),
        (None, None, None),
        (0, 0, None),
        (-2, -1, None),
    ],
)
def test_no_span_leaves_with_its_end_before_its_start_or_a_time_that_is_none(
    wrap: Any, start: Any, end: Any, sent: Any
) -> None:
    span = a_span(start_time=start, end_time=end, events=[Event("e", timestamp=-5)])
    (got,) = spans_in(an_encoder().encode([wrap(span)]))
    if sent is None:
        assert got.start_time_unix_nano == got.end_time_unix_nano
        assert abs(got.start_time_unix_nano - time.time_ns()) < 60 * 10**9
    else:
        assert (got.start_time_unix_nano, got.end_time_unix_nano) == sent
    assert got.events[0].time_unix_nano == got.start_time_unix_nano
