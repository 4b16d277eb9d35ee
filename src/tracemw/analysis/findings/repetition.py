"""The same query or call again and again beneath one parent: `n-plus-one`.

One shape five times, or a pattern of two to eight of them three times. Retries, polls and parallel calls are none, nor
is what comes now and then in a long time, such as the messages of a connection.
One shape very often is a hint, however fast: it grows with the data.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final

from tracemw.analysis.evidence import Evidence
from tracemw.analysis.findings.attempts_of_calls import has_failed
from tracemw.analysis.findings.finding import Finding, at, below, line_of, matching
from tracemw.analysis.model import CONSUMER, MILLISECOND, Span, milliseconds
from tracemw.analysis.shapes import OF_KEYS, Shape, asked, call_label, inner_call, lone_call, query_label

REPEATS: Final = 5
TOGETHER: Final = 50 * MILLISECOND
OFTEN: Final = 100
"""Repeats of one shape that are worth a hint, however fast they are."""
PATTERN_REPEATS: Final = 3
PATTERN_LONGEST: Final = 8

_START: Final = attrgetter("start")
_SHOWN: Final = 50
_PAUSE: Final = 100 * MILLISECOND
_PAUSES: Final = 9
"""How many times longer than the repeats the pauses between them are where they come now and then."""

_WRITES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "UPSERT"})
_LOAD: Final = (
    "load them in one query: selectinload in SQLAlchemy, prefetch_related or fetch modes in Django, IN in SQL"
)
_WRITE: Final = (
    "write them in one statement: insert() or update() with a list in SQLAlchemy, bulk_create or bulk_update in Django,"
    " executemany of the driver"
)
_KEYS: Final = {
    "redis": "ask for all of them at once: MGET, or a pipeline",
    "valkey": "ask for all of them at once: MGET, or a pipeline",
    "memcached": "ask for all of them at once: get_multi",
    "mongodb": "ask for all of them at once: $in, insert_many or bulk_write",
    "aws.dynamodb": "ask for all of them at once: BatchGetItem or BatchWriteItem",
}
_DOCUMENTS: Final = "ask for all of them at once: _msearch, _mget or _bulk"
_CALL: Final = "ask for all of them in one call, or run the calls side by side and keep the answers"


def find_n_plus_one(evidence: Evidence, together: int = TOGETHER) -> Iterator[Finding]:
    """Give a finding for each shape or pattern that repeats. Parents of one name count as one, by the worst of them.

    Args:
        evidence: The trace.
        together: Nanoseconds that the repeats must take together to count.
    """
    found: dict[tuple[str, str, Shape], list[Finding]] = {}
    for parent in evidence.trace.parents:
        for shape, group in _groups(parent, evidence, together):
            finding = _finding(parent, group, evidence)
            found.setdefault((parent.service, parent.name, shape), []).append(finding)
    for alike in found.values():
        yield max(alike, key=lambda finding: finding.cost_ms)


def count_repeats(parent: Span, evidence: Evidence) -> int:
    """Return how many of the spans beneath a parent are repeats, one after another."""
    return sum(child.folded for _, group in _groups(parent, evidence, together=0) for child in group)


def _groups(parent: Span, evidence: Evidence, together: int) -> Iterator[tuple[Shape, list[Span]]]:
    by_shape: dict[Shape, list[Span]] = {}
    shape_of = evidence.shapes.of
    in_order = sorted(parent.children, key=_START)
    pauses = _Pauses(in_order)
    for child in in_order:
        shape = shape_of(child) if child.kind != CONSUMER else None  # each message is work of its own
        if shape is not None and not has_failed(child):
            if shape in by_shape:
                by_shape[shape].append(child)
            else:
                by_shape[shape] = [child]
    often = {shape: group for shape, group in by_shape.items() if len(group) >= PATTERN_REPEATS}
    in_pattern: set[Shape] = set()
    if len(often) > 1:
        order = [(shape, child) for child in in_order if (shape := shape_of(child)) in often and not has_failed(child)]
        for shapes, group in _patterns(order):
            if not in_pattern & shapes and _counts(group, together, pauses):
                in_pattern |= shapes
                yield ("pattern", shapes), group
    for shape, group in by_shape.items():
        enough = PATTERN_REPEATS if _is_unit(shape) else REPEATS
        count = sum(child.folded for child in group)
        if shape not in in_pattern and count >= enough and _counts(group, 0 if count >= OFTEN else together, pauses):
            yield shape, group


def _is_unit(shape: Shape) -> bool:
    """Return whether this is a span around two shapes and more, which is a pattern by itself."""
    while shape[0] == "wrapper" and len(shape[2]) == 1:
        (shape,) = shape[2]
    return bool(shape[0] == "wrapper")


def _patterns(order: list[tuple[Shape, Span]]) -> Iterator[tuple[frozenset[Shape], list[Span]]]:
    """Give each stretch in which several shapes repeat in one order; short patterns come first."""
    numbers: dict[Shape, int] = {}
    sequence = [numbers.setdefault(shape, len(numbers)) for shape, _ in order]
    for period in range(2, PATTERN_LONGEST + 1):
        begin = 0
        for index in range(len(sequence) - period + 1):
            if index + period < len(sequence) and sequence[index] == sequence[index + period]:
                continue
            repeats = (index - begin) // period + 1
            distinct = set(sequence[begin : begin + period])
            if repeats >= PATTERN_REPEATS and len(distinct) > 1:
                stretch = order[begin : begin + repeats * period]
                yield frozenset(shape for shape, _ in stretch), [span for _, span in stretch]
            begin = index + 1


def _counts(group: list[Span], together: int, pauses: _Pauses) -> bool:
    """Return whether a group takes long enough, runs one after another, and is neither a poll nor now and then."""
    if sum(child.busy for child in group) < together or _is_parallel(group):
        return False
    return not _is_poll(group, pauses) and not pauses.are_long(group)


def _is_parallel(group: list[Span]) -> bool:
    """Return whether half of a group overlap, by more than clocks and rounding explain."""
    overlapping, until = 0, 0
    for span in group:
        if span.start + span.duration // 10 < until and span.folded == 1:
            overlapping += 1
        until = max(until, span.end)
    return overlapping * 2 >= len(group) > 1


class _Pauses:
    """The times in which nothing runs beneath a parent, or nothing but its own work."""

    def __init__(self, in_order: Sequence[Span]) -> None:
        self._in_order = in_order
        self._all: _Covered | None = None
        self._calls: _Covered | None = None

    def between_calls(self, group: list[Span]) -> int:
        """Return the nanoseconds within a group in which no call or query runs."""
        if self._calls is None:
            self._calls = _Covered(child for child in self._in_order if _leaves(inner_call(child)))
        return self._calls.missing(group[0].start, group[-1].end)

    def are_long(self, group: list[Span]) -> bool:
        """Return whether nothing runs for most of the time, and for long each time."""
        least = max(_PAUSE * (len(group) - 1), _PAUSES * sum(child.duration for child in group))
        if group[-1].end - group[0].start < least:
            return False
        if self._all is None:
            self._all = _Covered(self._in_order)
        return self._all.missing(group[0].start, group[-1].end) > least


class _Covered:
    """The times in which at least one of some spans runs. The spans are in the order of their start."""

    def __init__(self, in_order: Iterable[Span]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._before: list[int] = []
        """Nanoseconds that are covered before each stretch."""
        total = 0
        for span in in_order:
            if self._ends and span.start <= self._ends[-1]:
                if span.end > self._ends[-1]:
                    total += span.end - self._ends[-1]
                    self._ends[-1] = span.end
            else:
                self._before.append(total)
                total += span.duration
                self._starts.append(span.start)
                self._ends.append(span.end)

    def missing(self, low: int, high: int) -> int:
        """Return the nanoseconds between two times in which none runs."""
        return high - low - (self._until(high) - self._until(low))

    def _until(self, time: int) -> int:
        at = bisect_right(self._starts, time) - 1
        return 0 if at < 0 else self._before[at] + min(time, self._ends[at]) - self._starts[at]


def _leaves(call: Span) -> bool:
    return call.is_call or call.is_database


def _is_poll(group: list[Span], pauses: _Pauses) -> bool:
    """Return whether one thing is asked for again and again, with pauses that are longer than the calls."""
    first = inner_call(group[0])
    if not first.is_call or any(asked(inner_call(child)) != asked(first) for child in group[1:]):
        return False
    return pauses.between_calls(group) > sum(inner_call(child).duration for child in group)


def _finding(parent: Span, group: list[Span], evidence: Evidence) -> Finding:
    shapes: dict[Shape | None, list[Span]] = {}
    for child in group:
        shapes.setdefault(evidence.shapes.of(child), []).append(child)
    labels = list(dict.fromkeys(_label(alike[0]) for alike in shapes.values()))
    count, total = sum(child.folded for child in group), sum(child.busy for child in group)
    innermost = [lone_call(child) for child in group[:_SHOWN]]
    is_database = any(span.is_database for span in innermost)
    times = min(map(len, shapes.values())) if len(shapes) > 1 else count
    one = max(child.longest for child in group) if len(shapes) == 1 else total // max(times, 1)
    line = line_of([*innermost, *group[:_SHOWN], parent])
    does = "runs" if is_database else "calls"
    return Finding(
        code="n-plus-one",
        severity="warning" if total >= TOGETHER else "hint",
        title=f"{parent.service} {does} {' and '.join(labels[:3])} {times} times in one {parent.name}{at(line)}",
        trace_id=parent.trace_id,
        span_ids=(parent.span_id, *(child.span_id for child in group[:_SHOWN])),
        service=parent.service,
        remedy=_remedy(next(span for span in innermost if span.is_database)) if is_database else _CALL,
        query=_more_of_the_same(parent, innermost),
        numbers={"count": count, "repeats": times, "shapes": labels, "together_ms": milliseconds(total)},
        cost_ms=milliseconds(total),
        saving_ms=milliseconds(evidence.saving(group, one)),
        line=line,
    )


def _remedy(query: Span) -> str:
    system = str(query.attributes["db.system.name"])
    if system in OF_KEYS:
        return _KEYS.get(system, _DOCUMENTS)
    operation = query_label(query).partition(" ")[0].upper()
    return _WRITE if operation in _WRITES else _LOAD


def _more_of_the_same(parent: Span, repeats: list[Span]) -> str:
    first = repeats[0]
    alike = [each for each in repeats if (each.service, each.name) == (first.service, first.name)]
    if len(alike) < PATTERN_REPEATS and all(each.folded == 1 for each in repeats):  # names with the values in them
        return f"{matching(parent)} >> {{ kind = {first.kind.lower()} }} | count() >= {min(REPEATS, len(repeats))}"
    return below(f"{matching(parent)} >>", matching(first), alike, REPEATS)


def _label(child: Span) -> str:
    call = lone_call(child)
    if call.is_database:
        return query_label(call)
    return call_label(call) if call.is_call else child.name
