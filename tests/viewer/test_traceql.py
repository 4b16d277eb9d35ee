"""What TraceQL finds in one trace: the numbers of the spans of each set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .running import PROTOBUF, Viewer
from .running import viewer as start_viewer
from .samples import MILLISECOND, NOON, Spans, attributes, request, span

TRACE = 0xF00


def spans() -> Iterator[Spans]:
    r"""A root (1) with two children (2, 3). Beneath 2 are 4 and 5, beneath 5 is 6. The parent of 7 is missing.

    ::

        1 -- 2 -- 4
          \    \- 5 -- 6
           \- 3
        ? -- 7
    """
    server, client = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
    front = (
        span(TRACE, 1, name="front", took=100, kind=server, code=200, ratio=0.5, yes=True, tags=["a", "b"]),
        span(TRACE, 2, 1, name="left", at=10, took=40, kind=client, code=404, group="x"),
        span(TRACE, 3, 1, name="right", at=20, took=30, kind=client, code=200, group="y"),
    )
    quoted: dict[str, Any] = {"with space": "v"}
    back = [
        span(TRACE, 4, 2, name="leaf", at=30, took=5, group="x", size=10),
        span(TRACE, 5, 2, name="leaf", at=40, took=7, error="broken", group="y", size=30, limit=20),
        span(TRACE, 6, 5, name="deep", at=41, took=1, took_more=True),
        span(TRACE, 7, 99, name="orphan", at=50, took=2, **quoted),
    ]
    back[0].events.add(
        name="cache miss", time_unix_nano=NOON + 32 * MILLISECOND, attributes=attributes({"cache.key": "k"})
    )
    back[1].links.add(trace_id=b"\xab" * 16, span_id=b"\xcd" * 8, attributes=attributes({"why": "batch"}))
    yield Spans("front", front)
    yield Spans("back", tuple(back))


@pytest.fixture(name="tree", scope="module")
def viewer_with_a_tree() -> Iterator[Viewer]:
    with start_viewer() as running:
        message = request(*spans())
        nameless = message.resource_spans.add().scope_spans.add()
        nameless.scope.name = "odd"
        nameless.scope.attributes.extend(attributes({"part": 1}))
        nameless.spans.append(span(TRACE + 1, 1, name="nameless", took=1, start=NOON - 1))
        running.http.post("/v1/traces", content=message.SerializeToString(), headers=PROTOBUF).raise_for_status()
        yield running


def found(tree: Viewer, query: str) -> list[list[int]]:
    """The span numbers of each set; those of the nameless trace are 100 more."""
    traces = tree.get("/api/search", q=query, spss=20)["traces"]
    return [
        [int(each["spanID"], 16) + 100 * (int(trace["traceID"], 16) - TRACE) for each in found_set["spans"]]
        for trace in traces
        for found_set in trace["spanSets"]
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{}", [[1, 2, 3, 4, 5, 6, 7], [101]]),
        ("{ false }", []),
        # relations
        ("{ name = `front` } > {}", [[2, 3]]),
        ("{ name = `front` } >> { name = `leaf` }", [[4, 5]]),
        ("{ name = `left` } >> {}", [[4, 5, 6]]),
        ("{ name = `deep` } < {}", [[5]]),
        ("{ name = `deep` } << {}", [[1, 2, 5]]),
        ("{ name = `left` } ~ {}", [[3]]),
        ("{ name = `leaf` } ~ { name = `leaf` }", [[4, 5]]),
        ("{ name = `front` } !> { name != `front` }", [[4, 5, 6, 7], [101]]),
        ("{ name = `front` } !>> {}", [[1, 7], [101]]),
        ("{ name = `deep` } !< { name = `leaf` }", [[4]]),
        ("{ name = `deep` } !<< {}", [[3, 4, 6, 7], [101]]),
        ("{ name = `left` } !~ { kind = client }", [[2]]),
        ("{ name = `left` } &> {}", [[2, 4, 5]]),
        ("{ name = `left` } &>> { name = `deep` }", [[2, 6]]),
        ("{ name = `deep` } &< {}", [[5, 6]]),
        ("{ name = `deep` } &<< { name = `front` }", [[1, 6]]),
        ("{ name = `left` } &~ {}", [[2, 3]]),
        ("{ name = `front` } > { name = `left` } > { name = `leaf` }", [[4, 5]]),
        ("{ name = `nowhere` } >> {}", []),
        # sets
        ("{ name = `left` } && { name = `deep` }", [[2, 6]]),
        ("{ name = `left` } && { name = `nowhere` }", []),
        ("{ name = `left` } || { name = `nameless` }", [[2], [101]]),
        # && and || bind alike, from left to right
        ("{ name = `front` } || { name = `left` } && { name = `nowhere` }", []),
        ("{ name = `front` || name = `left` && status = error }", []),
        ("({ name = `leaf` } | count() > 1) && { name = `deep` }", [[4, 5, 6]]),
        # stages
        ("{ name = `leaf` } | count() = 2", [[4, 5]]),
        ("{ name = `leaf` } | count() > 2", []),
        ("{} | count() = 1", [[101]]),
        ("count() > 1", [[1, 2, 3, 4, 5, 6, 7]]),
        ("{ name = `leaf` } | avg(duration) = 6ms", [[4, 5]]),
        ("{ name = `leaf` } | sum(span.size) = 40", [[4, 5]]),
        ("{ name = `leaf` } | max(span.size) > 29 | min(span.size) < 11", [[4, 5]]),
        ("{} | max(span.nothing) > 0", []),
        ("{} | by(span.group)", [[1, 6, 7], [2, 4], [3, 5], [101]]),
        ("{} | by(span.group) | count() = 2", [[2, 4], [3, 5]]),
        ("{} | by(span.group) | { kind = client }", [[2], [3]]),
        ("{} | by(span.group) | count() = 2 | coalesce()", [[2, 3, 4, 5]]),
        ("{ kind = client } | { span.code = 404 }", [[2]]),
        ("{ name = `left` } | select(name, span.group)", [[2]]),
        ("by(status)", [[1, 2, 3, 4, 6, 7], [5], [101]]),
        # values
        ("{ span.code = 200 }", [[1, 3]]),
        ("{ 200 = span.code }", [[1, 3]]),
        ("{ 300 < span.code }", [[2]]),
        ("{ span.code != 200 }", [[2]]),
        ("{ span.code = 200.0 }", []),
        ("{ span.yes }", [[1]]),
        ("{ !span.yes }", []),
        ("{ !(span.code = 200) }", [[2, 4, 5, 6, 7], [101]]),
        ("{ span.tags = `a` }", [[1]]),
        ("{ span.tags != `a` }", [[1]]),
        ("{ span.tags !~ `a` }", [[1]]),
        ("{ span.tags =~ `c|d` }", []),
        ("{ span.group > `x` }", [[3, 5]]),
        ("{ span.group =~ `x|y` && span.size != nil }", [[4, 5]]),
        ("{ span.size = nil && kind = internal }", [[6, 7], [101]]),
        ("{ nil != span.limit }", [[5]]),
        ("{ span.size > span.limit }", [[5]]),
        ("{ span.size * 2 + 1 > 60 }", [[5]]),
        ("{ span.size ^ 2 = 100 && -span.size < 0 }", [[4]]),
        ("{ span.size % 20 = 10 && span.size / 0 > 1 }", []),
        ("{ duration >= 40ms && duration < 1m30s }", [[1, 2]]),
        ("{ duration = 5000us }", [[4]]),
        ('{ span."with space" = "v" }', [[7]]),
        ("{ .group = `x` }", [[2, 4]]),
        ("{ resource.service.name = `back` }", [[4, 5, 6, 7]]),
        ("{ resource.service.name = `` }", [[101]]),
        ("{ resource.service.name != nil }", [[1, 2, 3, 4, 5, 6, 7], [101]]),
        ("{ parent.code = 404 }", [[4, 5]]),
        ("{ parent.span.group = `y` }", [[6]]),
        ("{ parent.resource.service.name = `front` }", [[2, 3, 4, 5]]),
        ("{ event:name = `cache miss` && event:timeSinceStart = 2ms }", [[4]]),
        ("{ event.cache.key = `k` }", [[4]]),
        ("{ link.why = `batch` }", [[5]]),
        ("{ link:traceID = `" + "ab" * 16 + "` && link:spanID = `" + "cd" * 8 + "` }", [[5]]),
        ("{ instrumentation:name = `odd` && instrumentation.part = 1 }", [[101]]),
        ("{ instrumentation:version = `` && instrumentation:name = `tests` && name = `deep` }", [[6]]),
        # intrinsics
        ("{ status = error }", [[5]]),
        ("{ status != unset }", [[5]]),
        ("{ statusMessage = `broken` }", [[5]]),
        ("{ span:kind = server }", [[1]]),
        ("{ childCount = 2 }", [[1, 2]]),
        ("{ rootName = `front` && name = `deep` }", [[6]]),
        ("{ trace:rootService = `front` && span:name = `deep` }", [[6]]),
        ("{ traceDuration > 50ms && name = `deep` }", [[6]]),
        ("{ trace:id = `00000000000000000000000000000f00` && name = `deep` }", [[6]]),
        ("{ span:id = `0000000000000006` }", [[6]]),
        ("{ span:parentID = `0000000000000005` }", [[6]]),
        ("{ nestedSetParent < 0 }", [[1], [101]]),
        ("{ nestedSetLeft = 2 && nestedSetRight = 9 }", [[2]]),
        ("{ nestedSetLeft = 0 }", [[7]]),
    ],
)
def test_a_query_finds_these_sets(tree: Viewer, query: str, expected: list[list[int]]) -> None:
    assert found(tree, query) == expected


def test_what_a_query_asks_for_is_shown(tree: Viewer) -> None:
    def shown(query: str) -> tuple[dict[str, Any], dict[str, Any]]:
        (trace,) = tree.get("/api/search", q=query)["traces"]
        of_set, of_span = trace["spanSet"].get("attributes", []), trace["spanSet"]["spans"][0].get("attributes", [])
        return (
            {each["key"]: each["value"] for each in of_set},
            {each["key"]: each["value"] for each in of_span},
        )

    assert shown("{ name = `leaf` } | avg(duration) > 1ms")[0] == {"avg(duration)": {"stringValue": "6ms"}}
    assert shown("{ name = `leaf` } | sum(span.size) > 1 | count() > 1")[0] == {
        "sum(span.size)": {"intValue": "40"},
        "count()": {"intValue": "2"},
    }
    assert shown("{ name = `front` } | select(span.ratio, span.yes, span.group, kind, duration)")[1] == {
        "ratio": {"doubleValue": 0.5},
        "yes": {"boolValue": True},
        "group": {"stringValue": "nil"},
        "kind": {"stringValue": "server"},
    }
    assert shown("{ span.tags =~ `b` }")[1] == {"tags": {"stringValue": "b"}}
    assert shown("{ event:timeSinceStart > 1ms }")[1] == {"event:timeSinceStart": {"stringValue": "2ms"}}
