"""Two sides, compared."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from tracemw.analysis.comparison.attribute_changes import attribute_changes
from tracemw.analysis.comparison.changes import Comparison, SideSummary
from tracemw.analysis.comparison.finding_changes import finding_changes
from tracemw.analysis.comparison.group_changes import group_changes
from tracemw.analysis.comparison.route_changes import confidence_of_each, route_changes
from tracemw.analysis.comparison.side import Side
from tracemw.analysis.comparison.whole_traffic import WholeTraffic


class SidesError(ValueError):
    """The two sides cannot be compared."""


def compare(
    before: Side, after: Side, *, whole: WholeTraffic = MappingProxyType({}), notes: Sequence[str] = ()
) -> Comparison:
    """Return what sets two sets of traces apart.

    Args:
        before: One set.
        after: The other.
        whole: Numbers of routes of which a backend has seen more than the traces.
        notes: What a reader must know to trust the numbers.

    Raises:
        SidesError: if a side has no traces that count as traffic, or both sides are the same.
    """
    for side in (before, after):
        if not side.traces:
            raise SidesError(_nothing_in(side))
    shared = len(before.ids & after.ids)
    if shared == len(before.ids) == len(after.ids):
        raise SidesError("both sides have the same traces; name two sets that differ")
    more = []
    if shared:
        more.append(f"{shared} traces are on both sides")
    more += [
        f"{side.kept} traces of {side.name} were kept or of a spike, and do not count as traffic"
        for side in (before, after)
        if side.kept
    ]
    return Comparison(
        before=_summary(before),
        after=_summary(after),
        confidence=confidence_of_each(before, after),
        routes=route_changes(before, after, whole),
        groups=group_changes(before, after),
        findings=finding_changes(before, after),
        attributes=attribute_changes(before, after),
        notes=[*notes, *more],
    )


def _nothing_in(side: Side) -> str:
    if side.kept:
        return (
            f"{side.name} has no sample of the traffic: its {side.kept} traces were kept since they failed or were "
            "slow, or there for a spike; use a longer time, or sample more"
        )
    wanted = " of ".join(filter(None, (side.route, side.service)))
    if wanted:
        return f"{side.name} has no request of {wanted}; see --service and --route"
    return f"{side.name} has no traces; check the query and the time range"


def _summary(side: Side) -> SideSummary:
    versions = side.attributes.versions
    return SideSummary(
        name=side.name,
        traces=side.traces,
        kept=side.kept,
        requests=side.size.weight,
        versions=sorted(versions, key=lambda version: (-versions[version], version)),
    )
