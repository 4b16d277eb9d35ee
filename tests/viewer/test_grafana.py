"""The calls of Grafana's Tempo data source, which finds a Tempo in the viewer, and reads traces as OTLP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from opentelemetry.proto.trace.v1 import trace_pb2

from .running import Viewer
from .running import viewer as start_viewer
from .samples import CHECKOUT, NOON, SECOND, Spans, checkout, hex_id, span

WINDOW = {"start": NOON // SECOND - 60, "end": NOON // SECOND + 60}


@pytest.fixture(name="tempo", scope="module")
def viewer_with_a_checkout() -> Iterator[Viewer]:
    with start_viewer() as running:
        running.send(*checkout())
        running.send(Spans("shop", tuple(span(7, number, text="x" * 900) for number in range(1, 3_001))))
        yield running


def trace_by_id_response() -> Any:
    """Tempo's message, of which OTLP's is a part (``pkg/tempopb/tempo.proto``)."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tempo.proto", package="tempopb", syntax="proto3", dependency=[trace_pb2.DESCRIPTOR.name]
    )
    file.message_type.add(name="TraceByIDMetrics")
    file.enum_type.add(name="PartialStatus").value.extend(
        descriptor_pb2.EnumValueDescriptorProto(name=name, number=number)
        for number, name in enumerate(("COMPLETE", "PARTIAL"))
    )
    message = file.message_type.add(name="TraceByIDResponse")
    for number, name, kind, type_name in (
        (1, "trace", field.TYPE_MESSAGE, ".opentelemetry.proto.trace.v1.TracesData"),
        (2, "metrics", field.TYPE_MESSAGE, ".tempopb.TraceByIDMetrics"),
        (3, "status", field.TYPE_ENUM, ".tempopb.PartialStatus"),
        (4, "message", field.TYPE_STRING, None),
    ):
        message.field.add(name=name, number=number, label=field.LABEL_OPTIONAL, type=kind, type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    for part in _with_dependencies(trace_pb2.DESCRIPTOR):
        pool.AddSerializedFile(part.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tempopb.TraceByIDResponse"))


def _with_dependencies(file: Any) -> Iterator[Any]:
    for dependency in file.dependencies:
        yield from _with_dependencies(dependency)
    yield file


def get_trace(tempo: Viewer, trace_id: str, **parameters: str | int) -> Any:
    headers = {"accept": "application/protobuf"}
    response = tempo.http.get(f"/api/v2/traces/{trace_id}", params={**WINDOW, **parameters}, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/protobuf")
    return trace_by_id_response().FromString(response.content)


def spans_of(answer: Any) -> list[Any]:
    return [span for batch in answer.trace.resource_spans for scope in batch.scope_spans for span in scope.spans]


def test_save_and_test_finds_a_tempo(tempo: Viewer) -> None:
    assert (tempo.http.get("/api/echo").status_code, tempo.http.get("/api/echo").text) == (200, "echo\n")
    assert tempo.get("/api/status/buildinfo")["version"].startswith("3.")


def test_a_trace_comes_as_tempos_protobuf(tempo: Viewer) -> None:
    answer = get_trace(tempo, hex_id(CHECKOUT))
    assert len(spans_of(answer)) == 15
    assert (answer.status, answer.message, answer.HasField("metrics")) == (0, "", True)


def test_a_large_trace_that_comes_in_parts_is_one(tempo: Viewer) -> None:
    assert {span.span_id for span in spans_of(get_trace(tempo, "7"))} == {
        number.to_bytes(8, "big") for number in range(1, 3_001)
    }


def test_a_trace_that_does_not_exist_is_an_empty_one(tempo: Viewer) -> None:
    answer = get_trace(tempo, "1234")
    assert answer.HasField("trace")
    assert not answer.trace.resource_spans


def test_a_query_leaves_the_spans_of_a_trace_that_it_finds(tempo: Viewer) -> None:
    answer = get_trace(tempo, hex_id(CHECKOUT), q="{ kind = server } > { span.db.system.name != nil }")
    assert [span.name for span in spans_of(answer)] == ["SELECT profiles", "INSERT declines"]
    assert (answer.status, "subset of spans" in answer.message) == (1, True)


def test_the_search_form_finds_traces(tempo: Viewer) -> None:
    query = '{resource.service.name=~"storefront|payments" && status=error && duration>100ms}'
    (found,) = tempo.get("/api/search", q=query, limit=20, spss=3, **WINDOW)["traces"]
    assert (found["traceID"], found["spanSet"]["matched"]) == (hex_id(CHECKOUT).lstrip("0"), 4)
    assert len(found["spanSet"]["spans"]) == 3


def test_names_and_values_complete_a_query(tempo: Viewer) -> None:
    scopes = {
        scope["name"]: scope["tags"] for scope in tempo.get("/api/v2/search/tags", limit=5000, **WINDOW)["scopes"]
    }
    assert {"http.route", "db.system.name"} <= set(scopes["span"])
    assert "exception.type" in scopes["event"]
    values = tempo.get("/api/v2/search/tag/span.http.route/values", q='{resource.service.name="profile"}', **WINDOW)
    assert values["tagValues"] == [{"type": "string", "value": "/profiles/{id}"}]


def test_traceql_metrics_draw_a_graph(tempo: Viewer) -> None:
    def ask(query: str, **more: str | int) -> list[dict[str, Any]]:
        series: list[dict[str, Any]] = tempo.get("/api/metrics/query_range", q=query, step="60s", **WINDOW, **more)[
            "series"
        ]
        return series

    (rate,) = ask('{resource.service.name="payments"} | rate()')
    assert rate["labels"] == [{"key": "__name__", "value": {"stringValue": "rate"}}]
    assert [each.get("value", 0) for each in rate["samples"]] == [0, 0, 4 / 60, 0]
    assert rate["exemplars"][0]["labels"][0] == {
        "key": "trace:id",
        "value": {"stringValue": hex_id(CHECKOUT).lstrip("0")},
    }
    half, most = ask("{ kind = server } | quantile_over_time(duration, .5, .9) by (rootServiceName)")
    assert [label["value"] for label in half["labels"]] == [{"stringValue": "storefront"}, {"doubleValue": 0.5}]
    assert [each["value"] for each in half["samples"]] == pytest.approx([0.19])  # of 0.084, 0.19 and 0.412
    assert [each["value"] for each in most["samples"]] == pytest.approx([0.3676])
    whole = f"{WINDOW['end'] - WINDOW['start']}s"
    (once,) = tempo.get("/api/metrics/query_range", q="{ kind = server } | rate()", step=whole, **WINDOW)["series"]
    assert sum(each.get("value", 0) for each in once["samples"]) == pytest.approx(3 / 120)
    (single,) = tempo.get("/api/metrics/query", q="{ kind = server } | rate()", **WINDOW)["series"]
    assert single["value"] == pytest.approx(3 / 120)
    (longest,) = ask("{ name = `load cart` } | max_over_time(duration)")
    assert [each["value"] for each in longest["samples"]] == [0.066]
    buckets = ask("{ kind = server } | histogram_over_time(duration)")
    assert [series["labels"][0]["value"]["doubleValue"] for series in buckets] == [
        2**27 / 1e9,
        2**28 / 1e9,
        2**29 / 1e9,
    ]
    (top,) = ask("{} | count_over_time() by (resource.service.name) | topk(1)")
    assert top["labels"][0]["value"] == {"stringValue": "shop"}
    compared = ask('{resource.service.name != "shop"} | compare({status=error})')
    assert {label["value"]["stringValue"] for series in compared for label in series["labels"][:1]} == {
        *("baseline", "baseline_total", "selection", "selection_total"),
    }


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"q": "{}"}, "not a metrics query"),
        ({"q": "{} | rate()", "start": 20, "end": 10}, "end must be greater than start"),
        ({"q": "{} | rate() by (kind, kind, kind, kind, kind, kind)"}, "more than 5 values"),
        ({"q": "{} | quantile_over_time(duration, 2)"}, "quantile must be between 0 and 1: 2"),
        ({"q": "{} | rate()", "start": 1, "end": 1_000_000, "step": "1s"}, "ask with a larger step"),
        ({"q": "{} | rate()", "step": "0s"}, "step must be greater than 0"),
        ({"q": "{} | rate() | nonsense(3)"}, "unexpected IDENTIFIER"),
    ],
)
def test_metrics_that_cannot_be_drawn_are_refused_with_the_reason(
    tempo: Viewer, parameters: dict[str, str | int], says: str
) -> None:
    response = tempo.http.get("/api/metrics/query_range", params=parameters)
    assert (response.status_code, says in response.text) == (400, True), response.text


def test_drill_down_groups_the_roots_of_traces(tempo: Viewer) -> None:
    query = "{nestedSetParent<0 && kind=server} >> {status=error} | by(resource.service.name) | select(nestedSetParent)"
    (found,) = tempo.get("/api/search", q=query, spss=1, **WINDOW)["traces"]
    groups = {each["attributes"][0]["value"]["stringValue"]: each["matched"] for each in found["spanSets"]}
    assert groups == {"storefront": 1, "payments": 2}
