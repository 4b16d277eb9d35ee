"""Which findings are new, or more frequent than before."""

from __future__ import annotations

from typing import Final

from tracemw.analysis.comparison.changes import FindingChange
from tracemw.analysis.comparison.side import Side
from tracemw.analysis.comparison.significance import CHANCE, corrected, shares_by_chance
from tracemw.analysis.grouping import FindingGroup
from tracemw.analysis.shapes import without_numbers

_Key = tuple[str, str, str]
_MOST: Final = 50


def finding_changes(before: Side, after: Side) -> list[FindingChange]:
    """Return the findings that are more frequent after than before: those that are so by more than chance first."""
    here, there = _groups(before), _groups(after)
    sizes = before.size.effective, after.size.effective
    chances: dict[_Key, float] = {}
    for key in here.keys() | there.keys():
        shares = [side[key].share if key in side else 0.0 for side in (here, there)]
        answer = shares_by_chance(shares[0], sizes[0], shares[1], sizes[1])
        if answer is not None:
            chances[key] = answer.more
    chances = dict(zip(chances, corrected(list(chances.values())), strict=True))
    found = []
    for key, group in there.items():
        old = here.get(key) or FindingGroup(exemplar=group.exemplar)
        if old.traces and group.share <= old.share:
            continue
        chance = chances.get(key)
        sure = chance is not None and chance <= CHANCE
        found.append(
            FindingChange(
                finding=group.exemplar,
                traces_before=old.traces,
                traces_after=group.traces,
                share_before=old.share,
                share_after=group.share,
                chance=chance,
                is_new=sure and not old.traces,
                is_more=sure and old.traces > 0,
            )
        )
    found.sort(key=lambda change: not (change.is_new or change.is_more))  # else as they come: the worst first
    return found[:_MOST]


def _groups(side: Side) -> dict[_Key, FindingGroup]:
    """Return the findings of a side, which come with the worst first. Those over many traces have no share."""
    found: dict[_Key, FindingGroup] = {}
    for group in side.survey.groups():
        exemplar = group.exemplar
        if side.service in (None, exemplar.service):
            found.setdefault((exemplar.code, exemplar.service, without_numbers(exemplar.query)), group)
    return found
