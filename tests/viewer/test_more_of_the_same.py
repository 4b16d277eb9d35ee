"""The query of every finding is understood by the viewer, and finds the finding's own trace."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from analysis.building import EPOCH, Builder, exception
from tracemw.analysis.findings.finders import CODES
from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.grouping import Survey
from tracemw.analysis.model import Event

from .running import PROTOBUF, Viewer
from .running import viewer as start_viewer
from .samples import attributes


def failing(status: int = 500) -> dict[str, Any]:
    return {"failed": True, "http__response__status_code": status}


def traces() -> Iterator[Builder]:
    """Traces with something wrong, so that together they have every finding."""
    number = count(1)

    def new() -> Builder:
        return Builder(f"{next(number):032x}")

    long = new()
    front = long.request(0, 6000)
    long.query(front, 0, 5000, "SELECT * FROM \"orders\"\nWHERE a = '\\'", name='SELECT "orders"\\\n')
    yield long
    repeating = new()
    front = repeating.request(0, 1000)
    for each in range(8):
        repeating.query(front, each * 21, each * 21 + 20, f"SELECT * FROM lines WHERE id = {each}")
    yield repeating
    wide = new()
    front = wide.request(0, 90)
    for each in range(51):
        wide.call(front, 1, 50, path=f"/items/{each}")
    yield wide
    folded = new()
    front = folded.request(0, 400)
    for each in range(3):
        folded.query(front, each * 10, each * 10 + 5, f"SELECT * FROM stars WHERE id = {each}", name="SELECT stars")
    many: dict[str, Any] = {"tracemw__folded__count": 57, "tracemw__folded__sum": 0.3}
    folded.query(front, 30, 390, "SELECT * FROM stars WHERE id = 3", name="SELECT stars", **many)
    yield folded
    folded_wide = new()
    front = folded_wide.request(0, 90, http__route="/all")
    for each in range(4):
        many = {"tracemw__folded__count": 15, "tracemw__folded__sum": 0.003}
        folded_wide.call(front, 1, 50, path=f"/{'abcd'[each]}", **many)
    yield folded_wide
    pattern = new()
    front = pattern.request(0, 900, http__route="/pattern")
    for each in range(3):
        pattern.query(front, each * 50, each * 50 + 20, "SELECT * FROM a", name="SELECT a")
        pattern.query(front, each * 50 + 21, each * 50 + 40, "SELECT * FROM b", name="SELECT b")
    yield pattern
    named = new()
    front = named.request(0, 900, http__route="/named")
    for each in range(6):
        named.query(front, each * 50, each * 50 + 20, f"SELECT * FROM a WHERE id = {each}", name=f"SELECT {each}")
    yield named
    deep = new()
    served = deep.request(0, 90)
    for hop in range(1, 7):
        call = deep.call(served, hop, 90 - hop)
        served = deep.request(hop, 90 - hop, call, service=f"service-{hop}")
    yield deep
    failed = new()
    front = failed.request(0, 90, **failing())
    failed.add(front, "score", 40, 70, failed=True, events=(exception("app.FraudError"),))
    yield failed
    swallowed = new()
    front = swallowed.request(0, 90)
    swallowed.add(front, "check", 10, 60, failed=True, events=(exception("ValueError"),))
    yield swallowed
    unexplained = new()
    unexplained.query(unexplained.request(0, 90, **failing()), 5, 80)
    yield unexplained
    waiting = new()
    front = waiting.request(0, 400)
    waiting.add(front, "pool wait", 5, 300, tracemw__pool__holders__line=["orders.py:57 in refund"])
    yield waiting
    told = {"code.file.path": "/srv/orders.py", "code.line.number": 57, "tracemw.pool.held_for": 2.5}
    leaking = new()
    leaking.request(0, 90, events=(Event("connection leaked", EPOCH, told),))
    yield leaking
    blocked = new()
    blocked.request(0, 90, events=(Event("tracemw.loop.blocked", EPOCH, {"tracemw.seconds": 0.5}),))
    yield blocked
    idle = new()
    front = idle.request(0, 1400)
    idle.query(front, 0, 200)
    idle.query(front, 1200, 1400, "SELECT 2")
    yield idle
    retrying = new()
    front = retrying.request(0, 95)
    for each, status in enumerate((503, 503, 200)):
        attempt = retrying.add(front, f"attempt {each}", each * 20, each * 20 + 15)
        more = failing(status) if status > 500 else {}
        retrying.call(attempt, each * 20, each * 20 + 15, **more)
    yield retrying
    waiting_in_turn = new()
    front = waiting_in_turn.request(0, 900)
    for each, host in enumerate(("stock", "price", "mail")):
        waiting_in_turn.call(front, each * 300, each * 300 + 299, host=host)
    yield waiting_in_turn
    for more in (failing(503), {}):
        fragile = new()
        front = fragile.request(0, 90)
        for each in range(4):
            fragile.call(front, 1, 50, host="fragile", path=f"/items/{each}", **(more if each == 2 else {}))
        yield fragile
    for more in (failing(503), {}):
        old = new()
        front = old.request(0, 90)
        for each in range(4):
            asked: dict[str, Any] = {"http__request__method": "GET", "url__full": f"http://old.example:81/items/{each}"}
            old.add(front, "GET", 1, 50, kind="CLIENT", **(asked | more if each == 2 else asked))
        yield old
    killed = new()
    front = killed.request(0, 900, failed=True, error__type="SIGABRT")
    killed.add(front, "report", 100, 900, failed=True, error__type="SIGABRT")
    yield killed
    broken = new()
    broken.request(0, 90)
    broken.query("00000000000000ff", 50, 80)
    yield broken


BUILT = tuple(traces())


def findings() -> dict[str, Finding]:
    """Each query that the findings have, with one finding that has it."""
    survey = Survey()
    for built in BUILT:
        survey.add(built.trace())
    return {group.exemplar.query: group.exemplar for group in survey.groups()}


FINDINGS = findings()


def otlp(built: Builder) -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    for each in built.spans:
        resource_spans = message.resource_spans.add()
        resource_spans.resource.attributes.extend(attributes({"service.name": each.service}))
        span = resource_spans.scope_spans.add().spans.add(
            trace_id=bytes.fromhex(each.trace_id),
            span_id=bytes.fromhex(each.span_id),
            parent_span_id=bytes.fromhex(each.parent_id),
            name=each.name,
            kind=Span.SpanKind.Value(f"SPAN_KIND_{each.kind}"),
            start_time_unix_nano=each.start,
            end_time_unix_nano=each.end,
            attributes=attributes(each.attributes),
        )
        span.status.code = 2 if each.failed else 0
        for event in each.events:
            span.events.add(name=event.name, time_unix_nano=event.time, attributes=attributes(event.attributes))
    return message


@pytest.fixture(name="loaded", scope="module")
def viewer_with_all_traces() -> Iterator[Viewer]:
    with start_viewer() as running:
        for built in BUILT:
            running.http.post(
                "/v1/traces", content=otlp(built).SerializeToString(), headers=PROTOBUF
            ).raise_for_status()
        yield running


def test_the_traces_have_every_finding() -> None:
    assert {finding.code for finding in FINDINGS.values()} == set(CODES)


@pytest.mark.parametrize("query", FINDINGS)
def test_the_query_of_a_finding_finds_its_trace(loaded: Viewer, query: str) -> None:
    assert FINDINGS[query].trace_id in loaded.found(q=query, limit=100), FINDINGS[query].title
