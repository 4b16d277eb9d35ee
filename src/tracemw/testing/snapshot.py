"""A trace without times and ids: the same for each run of the same code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracemw.analysis.model import INTERNAL, Span, Trace
from tracemw.analysis.shapes import query_label


def snapshot_of(trace: Trace, attributes: Sequence[str] = ()) -> str:
    """Return the spans of a trace as a tree of lines, one line for each stretch of spans that look alike.

    Children come in the order of their start. Those that run at the same time come in the order of their names.

    Args:
        trace: The trace.
        attributes: The keys of attributes to show.
    """
    return "\n".join(line for root in _ordered(trace.roots) for line in _lines(root, attributes))


def _lines(root: Span, attributes: Sequence[str]) -> Iterator[str]:
    pending = [(root, 0, 1)]
    while pending:
        span, depth, times = pending.pop()
        yield f"{'  ' * depth}{_described(span, attributes)}{f' x {times}' if times > 1 else ''}"
        pending.extend((child, depth + 1, count) for child, count in reversed(_runs(span.children, attributes)))


def _runs(children: Sequence[Span], attributes: Sequence[str]) -> list[tuple[Span, int]]:
    """Return the first of each stretch of leaves that look alike, and how many there are."""
    runs: list[tuple[Span, int]] = []
    for child in _ordered(children):
        last = runs[-1][0] if runs else None
        if (
            last is None
            or last.children
            or child.children
            or _described(last, attributes) != _described(child, attributes)
        ):
            runs.append((child, child.folded))
        else:
            runs[-1] = last, runs[-1][1] + child.folded
    return runs


def _ordered(spans: Sequence[Span]) -> list[Span]:
    """Return spans by start; those that overlap one another by name, since their order is chance."""
    ordered: list[Span] = []
    overlapping: list[Span] = []
    until = 0
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if overlapping and span.start >= until:
            ordered += sorted(overlapping, key=query_label)
            overlapping = []
        overlapping.append(span)
        until = max(until, span.end)
    return ordered + sorted(overlapping, key=query_label)


def _described(span: Span, attributes: Sequence[str]) -> str:
    kind = "" if span.kind == INTERNAL else f" [{span.kind}]"
    shown = "".join(f" {key}={span.attributes[key]!r}" for key in attributes if key in span.attributes)
    failed = f" FAILED {span.error_type}".rstrip() if span.failed else ""
    return f"{query_label(span)}{kind}{shown}{failed}"
