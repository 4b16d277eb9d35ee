"""Which values of attributes set the two sides apart."""

from __future__ import annotations

from typing import Final

from tracemw.analysis.comparison.changes import AttributeChange
from tracemw.analysis.comparison.side import Side
from tracemw.analysis.comparison.significance import CHANCE, Chances, corrected, shares_by_chance

_NOTABLE: Final = 0.02
_MOST: Final = 20


def attribute_changes(before: Side, after: Side) -> list[AttributeChange]:
    """Return the values that are more frequent on one side by more than chance, the largest difference first.

    An attribute that has too many values on either side tells single requests apart, and is left out.
    """
    found: list[AttributeChange] = []
    for key in sorted(before.attributes.keys | after.attributes.keys):
        here, there = before.attributes.of(key), after.attributes.of(key)
        if here is None or there is None:
            continue
        for value in sorted(here.keys() | there.keys()):
            shares = here.get(value, 0.0) / before.size.weight, there.get(value, 0.0) / after.size.weight
            is_small = abs(shares[1] - shares[0]) < _NOTABLE
            sizes = before.size.effective, after.size.effective
            chances = Chances(1.0, 1.0) if is_small else shares_by_chance(shares[0], sizes[0], shares[1], sizes[1])
            if chances is not None:
                found.append(
                    AttributeChange(
                        attribute=key,
                        value=value,
                        share_before=shares[0],
                        share_after=shares[1],
                        chance=min(1.0, 2 * min(chances)),
                    )
                )
    sure = [
        change
        for change, chance in zip(found, corrected([change.chance for change in found]), strict=True)
        if chance <= CHANCE
    ]
    sure.sort(key=lambda change: -abs(change.share_after - change.share_before))
    return sure[:_MOST]
