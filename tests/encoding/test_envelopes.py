"""Resources and scopes around spans."""

from __future__ import annotations

import inspect
import sys
from contextlib import suppress

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from encoding.samples import (
    a_span,
    an_encoder,
    official,
    parse,
)


def test_a_replaced_resource_is_encoded_anew() -> None:
    encoder = an_encoder()
    for i in range(120):  # two equal ones each time
        spans = [a_span(resource=Resource({"service.instance.id": str(i // 2)})) for _ in range(2)]
        assert encoder.encode(spans) == official(spans)


def test_spans_of_more_resources_than_are_remembered_bring_their_own_along() -> None:
    encoder = an_encoder()
    records = []
    for i in range(600):  # each is freed, and its id may be used by the next
        resource = Resource({"service.instance.id": str(i)}, schema_url="https://the.test")
        scope = InstrumentationScope(f"scope {i}", attributes={"a": i})
        record = encoder.record(a_span(name=str(i), resource=resource, instrumentation_scope=scope))
        assert record is not None
        records.append(record)
    assert len(encoder._groups._envelopes) <= 256
    found = [
        (of_resource.resource.attributes[0].value.string_value, of_resource.schema_url, of_scope.scope.name, span.name)
        for of_resource in parse(encoder.request(records)).resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]
    assert found == [(str(i), "https://the.test", f"scope {i}", str(i)) for i in range(600)]
    assert encoder.spans_left_out == 0


def test_equal_scopes_whose_values_differ_in_type_keep_their_own_values_from_batch_to_batch() -> None:
    encoder = an_encoder()
    for value in (1, True, 1.0):
        span = a_span(instrumentation_scope=InstrumentationScope("s", attributes={"a": value}))
        assert encoder.encode([span]) == official([span])


def test_spans_of_equal_resources_and_scopes_share_a_group_in_the_order_they_came() -> None:
    spans = [
        a_span(name=str(i), resource=Resource({"a": i % 2}), instrumentation_scope=InstrumentationScope(f"s{i % 3}"))
        for i in range(24)
    ]
    request = an_encoder().encode(spans)
    assert request == official(spans)
    assert [len(resource.scope_spans) for resource in parse(request).resource_spans] == [3, 3]


@pytest.mark.parametrize("room", range(10, 90, 4))
def test_a_resource_that_is_first_met_where_the_stack_is_full_has_all_its_attributes_later(room: int) -> None:
    encoder, span = an_encoder(), a_span(resource=Resource({"service.name": "shop"}))

    def descend(frames: int) -> None:
        if frames:
            descend(frames - 1)
        else:
            encoder.record(span)

    with suppress(RecursionError):
        descend(sys.getrecursionlimit() - len(inspect.stack(0)) - room)
    assert encoder.encode([span]) == official([span])


def test_the_hash_of_a_resource_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Resource] = []
    of_resource = Resource.__hash__

    def note(resource: Resource) -> int:
        hashed.append(resource)
        return of_resource(resource)

    monkeypatch.setattr(Resource, "__hash__", note)
    encoder = an_encoder()
    for _ in range(3):
        encoder.encode([a_span(), a_span()])
    assert len(hashed) == 1


def test_a_resource_that_cannot_be_hashed_is_encoded() -> None:
    class Unhashable(Resource):
        def __hash__(self) -> int:
            raise TypeError("bytes are not JSON serializable")

    resource = Unhashable({"a": 1})
    with pytest.raises(TypeError):
        official([a_span(resource=resource)])
    request = an_encoder().encode([a_span(resource=resource), a_span(resource=resource)])
    assert request == official([a_span(resource=Resource({"a": 1})), a_span(resource=Resource({"a": 1}))])
