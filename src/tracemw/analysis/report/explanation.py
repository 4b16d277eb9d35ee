"""One trace as a page shows it: the verdict and the findings, and each span with what analysis says of it.

Times are whole nanoseconds from the first instant of the trace. Members that say nothing are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tracemw.analysis.conventions import code_line, seconds
from tracemw.analysis.critical_path import critical_path, self_time
from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.findings.gaps import find_idle_gaps
from tracemw.analysis.model import MILLISECOND, Event, Span, Trace
from tracemw.analysis.report.as_json import of_one
from tracemw.analysis.report.repeats import with_repeats
from tracemw.analysis.shapes import Shapes, call_label, is_connect
from tracemw.analysis.verdict import Verdict

_MOST_NOTES: Final = 20
"""Events of one span that its row has."""

_LONGEST_NOTE: Final = 300
"""Characters."""

_LASTS: Final = "tracemw.seconds"
"""How long an event has lasted, from its time on."""


def explain(trace: Trace, verdict: Verdict, findings: list[Finding]) -> dict[str, Any]:
    """Return what `analyze --json` says of a trace, and more.

    * `start`: the first instant, in nanoseconds since the epoch, as text
    * `length`: nanoseconds from there to the last end
    * `root`: the id of the root span
    * `services`: their names, in the order in which spans name them
    * `rows`: the spans, parents before their children (see `_row`)
    * `waits`: times in which a span waits: `span`, `start`, `took`, and `why` (a finding's code, or an event's name)
    """
    spans = [each for span in trace.spans for each in (span, *span.messages)]
    start = min(span.start for span in spans)
    path = critical_path(trace.root)
    shapes = Shapes()
    likes = {
        other: first for parent in trace.parents for first, others in with_repeats(parent, shapes) for other in others
    }
    services = {name: number for number, name in enumerate(dict.fromkeys(span.service for span in spans))}
    rows = {span: _row(span, services[span.service], start) for span in spans}
    for span, own in path.items():
        rows[span]["path"] = own
    for span, first in likes.items():
        rows[span]["like"] = first.span_id
    for span in trace.orphans:
        rows[span]["orphan"] = True
    return {
        **of_one(trace, verdict, findings),
        "start": str(start),
        "length": max(span.end for span in spans) - start,
        "root": trace.root.span_id,
        "services": list(services),
        "rows": list(rows.values()),
        "waits": list(_waits(trace, start)),
    }


def _row(span: Span, service: int, start: int) -> dict[str, Any]:
    """Return one span: `id`, `parent`, `name`, `service` (the index of its name), `kind`, `start` and `took`.

    If there is something to say, also: `label` (what a reader calls the query or call), `failed`, `line` (of code),
    `folded` (how many spans this one stands for) with `busy` (their nanoseconds in all), `skew` (by how much its clock
    was put right), `own` (nanoseconds in which it runs and nothing beneath it, if there is something beneath) and
    `notes` (its events). The trace adds `path` (own nanoseconds on the critical path; absent when
    the span is not on the path), `like` (the id of the sibling that stands for it) and `orphan` (its parent is not
    there).
    """
    row: dict[str, Any] = {
        "id": span.span_id,
        "parent": span.parent.span_id if span.parent else "",
        "name": span.name,
        "service": service,
        "kind": span.kind.lower(),
        "start": span.start - start,
        "took": span.end - span.start,
    }
    label = call_label(span)
    if label != span.name:
        row["label"] = label
    if span.failed:
        row["failed"] = True
    line = code_line(span.attributes)
    if line:
        row["line"] = line
    if span.folded > 1:
        row["folded"] = span.folded
        row["busy"] = span.busy
    if span.children:
        row["own"] = self_time(span)
    if span.skew:
        row["skew"] = span.skew
    if span.events:
        row["notes"] = [_note(event, event.time + span.skew - start) for event in span.events[:_MOST_NOTES]]
    return row


def _note(event: Event, at: int) -> Mapping[str, Any]:
    attributes = event.attributes
    text = str(attributes.get("log.message") or attributes.get("exception.message") or "")
    note = {
        "name": event.name,
        "at": at,
        "level": str(attributes.get("log.level") or ""),
        "type": str(attributes.get("exception.type") or ""),
        "text": text[:_LONGEST_NOTE],
        "line": code_line(attributes),
    }
    return {key: value for key, value in note.items() if value != ""}


def _waits(trace: Trace, start: int) -> Iterator[Mapping[str, Any]]:
    by_id = {span.span_id: span for span in trace.spans}
    for gap in find_idle_gaps(trace):  # each of them, where the findings have those that are alike once
        span = by_id[gap.span_ids[0]]
        after, took = (round(gap.numbers[name] * MILLISECOND) for name in ("after_ms", "gap_ms"))
        yield {"span": span.span_id, "start": span.start + after - start, "took": took, "why": "idle-gap"}
    for span in trace.spans:
        if is_connect(span):
            yield {"span": span.span_id, "start": span.start - start, "took": span.duration, "why": "pool-wait"}
    for span in trace.eventful:
        for event in span.events:
            took = round(seconds(event.attributes.get(_LASTS)) * 1e9)
            if took:
                begun = event.time + span.skew - start
                yield {"span": span.span_id, "start": begun, "took": took, "why": event.name}
