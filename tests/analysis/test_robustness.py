"""Whatever a trace is like, it is looked at to the end: no attribute, time or link makes the analysis fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.building import EPOCH, Builder
from tracemw.analysis.findings.finders import CODES
from tracemw.analysis.grouping import Survey, judge_all, look_at
from tracemw.analysis.load.reading import read_traces
from tracemw.analysis.load.unreadable import NoTraceError, NotTracesError
from tracemw.analysis.model import Event, Trace
from tracemw.analysis.report.as_json import of_many, of_one
from tracemw.analysis.report.as_text import lines_of_many, lines_of_one
from tracemw.analysis.report.explanation import explain
from tracemw.analysis.report.otlp_span import otlp_span
from tracemw.analysis.report.overview import survey_document
from tracemw.analysis.traffic import Traffic

NAMES = [
    *("http.request.method", "http.response.status_code", "http.status_code", "http.route", "url.path", "url.full"),
    *("server.address", "server.port", "peer.service", "db.system.name", "db.statement", "db.query.summary"),
    *("db.operation.name", "db.namespace", "error.type", "rpc.grpc.status_code", "rpc.service", "asgi.event.type"),
    *("code.file.path", "code.line.number", "code.function.name", "tracemw.folded.count", "tracemw.folded.sum"),
    *("tracemw.folded.max", "tracemw.pool.holders.line", "tracemw.pool.holders.age", "tracemw.pool.holders.trace_id"),
    *("tracemw.pool.held_for", "tracemw.seconds", "exception.type", "exception.message", "exception.stacktrace"),
    *("tracemw.handled.file.path", "tracemw.kept", "tracemw.loop.blocked_by", "tracemw.pool.waited_for"),
]
VALUES = st.one_of(
    st.sampled_from(
        ["GET", "500", "404", 200, 503, "postgresql", "SELECT 1 FROM t", "SIGABRT", "http://[", "/a/7", 5, 60]
    ),
    st.sampled_from(
        ["TimeoutError", "ConnectionResetError", '  File "a.py", line 3, in f', "", "a new connection", -1]
    ),
    st.none(),
    st.booleans(),
    st.floats(),
    st.lists(st.one_of(st.text(max_size=3), st.floats(), st.integers()), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.text(max_size=5),
)
ATTRIBUTES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)
EVENTS = st.builds(
    Event,
    st.sampled_from(
        ["exception", "connection leaked", "tracemw.loop.blocked", "tracemw.loop.waited", "tracemw.stack", ""]
    ),
    st.just(EPOCH),
    ATTRIBUTES,
)
SPAN_NAMES = ["GET", "SELECT", "pool wait", "connect", "GET / http send", "attempt 1", "attempt 2", ""]
STATES = ["", "ot=th:8", "ot=th:ffffffffffffff", "ot=th:", "x=1,ot=rv:1;th:c", "\n"]


@st.composite
def builders(draw: st.DrawFn) -> Builder:
    built = Builder()
    size = draw(st.integers(1, 25))
    for _ in range(size):
        start = draw(st.sampled_from([0, 0, 5, 100, 600, 700, -50]))
        span = built.add(
            draw(st.sampled_from([None, *(f"{number + 1:016x}" for number in range(size + 1))])),
            draw(st.sampled_from(SPAN_NAMES)),
            start,
            start + draw(st.sampled_from([0, 1, 30, 60, 120, 600, 6000, -3])),
            service=draw(st.sampled_from(["", "a", "b"])),
            kind=draw(st.sampled_from(["SERVER", "CLIENT", "CLIENT", "INTERNAL", "PRODUCER", "CONSUMER", "ODD"])),
            failed=draw(st.booleans()),
            events=tuple(draw(st.lists(EVENTS, max_size=2))),
            trace_state=draw(st.sampled_from(STATES)),
            **draw(ATTRIBUTES),
        )
        if draw(st.integers(0, 9)) == 0:
            built.spans.append(span)
    return built


@settings(max_examples=50, deadline=None)
@given(builders())
def test_every_trace_gets_a_verdict_that_can_be_shown(built: Builder) -> None:
    trace = built.trace()
    verdict, findings = look_at(trace)
    assert verdict.sentence
    known = {span.span_id for span in built.spans}
    assert sum(1 + len(span.messages) for span in trace.spans) == len(known)
    for finding in findings:
        assert finding.code in CODES
        assert finding.span_ids
        assert known.issuperset(finding.span_ids)
        assert finding.saving_ms is None or finding.saving_ms >= 0
    json.loads(json.dumps(of_one(trace, verdict, findings)))
    assert list(lines_of_one(trace, verdict, findings))
    survey = Survey()
    survey.add(trace)
    groups = survey.groups()
    json.loads(json.dumps(of_many(survey, judge_all(survey, groups), groups)))
    assert list(lines_of_many(survey, judge_all(survey, groups), groups))
    shown = json.loads(json.dumps(explain(trace, verdict, findings), allow_nan=False))
    rows = {row["id"]: row for row in shown["rows"]}
    assert sum(row.get("path", 0) for row in shown["rows"]) == rows[shown["root"]]["took"]
    assert all(rows[row["like"]]["parent"] == row["parent"] for row in shown["rows"] if "like" in row)
    assert all(row["start"] >= 0 and row["start"] + row["took"] <= shown["length"] for row in shown["rows"])
    json.dumps([otlp_span(span) for span in trace.spans], allow_nan=False)
    traffic = Traffic()
    traffic.add(trace)
    json.dumps(survey_document(survey, judge_all(survey, groups), groups, traffic), allow_nan=False)


DOCUMENTS = [
    json.loads((Path(__file__).parent / "captures" / name).read_bytes())
    for name in ("byid-v2-json.json", "jaeger.json", "zipkin.json")
]
ODD: st.SearchStrategy[Any] = st.sampled_from([None, 7, -1, "x", "", [], {}, [7], {"a": 1}, 1.5, True, "9" * 40])


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(DOCUMENTS), st.data())
def test_a_document_with_something_odd_is_read_or_refused(document: Any, data: st.DataObject) -> None:
    copy = json.loads(json.dumps(document))
    place: Any = copy
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not place[key] or not isinstance(place[key], (dict, list)) or data.draw(st.integers(0, 4)) == 0:
            place[key] = data.draw(ODD)
            break
        place = place[key]
    try:
        traces = read_traces(json.dumps(copy).encode())
    except (NotTracesError, NoTraceError):
        return
    for trace in traces:
        assert isinstance(trace, Trace)
        assert look_at(trace)[0].sentence


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read_traces(data)
    except (NotTracesError, NoTraceError):
        pass
