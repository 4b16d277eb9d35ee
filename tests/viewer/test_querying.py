"""Tempo's query API as the viewer answers it."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from .running import Viewer
from .running import viewer as start_viewer
from .samples import CHECKOUT, NOON, ODD, SECOND, Spans, attributes, checkout, hex_id, one, request, span


def test_the_viewer_is_ready_at_once(viewer: Viewer) -> None:
    response = viewer.http.get("/ready")
    assert (response.status_code, response.text) == (200, "ready\n")


def test_api_v2_gives_a_trace_in_protobufs_json_and_v1_the_same_as_batches(viewer: Viewer) -> None:
    viewer.send(one(0xAB, name="GET /", kind=Span.SPAN_KIND_SERVER, took=2, error="", count=3))
    body = viewer.get(f"/api/v2/traces/{hex_id(0xAB)}")
    assert body == {
        "trace": {
            "resourceSpans": [
                {
                    "resource": {
                        "attributes": [
                            {"key": "service.name", "value": {"stringValue": "shop"}},
                            {"key": "service.version", "value": {"stringValue": "1.4.2"}},
                            {"key": "deployment.environment", "value": {"stringValue": "demo"}},
                        ]
                    },
                    "scopeSpans": [
                        {
                            "scope": {"name": "tests"},
                            "spans": [
                                {
                                    "traceId": base64.b64encode(bytes(15) + b"\xab").decode(),
                                    "spanId": base64.b64encode(bytes(7) + b"\x01").decode(),
                                    "name": "GET /",
                                    "kind": "SPAN_KIND_SERVER",
                                    "startTimeUnixNano": str(NOON),
                                    "endTimeUnixNano": str(NOON + 2_000_000),
                                    "attributes": [{"key": "count", "value": {"intValue": "3"}}],
                                    "status": {"code": "STATUS_CODE_ERROR"},
                                }
                            ],
                        }
                    ],
                }
            ]
        },
        "metrics": {},
    }
    assert viewer.get(f"/api/traces/{hex_id(0xAB)}") == {"batches": body["trace"]["resourceSpans"]}


def test_a_trace_id_may_lack_its_leading_zeros_and_must_be_hex(viewer: Viewer) -> None:
    viewer.send(one(0xAB))
    assert viewer.get("/api/v2/traces/ab") == viewer.get("/api/v2/traces/00AB") != {"trace": {}, "metrics": {}}
    for bad, says in (("xyz", "hex characters"), ("0" * 33, "larger than 128 bits"), ("-1", "hex characters")):
        response = viewer.http.get(f"/api/traces/{bad}")
        assert response.status_code == 400
        assert says in response.text


def test_an_unknown_trace_is_404_from_v1_and_empty_from_v2(viewer: Viewer) -> None:
    assert viewer.http.get("/api/traces/1234").status_code == 404
    assert viewer.get("/api/v2/traces/1234") == {"trace": {}, "metrics": {}}


def test_everything_in_a_span_survives_to_a_client_that_accepts_protobuf(viewer: Viewer) -> None:
    values = {
        "text": "ä\u0000\U0001f600",
        "yes": True,
        "big": -(2**63),
        "nan": math.nan,
        "infinite": math.inf,
        "bytes": b"\x00\xff",
        "list": ["a", 1, [2.5, None]],
        "map": {"inner": {"deep": [False]}},
        "nothing": None,
        "empty": "",
    }
    rich = span(1, 2, 1, error="it broke")
    rich.attributes.extend(attributes(values))
    rich.trace_state, rich.flags = "vendor=1", 0x301
    rich.dropped_attributes_count, rich.dropped_events_count, rich.dropped_links_count = 1, 2, 3
    rich.events.add(name="exception", time_unix_nano=5, attributes=attributes(values), dropped_attributes_count=4)
    rich.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8, trace_state="a=b", attributes=attributes(values), flags=1)
    sent = request(Spans("shop", (rich,)))
    sent.resource_spans[0].schema_url = "https://example.com/resource"
    sent.resource_spans[0].scope_spans[0].schema_url = "https://example.com/scope"
    sent.resource_spans[0].scope_spans[0].scope.version = "9"
    headers = {"content-type": "application/x-protobuf"}
    viewer.http.post("/v1/traces", content=sent.SerializeToString(), headers=headers).raise_for_status()
    response = viewer.http.get("/api/traces/1", headers={"accept": "application/protobuf"})
    assert response.headers["content-type"] == "application/protobuf"
    assert TracesData.FromString(response.content).SerializeToString(deterministic=True) == sent.SerializeToString(
        deterministic=True
    )
    assert '"doubleValue":"NaN"' in viewer.http.get("/api/v2/traces/1").text


def test_times_beyond_what_sqlite_counts_are_kept_as_they_are(viewer: Viewer) -> None:
    far = span(1, 1)
    far.start_time_unix_nano = far.end_time_unix_nano = 2**64 - 1
    viewer.send(Spans("shop", (far,)))
    (resource,) = viewer.get("/api/v2/traces/1")["trace"]["resourceSpans"]
    assert resource["scopeSpans"][0]["spans"][0]["endTimeUnixNano"] == str(2**64 - 1)
    assert viewer.found() == [hex_id(1)]


def test_a_search_result_has_tempos_shape(viewer: Viewer) -> None:
    viewer.send(*checkout())
    (found,) = viewer.get("/api/search", q='{ resource.service.name = "payments" && status = error }', spss=1)["traces"]
    spans = found.pop("spanSets")
    assert found.pop("spanSet") == spans[0]
    assert found == {
        "traceID": hex_id(CHECKOUT).lstrip("0"),
        "rootServiceName": "storefront",
        "rootTraceName": "POST /checkout/{cart_id}",
        "startTimeUnixNano": str(NOON),
        "durationMs": 412,
        "serviceStats": {
            "payments": {"spanCount": 4, "errorCount": 2},
            "profile": {"spanCount": 4},
            "storefront": {"spanCount": 7, "errorCount": 2},
        },
    }
    assert spans[0]["matched"] == 2
    assert spans[0]["spans"] == [
        {
            "spanID": format(31, "016x"),
            "startTimeUnixNano": str(NOON + 186_000_000),
            "durationNanos": str(190_000_000),
            "attributes": [
                {"key": "service.name", "value": {"stringValue": "payments"}},
                {"key": "status", "value": {"stringValue": "error"}},
            ],
        }
    ]


def test_a_trace_without_its_root_says_so_in_a_search(viewer: Viewer) -> None:
    viewer.send(Spans("shop", (span(1, 2, 1),)))
    assert viewer.get("/api/search")["traces"][0]["rootServiceName"] == "<root span not yet received>"


def test_search_gives_the_newest_first_twenty_of_them_unless_told_otherwise(viewer: Viewer) -> None:
    viewer.send(*(one(number, start=NOON + number * SECOND) for number in range(1, 31)))
    assert viewer.found() == [hex_id(number) for number in range(30, 10, -1)]
    assert viewer.found(limit=2) == [hex_id(30), hex_id(29)]
    assert viewer.found(q="{ name = `work` }", limit=2) == [hex_id(30), hex_id(29)]
    noon = NOON // SECOND
    assert viewer.found(start=noon + 29, end=noon + 60) == [hex_id(30), hex_id(29)]
    assert viewer.found(start=1, end=noon + 2) == [hex_id(2), hex_id(1)]
    (first,) = viewer.get("/viewer/traces", start=noon + 30)["traces"]  # the page's list takes one without the other
    assert first["traceId"] == hex_id(30)


@pytest.fixture(name="three", scope="module")
def viewer_with_three_traces() -> Iterator[Viewer]:
    with start_viewer() as running:
        running.send(
            one(
                1,
                "shop",
                name="GET /a",
                took=5,
                http__route="/a",
                code=200,
                note='say "hi"',
                kind=Span.SPAN_KIND_SERVER,
            ),
            one(2, "shop", name="GET /b", took=700, error="bad", http__route="/b", code=502, ratio=0.5, cached=True),
            one(3, "stock", name="poll", took=90_000, http__route="/a", tags=["x", "y"]),
        )
        yield running


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"tags": "service.name=shop"}, {1, 2}),
        ({"tags": "service.name=shop http.route=/a"}, {1}),
        ({"tags": "code=200"}, {1}),
        ({"tags": "cached=true"}, {2}),
        ({"tags": "ratio=0.5"}, {2}),
        ({"tags": "tags=y"}, {3}),
        ({"tags": r'note="say \"hi\""'}, {1}),
        ({"tags": "error=true"}, {2}),
        ({"tags": "error"}, {2}),
        ({"tags": "status=error"}, {2}),
        ({"tags": "status=unset"}, {1, 3}),
        ({"tags": 'name="GET /a"'}, {1}),
        ({"tags": "root.service.name=stock"}, {3}),
        ({"tags": "code=20"}, set()),
        ({"tags": ""}, {1, 2, 3}),
        ({"minDuration": "600ms"}, {2, 3}),
        ({"minDuration": "600ms", "maxDuration": "1m29.999s"}, {2}),
        ({"maxDuration": "5ms"}, {1}),
        ({"q": "{}"}, {1, 2, 3}),
        ({"q": '{ resource.service.name = "shop" }'}, {1, 2}),
        ({"q": '{ span.service.name = "shop" }'}, set()),
        ({"q": '{ .http.route = "/a" && duration > 1s }'}, {3}),
        ({"q": "{ status = error || kind = server }"}, {1, 2}),
        ({"q": "{ status != error && (kind = server || .code = 502) }"}, {1}),
        ({"q": "{ span.code >= 200 && span.code < 502 }"}, {1}),
        ({"q": "{ span.code > 499.5 }"}, set()),  # as in Tempo, an integer never exceeds a literal with a point
        ({"q": "{ span.ratio > 0.25 }"}, {2}),
        ({"q": "{ span.ratio > 0 }"}, set()),
        ({"q": "{ span.code != 200 }"}, {2}),
        ({"q": '{ span.code = "200" }'}, set()),
        ({"q": "{ span.cached = true }"}, {2}),
        ({"q": "{ span.code != nil }"}, {1, 2}),
        ({"q": "{ span.code = nil }"}, {3}),
        ({"q": '{ name =~ "GET /.*" }'}, {1, 2}),
        ({"q": '{ name !~ "GET.*" }'}, {3}),
        ({"q": '{ span:statusMessage = "bad" }'}, {2}),
        ({"q": '{ rootName = "poll" }'}, {3}),
        ({"q": '{ rootServiceName = "shop" && traceDuration >= 700ms }'}, {2}),
        ({"q": '{ span."http.route" = "/b" }'}, {2}),
        ({"q": '{ span.tags = "x" }'}, {3}),
    ],
)
def test_a_search_finds_the_traces_of_which_some_span_matches(
    three: Viewer, parameters: dict[str, str], expected: set[int]
) -> None:
    assert set(three.found(**parameters)) == {hex_id(number) for number in expected}


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"limit": "0"}, "invalid limit: must be a positive number"),
        ({"limit": "many"}, "invalid limit: must be a positive number"),
        ({"start": "yesterday"}, "unix seconds"),
        ({"start": "20", "end": "10"}, "http parameter start must be before end. received start=20 end=10"),
        ({"start": "10"}, "http parameter start must be before end. received start=10 end=0"),
        ({"minDuration": "5 parsecs"}, "duration '5 parsecs' is not accepted; use one such as 600ms"),
        ({"maxDuration": "-1s"}, "duration"),
        ({"tags": 'a="open'}, "key=value"),
        (
            {"q": "{} | count() >"},
            "invalid TraceQL query: parse error at line 1, col 15: syntax error: unexpected $end",
        ),
        ({"q": "{} | count(1) > 2"}, "col 12: syntax error: unexpected INTEGER, expecting )"),
        ({"q": "{} | rate()"}, "metrics are answered at /api/metrics/query_range"),
        ({"q": "{} | sum(name) > 2"}, "aggregate field expressions must resolve to a number type: sum(name)"),
        ({"q": "{ } >> "}, "col 8: syntax error: unexpected $end"),
        ({"q": "{ span.a = }"}, "parse error at line 1, col 12: syntax error: unexpected }"),
        ({"q": "{ status = error }\n| nonsense()"}, "line 2, col 3: syntax error: unexpected IDENTIFIER"),
        ({"q": "{ events.name = `x` }"}, "col 3: unknown identifier: events"),
        ({"q": "{ status = purple }"}, "col 12: unknown identifier: purple"),
        ({"q": "{ status = 2 }"}, "binary operations must operate on the same type: status = 2"),
        ({"q": "{ kind = 2 }"}, "binary operations must operate on the same type: kind = 2"),
        ({"q": "{ status > error }"}, "illegal operation for the given types: status > error"),
        ({"q": "{ name }"}, "must resolve to a boolean: { name }"),
        ({"q": '{ name =~ "(" }'}, "invalid regex: `(`"),
        ({"q": '{ name = "open }'}, "col 10: syntax error: unexpected"),
        ({"q": "{" + "(" * 5000}, "more than 50 nested expressions"),
        ({"q": "(" * 5000}, "more than 50 nested expressions"),
        ({"q": " && ".join(["{}"] * 30)}, "more than 20 filters"),
        ({"q": "{ span.a = 99999999999999999999999 }"}, "use a number of 64 bits"),
        ({"q": "{}", "tags": "a=b"}, "invalid request: can't specify tags and q in the same query"),
    ],
)
def test_a_search_that_is_not_understood_is_refused_with_the_reason(
    three: Viewer, parameters: dict[str, str], says: str
) -> None:
    response = three.http.get("/api/search", params=parameters)
    assert response.status_code == 400
    assert says in response.text


def test_tags_and_their_values_are_listed(three: Viewer) -> None:
    names = three.get("/api/search/tags")["tagNames"]
    assert names == sorted(names)
    assert {"service.name", "http.route", "code"} <= set(names)
    assert three.get("/api/search/tag/service.name/values")["tagValues"] == ["shop", "stock"]
    assert three.get("/api/search/tag/code/values")["tagValues"] == ["200", "502"]
    assert three.get("/api/search/tag/name/values")["tagValues"] == ["GET /a", "GET /b", "poll"]
    assert three.get("/api/search/tag/nothing/values")["tagValues"] == []


def test_tags_and_their_values_are_listed_by_scope_and_type(three: Viewer) -> None:
    def values(name: str, **parameters: str) -> list[tuple[str, str]]:
        found = three.get(f"/api/v2/search/tag/{name}/values", **parameters)["tagValues"]
        return [(value["type"], value["value"]) for value in found]

    scopes = {scope["name"]: scope["tags"] for scope in three.get("/api/v2/search/tags")["scopes"]}
    assert scopes.keys() == {"intrinsic", "resource", "span"}
    assert scopes["resource"] == ["deployment.environment", "service.name", "service.version"]
    assert "nestedSetParent" not in scopes["intrinsic"]
    (only,) = three.get("/api/v2/search/tags", scope="span", q="{ .service.name = `stock` }", limit="1")["scopes"]
    assert only == {"name": "span", "tags": ["http.route"]}
    assert three.http.get("/api/v2/search/tags?scope=bad").text == "invalid scope: bad"
    assert values("span.code") == [("int", "200"), ("int", "502")]
    assert values("span.ratio") == [("float", "0.5")]
    assert values("span.cached") == [("bool", "true")]
    assert values("status") == [("keyword", "unset"), ("keyword", "ok"), ("keyword", "error")]
    assert values("resource.service.name", q="{ status = error }") == [("string", "shop")]
    assert values("name", limit="2") == [("string", "GET /a"), ("string", "GET /b")]
    assert values("duration") == []
    bad = three.http.get("/api/v2/search/tag/.bad name/values")
    assert (bad.status_code, "failed to parse identifier .bad name" in bad.text) == (400, True)


def test_the_pages_list_counts_exactly_and_filters_by_service_errors_and_text(three: Viewer) -> None:
    def listed(**parameters: str) -> set[str]:
        return {trace["traceId"] for trace in three.get("/viewer/traces", **parameters)["traces"]}

    assert listed(service="shop") == {hex_id(1), hex_id(2)}
    assert listed(service="sho") == set()
    assert listed(errors="true") == {hex_id(2)}
    assert listed(text="get /B") == {hex_id(2)}
    assert listed(text="stock") == {hex_id(3)}
    assert listed(text=hex_id(3)[-8:].upper()) == {hex_id(3)}
    (trace,) = three.get("/viewer/traces", text="poll")["traces"]
    assert (trace["durationNanos"], trace["services"]) == ("90000000000", {"stock": {"spans": 1, "errors": 0}})


def test_every_kind_of_value_is_valid_json_in_every_answer(viewer: Viewer) -> None:
    def no_constant(name: str) -> None:
        raise AssertionError(name)

    viewer.send(*ODD).raise_for_status()
    tags = [f"/api/search/tag/{name}/values" for name in ("nan", "list", "none")]
    tags += [f"/api/v2/search/tag/span.{name}/values" for name in ("nan", "list", "none")]
    tags += ["/api/metrics/query_range?q={}|sum_over_time(span.nan)&start=1&end=9000", "/api/v2/search/tags"]
    asked = ["/api/v2/traces/abc", "/api/traces/abc", "/api/search?q={}&spss=100", "/viewer/traces", "/api/search/tags"]
    for path in asked + tags:
        response = viewer.http.get(path)
        assert response.status_code == 200
        json.loads(response.content, parse_constant=no_constant)
