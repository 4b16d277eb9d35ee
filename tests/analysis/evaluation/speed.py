"""How many spans a second go through the model and all findings, on one core."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from analysis.building import Builder
from analysis.evaluation.labelled import Labelled
from tracemw.analysis.findings.finders import find
from tracemw.analysis.load.otlp_json import spans_of
from tracemw.analysis.model import Span, Trace

SIBLINGS = 100_000


def lines_of_speed(labelled: Iterable[Labelled]) -> Iterator[str]:
    """Give what was measured, in words: the labelled traces, and one trace with many queries in a row."""
    traces: dict[str, list[Span]] = {}
    for each in labelled:
        for span in spans_of(dict(each.document)):
            traces.setdefault(span.trace_id, []).append(span)
    built = Builder()
    root = built.request(0, SIBLINGS * 0.2)
    for number in range(SIBLINGS):
        built.query(root, number * 0.2, number * 0.2 + 0.15, f"SELECT * FROM orders WHERE id = {number}")
    yield f"spans a second, from spans to findings: {_rate(list(traces.values())):,.0f} in these traces,"
    yield f"{_rate([built.spans]):,.0f} in one trace with {SIBLINGS:,} queries in a row, each with another text"


def _rate(traces: Sequence[list[Span]]) -> float:
    began = time.process_time()
    for spans in traces:
        find(Trace(spans))
    return sum(map(len, traces)) / (time.process_time() - began)
