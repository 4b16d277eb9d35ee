"""Which span holds the end of a trace, and what a span did itself.

Source: Zhang et al., CRISP: Critical Path Analysis of Large-Scale Microservice Architectures, USENIX ATC 2022.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Final

from tracemw.analysis.model import CONSUMER, PRODUCER, Span

_START: Final = attrgetter("start")


def critical_path(root: Span) -> dict[Span, int]:
    """Return the spans that hold the root's end, each with its own nanoseconds on the path.

    Seen from the end of a span, the child that ends last owns the time down to its start. The next is the child that
    had ended by then, and so on. Time that no child owns is the span's own. Children are cut to their parent, and a
    CONSUMER does not hold up its PRODUCER. The parts sum to the root's duration exactly. The cost is n log n.
    """
    parts: dict[Span, int] = {}
    pending = [(root, root.start, root.end)]
    while pending:
        span, low, high = pending.pop()
        own, until = 0, high
        for child in _from_the_end(span, low, high):
            end = child.end
            if end > high:
                end = high
            if end <= until:
                own += until - end
                until = child.start
                if until < low:
                    until = low
                if child.children:
                    pending.append((child, until, end))
                else:
                    parts[child] = end - until
        parts[span] = own + until - low
    return parts


def _from_the_end(span: Span, low: int, high: int) -> list[Span]:
    """Return the children within a time, the last to end first; of several, the first to start."""
    found = [child for child in span.children if child.start <= high and child.end >= low]
    if span.kind == PRODUCER:
        found = [child for child in found if child.kind != CONSUMER]
    found.sort(key=_START)
    found.sort(key=lambda child: min(child.end, high), reverse=True)
    return found


def covered(spans: Iterable[Span], low: int, high: int) -> int:
    """Return the nanoseconds between two times in which at least one of the spans runs."""
    total, until = 0, low
    for span in sorted(spans, key=_START):
        start, end = span.start, span.end
        if start < until:
            start = until
        if end > high:
            end = high
        if end > start:
            total += end - start
            until = end
    return total


def self_time(span: Span) -> int:
    """Return a span's duration without the union of its children's times, in nanoseconds."""
    return span.duration - covered(span.children, span.start, span.end) if span.children else span.duration
