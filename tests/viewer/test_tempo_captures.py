"""The viewer answers as a real Tempo has answered: 56 answers, to one request of 24 spans, that stand beside this file.

The answers of Tempo 3.1.0-dev were taken when the spans were in a block. What differs has its reason in `DIFFERENCES`.
Everywhere, the numbers of ``metrics`` differ: they count Tempo's blocks. Order means nothing in lists of attributes,
resources, values and series: Tempo's is that of its columns, or none.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format  # type: ignore[import-untyped]
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from .running import PROTOBUF, Viewer
from .running import viewer as start_viewer

CAPTURES = Path(__file__).parent / "tempo_captures"
NAMES = sorted(path.stem for path in CAPTURES.glob("*.json"))


@pytest.fixture(name="loaded", scope="module")
def viewer_with_the_captured_spans() -> Iterator[Viewer]:
    with start_viewer() as running:
        body = (CAPTURES / "input.otlp.pb").read_bytes()
        running.http.post("/v1/traces", content=body, headers=PROTOBUF).raise_for_status()
        yield running


def is_own_version(ours: Any, theirs: Any) -> bool:
    """The viewer says of which Tempo it knows the API, and has no Go version."""
    return bool(ours.keys() == theirs.keys() and ours["version"].split(".")[:2] == theirs["version"].split(".")[:2])


def tells_the_reason(ours: Any, theirs: Any) -> bool:
    """The viewer also says what is wrong with a regular expression."""
    return bool(ours.startswith(theirs)) and "missing )" in ours


def has_keywords_only(ours: Any, theirs: Any) -> bool:
    """Tempo's block tells numbers, too, which no query takes."""
    return bool(ours == {"tagValues": [value for value in theirs["tagValues"] if value["type"] == "keyword"]})


def has_all_tags(ours: Any, theirs: Any) -> bool:
    """This build of Tempo forgets the attributes of a span that have a column of their own."""
    mine, other = ({scope["name"]: set(scope["tags"]) for scope in body["scopes"]} for body in (ours, theirs))
    missing = mine["span"] - other["span"]
    return missing == {
        *("http.request.method", "http.response.status_code", "http.route"),
        *("server.address", "server.port", "url.path"),
    } and mine == {**other, "span": other["span"] | missing}


def names_the_first_root(ours: Any, theirs: Any) -> bool:
    """Of two roots, the viewer names a trace by the earlier one, and Tempo by the one that its block has last."""
    (two_roots,) = (trace for trace in theirs["traces"] if trace["traceID"] == "e" * 32)
    two_roots["rootTraceName"] = "root one"
    return bool(ours == theirs)


DIFFERENCES: dict[str, Callable[[Any, Any], bool]] = {
    "buildinfo": is_own_version,
    "search-regex-bad": tells_the_reason,
    "values-v2-kind": has_keywords_only,
    "values-v2-status": has_keywords_only,
    "tags-v2-grafana": has_all_tags,
    **dict.fromkeys(
        ("search-all", "search-drilldown", "search-duration-gt", "search-no-q", "search-trace-duration"),
        names_the_first_root,
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_viewer_answers_as_tempo_has_answered(loaded: Viewer, name: str) -> None:
    capture = json.loads((CAPTURES / f"{name}.json").read_text())
    asked = capture["request"]
    response = loaded.http.request(asked["method"], asked["path"], params=asked["params"], headers=asked["headers"])
    assert response.status_code == capture["status"], response.text
    assert response.headers.get("content-type") == capture["content-type"]
    if "body_json" in capture:
        ours, theirs = alike(response.json()), alike(capture["body_json"])
    elif "body_base64" in capture:
        theirs = spans_of(base64.b64decode(capture["body_base64"]), asked["path"])
        ours = spans_of(response.content, asked["path"])
    else:
        ours, theirs = response.text, capture.get("body_text", "")
    same = DIFFERENCES.get(name)
    if same is None:
        assert ours == theirs
    else:
        assert same(ours, theirs), (ours, same.__doc__)


def test_all_captures_are_compared_and_each_difference_is_one_of_them() -> None:
    assert len(NAMES) == 56
    assert set(DIFFERENCES) <= set(NAMES)


def alike(value: Any) -> Any:
    """An answer without what Tempo leaves open: the numbers of its blocks, and the order of some lists."""
    if isinstance(value, list):
        return [alike(each) for each in value]
    if not isinstance(value, dict):
        return value
    result = {key: alike(each) for key, each in value.items() if key not in ("metrics", "exemplars")}
    for key in ("attributes", "tagValues", "series", "scopes"):
        if key in result:
            result[key] = sorted(result[key], key=lambda each: json.dumps(each, sort_keys=True))
    for key in ("resourceSpans", "batches"):
        if key in result:
            result[key] = single_spans(result[key])
    return result


def single_spans(batches: list[Any]) -> list[Any]:
    """Each span with its resource and scope, by time. Tempo regroups them, and drops schema URLs."""
    spans = [
        {"resource": batch["resource"], "scope": scope["scope"], "span": span}
        for batch in batches
        for scope in batch["scopeSpans"]
        for span in scope["spans"]
    ]
    return sorted(spans, key=lambda each: (each["span"]["startTimeUnixNano"], each["span"]["spanId"]))


def spans_of(body: bytes, path: str) -> Any:
    """The trace in a protobuf body: that of the older API, or the first field of a `TraceByIDResponse`."""
    fields = {1: body} if "/v2/" not in path else merged_fields(body)
    traces = TracesData.FromString(fields[1])
    for batch in traces.resource_spans:
        for scope in batch.scope_spans:
            for span in scope.spans:
                span.status.SetInParent()
    return alike(json_format.MessageToDict(traces)), sorted(fields)


def merged_fields(body: bytes) -> dict[int, bytes]:
    """The message fields of a `TraceByIDResponse`. What comes several times is one message, as protobuf says."""
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(body):
        tag = body[position]
        assert tag & 7 == 2, "not a message"
        length = shift = 0
        position += 1
        while True:
            byte = body[position]
            length |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                break
        fields[tag >> 3] = fields.get(tag >> 3, b"") + body[position : position + length]
        position += length
    return fields
