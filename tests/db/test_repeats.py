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
engine = trace_engine(create_engine("sqlite://"), pool_wait=5.0)
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
            output, _ = running.communicate(timeout=30)
        assert (running.returncode, output) == (0, "")
        statements = [span for span in backend.spans if span.name == "SELECT"]
    assert len(statements) == 21
    told = [values(span) for span in statements]
    assert [each["tracemw.folded.count"] for each in told if "tracemw.folded.count" in each] == [480]
    line = next(number for number, each in enumerate(SERVICE.splitlines(), 1) if each.endswith("# here"))
    lines = [each.get("code.line.number") for each in told]
    assert lines.count(line) == 17
    assert lines.count(None) == 4
