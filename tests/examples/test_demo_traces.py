"""What the demo reads from the viewer, and how it draws it."""

import base64
from dataclasses import replace

import httpx
from examples.demo.traces import Found, Span, Trace, TraceStore, parse_found, parse_trace
from examples.demo.tree import LINES_ASCII, describe_error, walk

TRACE_ID = "00f7651916cd43dd8448eb211c80319c"


def base64_of(hex_id: str) -> str:
    return base64.b64encode(bytes.fromhex(hex_id)).decode()


BODY = {
    "trace": {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "payments"}}]},
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": base64_of(TRACE_ID),
                                "spanId": base64_of("b7ad6b7169203332"),
                                "parentSpanId": base64_of("b7ad6b7169203331"),
                                "name": "fraud.check",
                                "kind": "SPAN_KIND_INTERNAL",
                                "startTimeUnixNano": "2000000",
                                "endTimeUnixNano": "3500000",
                                "attributes": [
                                    {"key": "error.type", "value": {"stringValue": "ValueError"}},
                                    {"key": "payment.amount", "value": {"intValue": "42"}},
                                ],
                                "status": {"code": "STATUS_CODE_ERROR"},
                            },
                            {
                                "traceId": base64_of(TRACE_ID),
                                "spanId": base64_of("b7ad6b7169203331"),
                                "name": "POST /payments",
                                "kind": "SPAN_KIND_SERVER",
                                "startTimeUnixNano": "1000000",
                                "endTimeUnixNano": "4000000",
                                "status": {},
                            },
                        ]
                    }
                ],
            }
        ]
    }
}

INNER = Span(
    span_id="b7ad6b7169203332",
    parent_id="b7ad6b7169203331",
    service="payments",
    name="fraud.check",
    kind="INTERNAL",
    start=2_000_000,
    end=3_500_000,
    attributes={"error.type": "ValueError", "payment.amount": 42},
    failed=True,
)
OUTER = Span(
    span_id="b7ad6b7169203331",
    parent_id=None,
    service="payments",
    name="POST /payments",
    kind="SERVER",
    start=1_000_000,
    end=4_000_000,
    attributes={},
)


def test_a_trace_is_read_from_protobuf_json_in_the_order_of_time() -> None:
    assert parse_trace(TRACE_ID, BODY) == Trace(TRACE_ID, (OUTER, INNER))
    assert INNER.milliseconds == 1.5


def test_an_empty_trace_has_no_spans() -> None:
    assert parse_trace(TRACE_ID, {"trace": {}}) == Trace(TRACE_ID, ())


def test_a_trace_of_which_a_part_is_missing_says_why() -> None:
    assert parse_trace(TRACE_ID, {**BODY, "status": "PARTIAL", "message": "too large"}).partial == "too large"
    assert parse_trace(TRACE_ID, {"status": "PARTIAL", "trace": {}}).partial == "no reason given"
    assert parse_trace(TRACE_ID, {**BODY, "status": "COMPLETE"}).partial is None


def test_fields_that_are_left_out_are_empty() -> None:
    bare = {"spanId": base64_of("b7ad6b7169203331"), "attributes": [{"key": "nothing"}]}
    (span,) = parse_trace(TRACE_ID, {"trace": {"resourceSpans": [{"scopeSpans": [{"spans": [bare]}]}]}}).spans
    assert (span.service, span.name, span.kind, span.start, span.end) == ("?", "", "UNSPECIFIED", 0, 0)
    assert (span.parent_id, span.attributes, span.failed) == (None, {"nothing": None}, False)


def test_a_search_result_has_whole_ids_though_leading_zeros_and_empty_fields_are_left_out() -> None:
    found = {"traceID": "f7", "rootServiceName": "shop", "spanSets": [{"spans": [{"spanID": "ad"}]}, {}]}
    assert parse_found(found) == Found(
        trace_id="f7".zfill(32), root_service="shop", root_name="", span_ids=frozenset({"ad".zfill(16)})
    )


async def test_a_trace_that_the_store_answers_404_for_has_no_spans() -> None:
    absent = httpx.MockTransport(lambda _: httpx.Response(404, text="trace not found"))
    async with httpx.AsyncClient(transport=absent) as client:
        assert await TraceStore(client, "http://tempo").trace(TRACE_ID) == Trace(TRACE_ID, ())


async def test_what_a_search_looks_for_is_asked_of_the_store() -> None:
    asked: list[httpx.QueryParams] = []

    def tempo(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params)
        return httpx.Response(200, json={"metrics": {}})

    async with httpx.AsyncClient(transport=httpx.MockTransport(tempo)) as client:
        assert await TraceStore(client, "http://tempo").search(q="{ status = error }", limit=5) == []
    assert asked == [httpx.QueryParams({"q": "{ status = error }", "limit": "5"})]


async def test_everything_in_the_store_is_found_though_leading_zeros_are_left_out() -> None:
    def tempo(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/search":
            return httpx.Response(200, json={"traces": [{"traceID": TRACE_ID.lstrip("0")}]})
        assert request.url.path == f"/api/v2/traces/{TRACE_ID}"
        return httpx.Response(200, json=BODY)

    async with httpx.AsyncClient(transport=httpx.MockTransport(tempo)) as client:
        traces = await TraceStore(client, "http://tempo").everything()
    assert traces == [Trace(TRACE_ID, (OUTER, INNER))]


def test_the_tree_shows_who_is_below_whom() -> None:
    sibling = replace(INNER, span_id="c1", name="bank.confirm", start=3_600_000)
    leaf = replace(INNER, span_id="c2", parent_id=INNER.span_id, name="SELECT")
    trace = Trace(TRACE_ID, (OUTER, INNER, leaf, sibling))
    assert [indent + span.name for indent, span in walk(trace, LINES_ASCII)] == [
        "POST /payments",
        "|- fraud.check",
        "|  `- SELECT",
        "`- bank.confirm",
    ]


def test_an_error_is_shown_with_its_stage_only_at_its_source() -> None:
    staged = {"error.type": "shop.fraud.Suspicion", "error.stage": "fraud_check"}
    outer = replace(OUTER, failed=True, attributes=staged)
    inner = replace(INNER, attributes=staged)
    trace = Trace(TRACE_ID, (outer, inner))
    assert describe_error(trace, outer) == "ERROR Suspicion"
    assert describe_error(trace, inner) == "ERROR Suspicion at its source, stage fraud_check"
    assert describe_error(trace, OUTER) == ""
