"""Which groups of spans grew, and how much of the whole that is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from tracemw.analysis.comparison.changes import GroupChange, GroupNumbers
from tracemw.analysis.comparison.route_changes import NOTABLE
from tracemw.analysis.comparison.served_requests import Size
from tracemw.analysis.comparison.side import RouteKey, Side
from tracemw.analysis.comparison.significance import CHANCE, Chances, corrected, quantile_by_chance, shift_by_chance
from tracemw.analysis.comparison.span_groups import Measure, MergedTree, SpanGroup, pairs

_PART_OF_REQUEST: Final = 0.02
"""What grew by a smaller part of an average request is no news."""

_WORTH_ASKING: Final = _PART_OF_REQUEST / 2
_TAIL: Final = 0.95
_LOOP: Final = 5
"""New calls in a request from which on they are many, however fast: others have to serve them."""

_MOST: Final = 200


class _Pair(NamedTuple):
    entry: RouteKey
    before: SpanGroup | None
    after: SpanGroup | None
    numbers: tuple[GroupNumbers, GroupNumbers]
    request_ms: tuple[float, float]
    """What an average request takes on each side."""


def group_changes(before: Side, after: Side) -> list[GroupChange]:
    """Return the groups of routes that both sides have: what grew first, by its growth."""
    every = [
        pair
        for key in before.trees.keys() & after.trees.keys()
        for pair in _pairs(key, before.trees[key], after.trees[key])
    ]
    questions = [
        (number, chances)
        for number, pair in enumerate(every)
        for chances in _chances(pair, before.trees[pair.entry].size, after.trees[pair.entry].size)
    ]
    more, less = [1.0] * len(every), [1.0] * len(every)
    for answers, chosen in (
        (more, corrected([chances.more for _, chances in questions])),
        (less, corrected([chances.less for _, chances in questions])),
    ):
        for (number, _), chance in zip(questions, chosen, strict=True):
            answers[number] = min(answers[number], chance)
    new, added = _truly_new(every), _calls_added(every)
    found = [
        _change(pair, more[number], less[number], new.get(number, 1.0), added[pair.entry])
        for number, pair in enumerate(every)
    ]
    found.sort(key=lambda change: (not change.grew, -abs(change.growth_ms)))
    return found[:_MOST]


def _pairs(key: RouteKey, before: MergedTree, after: MergedTree) -> Iterator[_Pair]:
    sizes = before.size.weight, after.size.weight
    request_ms = before.milliseconds / sizes[0], after.milliseconds / sizes[1]
    for here, there in pairs(before, after):
        yield _Pair(key, here, there, (_numbers(here, sizes[0]), _numbers(there, sizes[1])), request_ms)


def _numbers(group: SpanGroup | None, requests: float) -> GroupNumbers:
    if group is None:
        return GroupNumbers(count=0.0, own_ms=0.0, on_path_ms=0.0)
    return GroupNumbers(
        count=group.count.total / requests,
        own_ms=group.own.total / 1000 / requests,
        on_path_ms=group.on_path / requests,
    )


def _truly_new(every: list[_Pair]) -> dict[int, float]:
    """Return how much of the time of each new group was not there before under another name, from 0 to 1.

    A span that is put around others, or gets a new name, takes time from the span above, or from one that is gone.
    """
    known = {group for pair in every if pair.before and pair.after for group in (pair.before, pair.after)}
    there = {pair.after: pair.before for pair in every if pair.after}
    new: dict[SpanGroup, dict[int, float]] = {}
    taken: dict[SpanGroup, float] = {}
    for number, pair in enumerate(every):
        before, after = pair.numbers
        if pair.before is None and pair.after is not None:
            above = there[_nearest(pair.after, known)]
            if above is not None:
                new.setdefault(above, {})[number] = after.own_ms
        elif pair.before is not None:
            above = pair.before if pair.after else _nearest(pair.before, known)
            taken[above] = taken.get(above, 0.0) + max(before.own_ms - after.own_ms, 0.0)
    parts = {}
    for above, groups in new.items():
        total = sum(groups.values())
        part = max(total - taken.get(above, 0.0), 0.0) / total if total else 0.0
        parts.update(dict.fromkeys(groups, part))
    return parts


def _calls_added(every: list[_Pair]) -> dict[RouteKey, float]:
    """Return how many more queries and calls an average request makes, under whatever names."""
    added: dict[RouteKey, float] = {}
    for pair in every:
        group, (before, after) = pair.after or pair.before, pair.numbers
        is_call = group is not None and group.is_call
        added[pair.entry] = added.get(pair.entry, 0.0) + (after.count - before.count if is_call else 0.0)
    return added


def _nearest(group: SpanGroup, known: set[SpanGroup]) -> SpanGroup:
    """Return the nearest group above that both sides have; the root is one."""
    while group not in known and group.above is not None:
        group = group.above
    return group


def _chances(pair: _Pair, before: Size, after: Size) -> Iterator[Chances]:
    """Give the answers to three questions: is there more own time, more of it in the slowest, are there more spans?

    Groups that are a small part of the requests on both sides are not asked for.
    """
    part = sum(each.own_ms for each in pair.numbers) / max(sum(pair.request_ms), 1e-9)
    if part < _WORTH_ASKING and not _repeats(*pair.numbers) and not _repeats(*pair.numbers[::-1]):
        return
    sizes = before.effective, after.effective
    here, there = _distribution(pair.before, "own", before), _distribution(pair.after, "own", after)
    yield shift_by_chance(here, sizes[0], there, sizes[1])
    yield shift_by_chance(
        _distribution(pair.before, "count", before), sizes[0], _distribution(pair.after, "count", after), sizes[1]
    )
    old, new = ((_above(limit, here), _above(limit, there)) for limit in (_upper(here), _upper(there)))
    tail = quantile_by_chance(old, new, *sizes)
    if tail is not None:
        yield tail


def _distribution(group: SpanGroup | None, measure: str, size: Size) -> dict[int, float]:
    if group is None:
        return Measure().distribution(size.weight)
    chosen: Measure = getattr(group, measure)
    return chosen.distribution(size.weight)


def _upper(shares: dict[int, float]) -> int:
    """Return the class that 5 % of the requests exceed at most."""
    below, number = 0.0, 0
    for number in sorted(shares):
        below += shares[number]
        if below >= _TAIL:
            break
    return number


def _above(limit: int, shares: dict[int, float]) -> float:
    return sum(share for number, share in shares.items() if number > limit)


def _repeats(before: GroupNumbers, after: GroupNumbers) -> bool:
    """Return whether spans that were there became several, by one in each request and more."""
    return after.count >= 2 and after.count - before.count >= 1


def _change(pair: _Pair, more: float, less: float, new: float, added: float) -> GroupChange:
    before, after = pair.numbers
    group = pair.after or pair.before
    if group is None:
        raise ValueError("a pair of groups has one of them at least")
    slower_ms = pair.request_ms[1] - pair.request_ms[0]
    on_path_ms = after.on_path_ms - before.on_path_ms
    repeats = group.is_call and _repeats(before, after)
    if before.count == 0:  # a feature has some calls, and a call of another name is none
        repeats = repeats and after.count >= _LOOP and added >= _LOOP
    ceased = group.is_call and after.count > 0 and _repeats(after, before)
    return GroupChange(
        entry=pair.entry,
        service=group.service,
        name=group.name,
        position=group.position,
        line=group.line,
        is_call=group.is_call,
        before=before,
        after=after,
        share_of_growth=min(max(on_path_ms / slower_ms, 0.0), 1.0) if slower_ms > 0 else None,
        chance=more,
        grew=more <= CHANCE and (repeats or _matters(before, after, pair.request_ms[0], new=new)),
        shrank=less <= CHANCE and (ceased or _matters(after, before, pair.request_ms[0], new=1.0)),
    )


def _matters(before: GroupNumbers, after: GroupNumbers, request_ms: float, *, new: float) -> bool:
    """Return whether a growth of time is enough to matter.

    Args:
        before: The group on the side that may have less.
        after: The group on the side that may have more.
        request_ms: What an average request took before.
        new: How much of the growth was not there before under another name.
    """
    growth = (after.own_ms - before.own_ms) * new
    return growth >= max(NOTABLE * before.own_ms, _PART_OF_REQUEST * request_ms)
