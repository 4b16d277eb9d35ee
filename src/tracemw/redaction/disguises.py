"""Texts in which letters of full width, or characters that nobody sees, hide the names of secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracemw.redaction.places import Place

_UNSEEN: Final = "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
_PLAIN: Final = {0xFF01 + offset: 0x21 + offset for offset in range(94)} | dict.fromkeys(map(ord, _UNSEEN))
"""What stands for the forms of full width (U+FF01 to U+FF5E), and for what nobody sees: nothing."""

is_disguised: Final = re.compile(f"[\uff01-\uff5e{_UNSEEN}]").search
"""Tells whether a text has such characters."""


def undisguised(text: str) -> str:
    """Return a text with plain letters, and without what nobody sees."""
    return text.translate(_PLAIN)


def in_disguise(places: Iterable[Place], text: str) -> Iterator[Place]:
    """Yield places of an undisguised text as those of the text itself."""
    seen = [index for index, character in enumerate(text) if character not in _UNSEEN]
    for place in places:
        yield Place(seen[place.start], seen[place.end - 1] + 1, place.kind)
