"""Children that are alike: the first of them stands for all."""

from __future__ import annotations

from typing import Final

from tracemw.analysis.model import Span
from tracemw.analysis.shapes import Shapes

_ALIKE: Final = 3


def with_repeats(span: Span, shapes: Shapes) -> list[tuple[Span, list[Span]]]:
    """Return the children of a span in order, each with those that are alike and come later."""
    by_likeness: dict[object, list[Span]] = {}
    for child in sorted(span.children, key=lambda child: child.start):
        by_likeness.setdefault((child.name, child.service, child.failed, shapes.of(child)), []).append(child)
    found = []
    for alike in by_likeness.values():
        if len(alike) >= _ALIKE:
            found.append((alike[0], alike[1:]))
        else:
            found.extend((each, []) for each in alike)
    return sorted(found, key=lambda each: each[0].start)
