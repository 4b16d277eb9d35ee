"""Children that are alike: the first of them stands for all."""

from __future__ import annotations

from typing import Final

from tracemw.analysis.model import Span
from tracemw.analysis.shapes import Shapes

_ALIKE: Final = 3


def with_repeats(span: Span, shapes: Shapes) -> list[tuple[Span, list[Span]]]:
    """Return the children of a span in order, each with those that are alike and come later."""
    children = sorted(span.children, key=lambda child: child.start)
    if len(children) < _ALIKE:
        return [(child, []) for child in children]
    by_name: dict[object, list[Span]] = {}
    for child in children:
        by_name.setdefault((child.name, child.service, child.failed), []).append(child)
    found: list[tuple[Span, list[Span]]] = []
    for called_alike in by_name.values():
        if len(called_alike) < _ALIKE:
            found.extend((each, []) for each in called_alike)
        else:
            found.extend(_of_one_shape(called_alike, shapes))
    return sorted(found, key=lambda each: each[0].start)


def _of_one_shape(spans: list[Span], shapes: Shapes) -> list[tuple[Span, list[Span]]]:
    by_shape: dict[object, list[Span]] = {}
    for span in spans:
        by_shape.setdefault(shapes.of(span), []).append(span)
    found: list[tuple[Span, list[Span]]] = []
    for alike in by_shape.values():
        if len(alike) >= _ALIKE:
            found.append((alike[0], alike[1:]))
        else:
            found.extend((each, []) for each in alike)
    return found
