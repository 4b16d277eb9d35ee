"""Spans of many traces as one tree. A group has all spans of one service and name at one position of the tree.

A group keeps sums and classes of values, not the spans: memory grows with the kinds of spans, not with the traces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from tracemw.analysis.comparison.served_requests import Size
from tracemw.analysis.conventions import code_line
from tracemw.analysis.critical_path import critical_path, self_time
from tracemw.analysis.model import MILLISECOND, Span
from tracemw.analysis.shapes import query_label, without_numbers

_MOST_GROUPS: Final = 5_000
"""Groups of one route. What comes on top counts for the group above."""

_DEEPEST: Final = 60
_CLASSES: Final = 50
"""Classes of values in each e-fold: a class is 2 % wide."""


class Measure:
    """A number that each request has, such as the milliseconds of a group: its sum, and its distribution."""

    __slots__ = ("_classes", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self._classes: dict[int, float] = {}

    def add(self, value: float, weight: float) -> None:
        """Add the value of one request. Requests that do not have the group need not be added."""
        self.total += value * weight
        number = round(_CLASSES * math.log1p(value))
        self._classes[number] = self._classes.get(number, 0.0) + weight

    def distribution(self, requests: float) -> dict[int, float]:
        """Return the shares of requests by class of value; requests without the group have the value 0."""
        shares = {number: weight / requests for number, weight in self._classes.items()}
        shares[0] = shares.get(0, 0.0) + max(0.0, 1.0 - sum(shares.values()))
        return shares


class SpanGroup:
    """The spans of one service and name at one position."""

    __slots__ = ("above", "below", "count", "is_call", "line", "name", "on_path", "own", "service")

    def __init__(self, service: str, name: str, above: SpanGroup | None) -> None:
        self.service = service
        self.name = name
        self.above = above
        self.below: dict[tuple[str, str], SpanGroup] = {}
        self.is_call = False
        """Whether these are queries or calls."""
        self.line = ""
        """The line of code, if a span names one."""
        self.count = Measure()
        """Spans of one request."""
        self.own = Measure()
        """Microseconds of one request in which these spans run and none beneath them."""
        self.on_path = 0.0
        """Milliseconds of all requests in which these spans held the request's end."""

    @property
    def position(self) -> tuple[str, ...]:
        """The services and names of the groups above and of this one, from the root on."""
        found: list[str] = []
        group: SpanGroup | None = self
        while group is not None:
            found.append(f"{group.service}: {group.name}")
            group = group.above
        return tuple(reversed(found))


class MergedTree:
    """All traces that begin with one route, as one tree of groups."""

    def __init__(self, service: str, name: str) -> None:
        self.size = Size()
        self.milliseconds = 0.0
        """What all requests took."""
        self.root = SpanGroup(service, name, None)
        self.groups = [self.root]
        """Parents before their children."""

    def add(self, entries: list[Span], weight: float) -> None:
        """Add the requests of one trace.

        Args:
            entries: The spans with which the requests begin.
            weight: How many requests each stands for.
        """
        self.size.add(weight * len(entries))
        for entry in entries:
            self.milliseconds += weight * entry.duration / MILLISECOND
            self._add(entry, weight)

    def _add(self, entry: Span, weight: float) -> None:
        path = critical_path(entry)
        counts: dict[SpanGroup, int] = {}
        own: dict[SpanGroup, int] = {}
        pending = [(entry, self.root, 0)]
        while pending:
            span, group, depth = pending.pop()
            counts[group] = counts.get(group, 0) + span.folded
            own[group] = own.get(group, 0) + (self_time(span) if span.folded == 1 else span.busy)
            group.on_path += weight * path.get(span, 0) / MILLISECOND
            if not group.line:
                group.line = code_line(span.attributes)
            pending.extend((child, self._group_of(child, group, depth), depth + 1) for child in span.children)
        for group, count in counts.items():
            group.count.add(count, weight)
            group.own.add(own[group] / 1000, weight)

    def _group_of(self, span: Span, above: SpanGroup, depth: int) -> SpanGroup:
        key = (span.service, span_label(span))
        group = above.below.get(key)
        if group is None:
            if len(self.groups) >= _MOST_GROUPS or depth >= _DEEPEST:
                return above
            group = above.below[key] = SpanGroup(*key, above)
            group.is_call = span.is_database or span.is_call
            self.groups.append(group)
        return group


def span_label(span: Span) -> str:
    """Return what spans that do the same are called, also in another process and on another port."""
    if span.is_database:
        return without_numbers(query_label(span))
    method, host = span.attributes.get("http.request.method"), span.attributes.get("server.address")
    if span.is_call and method and host:
        return f"{method} {without_numbers(str(host)) if str(host)[:1].isdigit() else host}"
    return without_numbers(span.name)


def pairs(before: MergedTree, after: MergedTree) -> Iterator[tuple[SpanGroup | None, SpanGroup | None]]:
    """Give the groups of two trees, side by side. A group that has moved to another position is found again.

    A new span around others moves all that is beneath. So of what only one tree has, groups of one service and name
    belong together, those with most time first.
    """
    matched: dict[SpanGroup, SpanGroup] = {before.root: after.root}
    yield before.root, after.root
    gone: dict[tuple[str, str], list[SpanGroup]] = {}
    for group in before.groups[1:]:
        above = matched.get(group.above) if group.above else None
        other = above.below.get((group.service, group.name)) if above else None
        if other is None:
            gone.setdefault((group.service, group.name), []).append(group)
        else:
            matched[group] = other
            yield group, other
    there = set(matched.values())
    for alike in gone.values():
        alike.sort(key=lambda group: group.own.total)
    for group in sorted(after.groups, key=lambda group: -group.own.total):
        if group not in there:
            candidates = gone.get((group.service, group.name))
            yield (candidates.pop() if candidates else None), group
    for alike in gone.values():
        yield from ((group, None) for group in alike)
