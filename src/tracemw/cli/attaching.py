"""What `tracemw analyze --html FILE` writes: one page to attach to an incident."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.grouping import look_at
from tracemw.analysis.model import Trace
from tracemw.analysis.report.explanation import explain
from tracemw.analysis.report.otlp_span import otlp_span
from tracemw.viewer.one_file import page_of

_MOST_TRACES: Final = 30
_MOST_SPANS: Final = 20_000
"""Spans of which the page has all attributes. Those that prove a finding come first."""


def write_page_of_one(file: Path, trace: Trace) -> None:
    """Write the page of one trace."""
    _write(file, f"/trace/{trace.trace_id}", [trace], None)


def write_page_of_many(
    file: Path, survey: dict[str, Any], findings: Iterable[Finding], trace_of: Callable[[str], Trace]
) -> None:
    """Write the page of many traces, and of the traces that show what is wrong.

    Args:
        file: Where to write.
        survey: What there is to say of all traces (see `survey_document`).
        findings: The exemplars, worst first.
        trace_of: Gives a trace by its id.
    """
    shown = list(dict.fromkeys(finding.trace_id for finding in findings))[:_MOST_TRACES]
    _write(file, "/findings", [trace_of(trace_id) for trace_id in shown], survey)


def _write(file: Path, start: str, traces: list[Trace], survey: dict[str, Any] | None) -> None:
    explanations, spans = {}, {}
    room = _MOST_SPANS
    for trace in traces:
        verdict, findings = look_at(trace)
        explanations[trace.trace_id] = explain(trace, verdict, findings)
        proof = {span_id for finding in findings for span_id in finding.span_ids}
        every = sorted(trace.spans, key=lambda span: span.span_id not in proof)[:room]
        room -= len(every)
        spans[trace.trace_id] = {span.span_id: otlp_span(span) for span in every}
    page = page_of({"start": start, "traces": explanations, "spans": spans, "survey": survey})
    file.write_text(page, encoding="utf-8")
