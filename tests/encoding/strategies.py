"""Strategies for spans of every kind. They leave out what the official encoder fails on."""

from __future__ import annotations

import math
from types import MappingProxyType

from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

short_texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "GET", "/users/{id}", "ünïcödé", "a" * 127, "b" * 128, "c" * 511, "d" * 513]),
)
texts = st.one_of(short_texts, st.just("e" * 20_000))
integers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 127, 128, 2047, 2048, 16383, 16384, 2**31, 2**63 - 1, -(2**63)]),
)
others = st.one_of(integers, st.booleans(), st.floats(), st.binary(max_size=8), st.none())
scalars = st.one_of(texts, others)
values = st.one_of(
    scalars,
    scalars,
    st.sampled_from([0, 1, False, True, 0.0, -0.0, 1.0, math.nan, math.inf, -math.inf]),
    st.recursive(
        st.one_of(short_texts, others),  # of long ones, two would be more than a value may have, and so be cut
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.one_of(short_texts, st.integers(), st.none()), inner, max_size=3),
        ),
        max_leaves=6,
    ),
)
keys = st.one_of(st.sampled_from(["http.route", "url.path", "a", "b", "c"]), texts)
dicts = st.dictionaries(keys, values, max_size=6)
attributes = st.one_of(
    st.none(),
    dicts,
    dicts.map(MappingProxyType),
    dicts.map(lambda given: BoundedAttributes(attributes=given)),
    dicts.map(lambda given: BoundedAttributes(2, given)),
)
flags = st.integers(0, 255).map(TraceFlags)
states = st.one_of(
    st.none(), st.sampled_from([TraceState(), TraceState([("a", "1")]), TraceState([("tenant@v", "x"), ("b", "2")])])
)
contexts = st.builds(SpanContext, st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1), st.booleans(), flags, states)
# Times that are none, or the wrong way round, are a difference on purpose: see the tests further down.
times = st.lists(st.integers(1, 2**63 - 1), min_size=2, max_size=2).map(sorted)
events = st.lists(st.builds(Event, texts, attributes, st.integers(0, 2**64 - 1)), max_size=3)
links = st.lists(st.builds(Link, contexts, attributes), max_size=3)
statuses = st.one_of(
    st.builds(Status, st.sampled_from(StatusCode)), st.builds(Status, st.just(StatusCode.ERROR), texts), st.none()
)
schemas = st.sampled_from([None, "", "https://opentelemetry.io/schemas/1.37.0"])
resources = st.builds(
    Resource,
    st.one_of(
        st.sampled_from([{}, {"a": 1}, {"a": True}, {"a": 1.0}, {"a": "1"}, {"a": [1, 2]}, {"a": (1, 2)}]),
        st.dictionaries(keys, st.one_of(texts, integers, st.booleans(), st.floats()), max_size=3),
    ),
    schemas,
)
scopes = st.one_of(
    st.none(),
    st.builds(
        InstrumentationScope,
        st.sampled_from(["", "a", "b"]),
        st.sampled_from([None, "", "1.0"]),
        schemas,
        st.sampled_from([None, {"a": 1}, {"a": True}, {"a": 1.0}, {"b": ["x"]}]),
    ),
)


def _timed(span: ReadableSpan, times: list[int]) -> ReadableSpan:
    span._start_time, span._end_time = times
    return span


@st.composite
def batches(draw: st.DrawFn) -> list[list[ReadableSpan]]:
    """Draw batches of spans that share resources and scopes: the same ones, equal ones and others."""
    of_resources = st.sampled_from(draw(st.lists(resources, min_size=1, max_size=4)))
    of_scopes = st.sampled_from(draw(st.lists(scopes, min_size=1, max_size=4)))
    spans = st.builds(
        ReadableSpan,
        name=texts,
        context=contexts,
        parent=st.one_of(st.none(), contexts),
        resource=of_resources,
        attributes=attributes,
        events=st.one_of(events, events.map(tuple), events.map(lambda given: BoundedList.from_seq(2, given))),
        links=st.one_of(links, links.map(lambda given: BoundedList.from_seq(1, given))),
        kind=st.sampled_from(SpanKind),
        status=statuses,
        start_time=st.none(),
        end_time=st.none(),
        instrumentation_scope=of_scopes,
    )
    spans = st.builds(_timed, spans, times)
    return draw(st.lists(st.lists(spans, max_size=4), min_size=1, max_size=3))
