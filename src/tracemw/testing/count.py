"""A number of spans that knows which they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Self

from tracemw.analysis.model import Span
from tracemw.analysis.shapes import query_label


class Count(int):
    """How many spans of a kind there are: an `int`. pytest shows the spans when an assertion about it fails.

    A span that stands for many like it (see `init(fold_after=)`) counts as many.
    """

    _what: str
    _spans: tuple[Span, ...]
    _tree: str

    @classmethod
    def of(cls, what: str, spans: Iterable[Span], tree: str) -> Self:
        """Return the number of some spans.

        Args:
            what: What is counted, in the plural.
            spans: The spans.
            tree: The trace or traces that they are in, as text.
        """
        counted = tuple(spans)
        count = cls(sum(span.folded for span in counted))
        count._what, count._spans, count._tree = what, counted, tree
        return count

    def explain(self, comparison: str) -> list[str]:
        """Return the lines that say what was compared, what was counted, and where it happened."""
        often: Counter[str] = Counter()
        for span in self._spans:
            often[query_label(span)] += span.folded
        lines = [f"{self._what}: {comparison}", ""]
        lines += [f"  {count} x {label}" for label, count in often.most_common()]
        return [*lines, "", *self._tree.splitlines()]
