"""Places in a text: what detectors find, and the text with those places masked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

MASK: Final = "[REDACTED]"
"""What stands in the place of a value that may not leave."""

BEGIN: Final = r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f][0-9A-Fa-f])|(?<=\\[nrt]))"
"""Where a secret may begin, as a pattern: not within a word, but after an escape such as `%3D` or `\\n`."""


class Stretch(NamedTuple):
    """A stretch of a text that looks like a secret."""

    start: int
    end: int
    kind: str
    """What was recognised, such as `card`."""


def merged(places: Iterable[Stretch]) -> list[Stretch]:
    """Return places in their order, those that overlap as one."""
    found: list[Stretch] = []
    for place in sorted(places):
        if found and place.start < found[-1].end:
            if place.end > found[-1].end:
                found[-1] = found[-1]._replace(end=place.end)
        else:
            found.append(place)
    return found
