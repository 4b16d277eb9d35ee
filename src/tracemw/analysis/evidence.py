"""What several findings need to know of one trace, worked out when the first of them asks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from tracemw.analysis.critical_path import covered, critical_path
from tracemw.analysis.model import Span, Trace, descendants
from tracemw.analysis.shapes import Shapes


class Evidence:
    """One trace, with its shapes and its critical path."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.shapes = Shapes()

    @cached_property
    def path(self) -> dict[Span, int]:
        """The critical path of the root: spans, and their own nanoseconds on it."""
        return critical_path(self.trace.root)

    def on_path(self, spans: Iterable[Span]) -> int:
        """Return the nanoseconds that spans, with all beneath them, hold the root's end."""
        every = set(spans)
        for span in tuple(every):
            if span.children:
                every.update(descendants(span))
        path = self.path
        return sum([path[span] for span in every if span in path])

    def saving(self, group: list[Span], remaining: int) -> int:
        """Return how many nanoseconds the root would shrink if a group of siblings took `remaining` instead.

        The siblings that run meanwhile, and time off the critical path, limit what there is to save.
        """
        parent = group[0].parent
        low, high = min(span.start for span in group), max(span.end for span in group)
        inside = set(group)
        others = [span for span in (parent.children if parent else ()) if span not in inside]
        busy = covered(group, low, high)
        meanwhile = covered(others, low, high) - (covered([*group, *others], low, high) - busy)
        possible = min(busy, sum(span.busy for span in group)) - max(remaining, meanwhile)
        return max(0, min(possible, self.on_path(group) - remaining))
