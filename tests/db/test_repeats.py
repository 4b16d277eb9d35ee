"""A query in a loop: its repeats are folded, and the spans that stay tell the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from backend import backend_serving
from servers import process

SERVICE = """
import sys, tracemw
from sqlalchemy import create_engine, text
from tracemw.sqlalchemy import trace_engine

tracemw.init("shop", sampling=float(sys.argv[1]))
engine = trace_engine(create_engine("sqlite://"), pool_wait=5.0, slow=5.0)
with tracemw.span("request"), engine.connect() as connection:
    tracemw.keep("somebody looks at it")
    for number in range(500):
        connection.execute(text("SELECT :number + 1"), {"number": number})  # here
"""


def values(span: Span) -> dict[str, str | int]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


@pytest.mark.parametrize("ratio", ["1", "0"])
def test_a_query_in_a_loop_is_folded_and_tells_its_line_whether_sampled_or_kept(ratio: str, tmp_path: Path) -> None:
    path = tmp_path / "service.py"
    path.write_text(SERVICE)
    with backend_serving() as backend:
        with process(str(path), ratio, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
            output, _ = running.communicate(timeout=60)
        assert (running.returncode, output) == (0, "")
        statements = [span for span in backend.spans if span.name == "SELECT"]
    assert len(statements) == 21
    told = [values(span) for span in statements]
    assert [each["tracemw.folded.count"] for each in told if "tracemw.folded.count" in each] == [480]
    line = next(number for number, each in enumerate(SERVICE.splitlines(), 1) if each.endswith("# here"))
    lines = [each.get("code.line.number") for each in told]
    assert lines.count(line) == 17
    assert lines.count(None) == 4


MANY = """
import sys, tracemw
from sqlalchemy import create_engine, text
from tracemw.sqlalchemy import trace_engine

tracemw.init("shop", fold_after=int(sys.argv[1]))
engine = trace_engine(create_engine("sqlite://"), pool_wait=5.0, slow=5.0)
with tracemw.span("request"), engine.connect() as connection:
    for number in range(int(sys.argv[2])):
        connection.execute(text("SELECT :number + 1"), {"number": number})
"""


def sent(tmp_path: Path, fold_after: int, queries: int) -> tuple[int, int]:
    """The spans and bytes that a request of so many queries sends."""
    path = tmp_path / "service.py"
    path.write_text(MANY)
    with backend_serving() as backend:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_MAX_QUEUE_SIZE": "10000"}
        with process(str(path), str(fold_after), str(queries), env=settings) as running:
            output, _ = running.communicate(timeout=60)
        assert (running.returncode, output) == (0, "")
        return len(backend.spans), sum(request.ByteSize() for request in backend.requests)


def test_a_request_of_5000_queries_sends_about_what_one_of_30_does(tmp_path: Path) -> None:
    folded, few, unfolded = sent(tmp_path, 20, 5000), sent(tmp_path, 20, 30), sent(tmp_path, 0, 5000)
    assert (folded[0], few[0], unfolded[0]) == (22, 22, 5001)
    assert folded[1] < 1.1 * few[1]
    assert unfolded[1] > 100 * folded[1]


FAILING = """
import tracemw
from sqlalchemy import create_engine, text
from tracemw.sqlalchemy import trace_engine

tracing = tracemw.init("shop")
engine = trace_engine(create_engine("sqlite://"), pool_wait=5.0, slow=5.0)

def work(connection):
    for number in range(30):
        connection.execute(text("SELECT abs(:number)"), {"number": number})

with engine.connect() as connection:
    with tracemw.span("request"):
        work(connection)
        try:
            connection.execute(text("SELECT abs(:number)"), {"number": -2**63})  # fails
        except Exception:
            pass
        work(connection)
    with tracemw.span("another"):
        work(connection)
    work(connection)
assert tracing.stats().ended == 30 + 1 + 30 + 1 + 30 + 1 + 30, tracing.stats()
"""


def test_one_failure_among_folded_statements_has_a_span_and_each_statement_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "service.py"
    path.write_text(FAILING)
    with backend_serving() as backend:
        with process(str(path), env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
            output, _ = running.communicate(timeout=60)
        assert (running.returncode, output) == (0, "")
        spans = [(span, values(span)) for span in backend.spans if span.name == "SELECT"]
    (failed,) = [told for span, told in spans if span.status.code]
    line = next(number for number, each in enumerate(FAILING.splitlines(), 1) if each.endswith("# fails"))
    assert (failed["code.line.number"], failed["error.type"]) == (line, "SQLITE_ERROR")
    assert sorted(told["tracemw.folded.count"] for _, told in spans if "tracemw.folded.count" in told) == [10, 40]
