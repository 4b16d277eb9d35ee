"""A trace as a tree of lines: the critical path is marked, and repeats are folded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tracemw.analysis.critical_path import critical_path
from tracemw.analysis.model import Span, Trace, milliseconds
from tracemw.analysis.report.line import Line
from tracemw.analysis.report.repeats import with_repeats
from tracemw.analysis.shapes import Shapes, call_label

_MOST_LINES: Final = 200
_DEEPEST: Final = 40


def tree_lines(trace: Trace, proof: frozenset[str]) -> Iterator[Line]:
    """Give the lines of a trace's spans.

    Args:
        trace: The trace.
        proof: The ids of the spans that prove a finding. They are shown one by one where they can be.
    """
    path = critical_path(trace.root)
    shapes = Shapes()
    pending: list[tuple[Span, int, list[Span]]] = [(root, 0, []) for root in reversed(_in_order(trace))]
    shown = 0
    while pending and shown < _MOST_LINES:
        span, depth, alike = pending.pop()
        shown += 1
        yield _line(span, min(depth, _DEEPEST), path, proof)
        if alike:
            total = sum(other.busy for other in alike)
            more = sum(other.folded for other in alike)
            text = f"  {'  ' * min(depth, _DEEPEST)}... {more} more like it, {milliseconds(total):.1f} ms in all"
            yield Line(text, "dim")
        pending.extend((first, depth + 1, others) for first, others in reversed(with_repeats(span, shapes)))
    if pending:
        yield Line(f"  ... and more of the {len(trace.spans)} spans", "dim")


def _in_order(trace: Trace) -> list[Span]:
    return [trace.root, *sorted((root for root in trace.roots if root is not trace.root), key=lambda root: root.start)]


def _line(span: Span, depth: int, path: dict[Span, int], proof: frozenset[str]) -> Line:
    own = path.get(span)
    mark = "  " if own is None else "> "
    service = f" [{span.service}]" if span.parent is None or span.service != span.parent.service else ""
    held = f", {milliseconds(own):.1f} on the critical path" if own else ""
    many = f" x {span.folded}" if span.folded > 1 else ""
    failed = "  FAILED" if span.failed else ""
    text = f"{mark}{'  ' * depth}{call_label(span)}{many}{service}  {milliseconds(span.duration):.1f} ms{held}{failed}"
    style = "red" if span.failed else "yellow" if span.span_id in proof else "" if own is not None else "dim"
    return Line(text, style)
