"""Failures beneath spans that look fine: what a span above has swallowed, and failed of nevertheless."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tracemw.analysis.conventions import is_cancelled
from tracemw.analysis.findings.finding import line_of
from tracemw.analysis.model import CLIENT, Span, descendants


def hidden_cause(span: Span) -> Span | None:
    """Return the last failure beneath the children of a span, if these look fine and the span failed of nothing else.

    A span that has an exception on record failed of that one. What began after a failure and succeeded made up for it.
    """
    if span.exception is not None or span.kind == CLIENT or any(child.failed for child in span.children):
        return None
    hidden: list[Span] = []
    fine = list(span.children)
    for each in fine:  # the list grows while it is read
        fine += [child for child in each.children if not child.failed]
        hidden += [child for child in each.children if child.failed_hard and not is_cancelled(child.error_type)]
    if not hidden:
        return None
    last = max(hidden, key=lambda each: each.end)
    went_on = any(each.start >= last.end and not each.failed and each.duration for each in descendants(span))
    return None if went_on else last


def swallowing_span(chain: Sequence[Span]) -> Span | None:
    """Return the span that looks fine although a failure passed through it, in a chain from a root to the source.

    Where no exception is on record, nobody knows: many tracers mark no span but those of requests and calls.
    """
    if chain[-1].exception is None:
        return None
    return next((below.parent for above, below in pairwise(chain) if below.parent not in (above, None)), None)


def line_of_handler(span: Span) -> str:
    """Return the line that handled an exception, as tracemw notes it on events, else the line of the span."""
    for event in span.events:
        file, number = (
            event.attributes.get("tracemw.handled.file.path"),
            event.attributes.get("tracemw.handled.line.number"),
        )
        if file:
            return f"{str(file).rpartition('/')[2]}:{number}"
    return line_of((span,))
