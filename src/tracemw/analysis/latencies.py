"""How long calls take: counted by length, with a trace to look at for each. Memory does not grow with the calls."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tracemw.analysis.model import Span

_STEP: Final = math.log(1.02)
"""Calls whose lengths differ by less than 2 % are counted together."""

_BARS: Final = 10
"""Bars of a histogram from any length to ten times as much."""

_SHORTEST: Final = 1000
"""Nanoseconds. Shorter calls count with those of a microsecond: a logarithmic scale has no zero."""

_EXEMPLARS: Final = 5


@dataclass(frozen=True)
class Exemplar:
    """One call: how many nanoseconds it took, and where it stands."""

    took: int
    trace_id: str
    span_id: str


@dataclass
class Bar:
    """Calls between two lengths, in nanoseconds."""

    low: int
    high: int
    calls: float
    failed: float
    exemplars: list[Exemplar]


@dataclass
class _Count:
    calls: float
    failed: float
    exemplars: list[Exemplar]


class Latencies:
    """The calls of one kind, by how long they took."""

    def __init__(self) -> None:
        self.seen = 0
        """Calls that were looked at."""
        self.calls = 0.0
        """Calls that those stand for, as they were sampled."""
        self.failed = 0.0
        """Of these, the ones that failed."""
        self.total = 0.0
        """Nanoseconds of all these calls."""
        self._counts: dict[int, _Count] = {}

    def add(self, span: Span, stands_for: float, *, failed: bool) -> None:
        """Count a call.

        Args:
            span: The call. One that stands for many counts by the mean of their times.
            stands_for: How many calls it stands for (see `sampling_weight`); 0 for one that only serves as an exemplar.
            failed: Whether the call failed.
        """
        self.seen += 1
        self.calls += stands_for
        self.failed += stands_for if failed else 0.0
        took = span.busy // span.folded
        self.total += stands_for * took
        count = self._counts.setdefault(int(math.log(max(took, _SHORTEST)) / _STEP), _Count(0.0, 0.0, []))
        count.calls += stands_for
        count.failed += stands_for if failed else 0.0
        if len(count.exemplars) < _EXEMPLARS:
            count.exemplars.append(Exemplar(took, span.trace_id, span.span_id))

    def __add__(self, other: Latencies) -> Latencies:
        """Return the calls of both."""
        both = Latencies()
        both._take(self)
        both._take(other)
        return both

    def _take(self, other: Latencies) -> None:
        self.seen += other.seen
        self.calls += other.calls
        self.failed += other.failed
        self.total += other.total
        for step, added in other._counts.items():
            count = self._counts.setdefault(step, _Count(0.0, 0.0, []))
            count.calls += added.calls
            count.failed += added.failed
            count.exemplars += added.exemplars[: _EXEMPLARS - len(count.exemplars)]

    def quantile(self, share: float) -> Exemplar | None:
        """Return a call that took about as long as, or longer than, a share of all calls; None if there are none."""
        wanted, passed = share * self.calls, 0.0
        for _, count in sorted(self._counts.items()):
            passed += count.calls
            if count.calls and passed >= wanted * (1 - 1e-9):
                return count.exemplars[0]
        return None

    def bars(self) -> Iterator[Bar]:
        """Give the bars of a histogram whose scale is logarithmic, without empty ones."""
        bar: Bar | None = None
        for key, count in sorted(self._counts.items()):
            number = math.floor(key * _STEP / math.log(10) * _BARS)
            low, high = (round(10 ** (edge / _BARS)) for edge in (number, number + 1))
            if bar is not None and bar.low != low:
                yield bar
                bar = None
            if bar is None:
                bar = Bar(low, high, 0.0, 0.0, [])
            bar.calls += count.calls
            bar.failed += count.failed
            bar.exemplars += count.exemplars[: _EXEMPLARS - len(bar.exemplars)]
        if bar is not None:
            yield bar
