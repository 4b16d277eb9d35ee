"""What ``compare(...)`` counts: the values of all fields, of the spans that a filter selects, and of the others."""

from __future__ import annotations

from collections.abc import Iterator

from tracemw.viewer.querying.fields import INTRINSICS, Attribute, attribute_values
from tracemw.viewer.querying.literals import Value
from tracemw.viewer.querying.relations import QueriedTrace
from tracemw.viewer.querying.spansets import Filter
from tracemw.viewer.storing.candidates import StoredSpan

_INTRINSICS = ("name", "kind", "status", "statusMessage", "rootName", "rootServiceName")


def compared(selection: Filter, trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[tuple[str, Value], ...]]:
    """Yield the labels of each series that counts a span: one for each value, and one for each field that it has."""
    side = "selection" if selection.matches(trace, span) else "baseline"
    seen: set[str] = set()
    for name, value in _fields(trace, span):
        yield ("__meta_type", side), (name, value)
        if name not in seen:
            seen.add(name)
            yield ("__meta_type", f"{side}_total"), (name, "nil")


def _fields(trace: QueriedTrace, span: StoredSpan) -> Iterator[tuple[str, Value]]:
    for name in _INTRINSICS:
        for value in INTRINSICS[name].read(trace, span):
            yield name, value
    for scope, attributes in (("span", span.span.attributes), ("resource", span.resource.attributes)):
        for attribute in attributes:
            for value in attribute_values(attribute.value):
                yield Attribute(scope, attribute.key).name, value
