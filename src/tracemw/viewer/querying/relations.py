"""How the spans of one trace stand to each other: parents, children, and the nested sets of TraceQL."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from tracemw.viewer.budget import Budget
from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.store import Store
from tracemw.viewer.storing.summaries import TraceSummary

_NOWHERE = (0, 0, 0)
_ABOVE_ROOTS = -1


class Tree:
    """The tree of a trace.

    Args:
        links: The span id and parent id of each span, by start time. The parent of a root is None.
    """

    def __init__(self, links: Iterable[tuple[bytes, bytes | None]]) -> None:
        self._parents = dict(links)

    def parent(self, span_id: bytes) -> bytes | None:
        """Return the id of a span's parent, which may have never arrived; None for a root."""
        return self._parents.get(span_id)

    def child_count(self, span_id: bytes) -> int:
        """Return how many children a span has."""
        return len(self._children.get(span_id, ()))

    def nested_set(self, span_id: bytes) -> tuple[int, int, int]:
        """Return left, right, and the parent's left; -1 above a root. All are 0 for a span that hangs beneath none."""
        return self._nested_sets.get(span_id, _NOWHERE)

    @cached_property
    def _children(self) -> dict[bytes | None, list[bytes]]:
        children: dict[bytes | None, list[bytes]] = {}
        for span_id, parent_id in self._parents.items():
            children.setdefault(parent_id, []).append(span_id)
        return children

    @cached_property
    def _nested_sets(self) -> dict[bytes, tuple[int, int, int]]:
        """Walk the tree from each root: a span's left is counted on the way down, and its right on the way up."""
        sets: dict[bytes, tuple[int, int, int]] = {}
        count = 0
        way: list[tuple[bytes, int, int]] = [  # each span, the parent's left, and the span's own once it is known
            (root, _ABOVE_ROOTS, 0) for root in reversed(self._children.get(None, []))
        ]
        while way:
            span_id, above, left = way.pop()
            count += 1
            if left:
                sets[span_id] = (left, count, above)
                continue
            way.append((span_id, above, count))
            left = count
            way.extend((child, left, 0) for child in reversed(self._children.get(span_id, [])))
        return sets


class QueriedTrace:
    """A trace to which fields refer.

    Attributes:
        summary: What lists show of the trace.
    """

    def __init__(self, store: Store, summary: TraceSummary, budget: Budget) -> None:
        self.summary = summary
        self._store = store
        self._budget = budget

    @cached_property
    def tree(self) -> Tree:
        """The tree of the trace, read when somebody asks."""
        return Tree(self._store.links(self.summary.trace_id, self._budget))

    def parent(self, span: StoredSpan) -> StoredSpan | None:
        """Return a span's parent; None if it has not arrived."""
        if span.parent_id is None:
            return None
        return self._store.span(self.summary.trace_id, span.parent_id, self._budget)


def children_of(tree: Tree, above: list[StoredSpan], spans: list[StoredSpan]) -> set[bytes]:
    """Return those of some spans whose parent is among the spans above."""
    parents = {span.span_id for span in above}
    return {span.span_id for span in spans if tree.parent(span.span_id) in parents}


def parents_of(tree: Tree, below: list[StoredSpan], spans: list[StoredSpan]) -> set[bytes]:
    """Return those of some spans that have a child among the spans below."""
    parents = {tree.parent(span.span_id) for span in below}
    return {span.span_id for span in spans if span.span_id in parents}


def descendants_of(tree: Tree, above: list[StoredSpan], spans: list[StoredSpan]) -> set[bytes]:
    """Return those of some spans that stand beneath one of the spans above, however deep."""
    tops = {span.span_id for span in above}
    beneath: dict[bytes, bool] = {}  # also of the spans between, so that no way is gone twice
    for span in spans:
        way: list[bytes] = []
        here: bytes | None = span.span_id
        found = False
        while here is not None and here not in beneath and not found:
            way.append(here)
            beneath[here] = False  # a circle of parents ends here
            here = tree.parent(here)
            found = here in tops
        found = found or (here is not None and beneath[here])
        beneath.update(dict.fromkeys(way, found))
    return {span.span_id for span in spans if beneath[span.span_id]}


def ancestors_of(tree: Tree, below: list[StoredSpan], spans: list[StoredSpan]) -> set[bytes]:
    """Return those of some spans beneath which one of the spans below stands, however deep."""
    above: set[bytes] = set()
    for span in below:
        here = tree.parent(span.span_id)
        while here is not None and here not in above:
            above.add(here)
            here = tree.parent(here)
    return {span.span_id for span in spans if span.span_id in above}


def siblings_of(tree: Tree, beside: list[StoredSpan], spans: list[StoredSpan]) -> set[bytes]:
    """Return those of some spans that share a parent with another span, which is among those beside."""
    by_parent: dict[bytes, set[bytes]] = {}
    for span in beside:
        parent = tree.parent(span.span_id)
        if parent is not None:
            by_parent.setdefault(parent, set()).add(span.span_id)
    found: set[bytes] = set()
    for span in spans:
        others = by_parent.get(tree.parent(span.span_id) or b"", set())
        if len(others) > (span.span_id in others):
            found.add(span.span_id)
    return found
