"""Portions: how much of a batch goes into one request.

A backend may refuse a request for its size. Then requests are halved until the backend takes them, and the size is
remembered for a while. A backend may also refuse a request for the content of one of its spans. Then the refused spans
are halved until the one to blame is found, and all others arrive.

Either search takes about log2(n) refusals among n spans, and ends. A span that is refused alone is lost. A backend that
refuses everything is asked about a few spans, and then once for each batch until it accepts something.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

REMEMBERED_FOR: Final = 120.0
"""Seconds for which a size that was refused is not tried again."""

_MOST_REFUSALS: Final = 100
"""How many refusals of one batch are looked into. After that, a refused request is lost as a whole."""


class Portions:
    """Cuts batches into requests, and learns from refusals. This object belongs to the thread that sends.

    Args:
        most_bytes: How many bytes a request may have before compression.
        remembered_for: Seconds for which a size that was refused is not tried again.
    """

    def __init__(self, most_bytes: int, *, remembered_for: float = REMEMBERED_FOR) -> None:
        self._most_bytes = most_bytes
        self._remembered_for = remembered_for
        self._bearable = most_bytes
        """Bytes of a request that the backend takes, as far as is known."""
        self._forget_at = math.inf
        self._in_vain = 0
        """Refusals since the backend accepted something. Those of batches of one span do not count."""
        self.begin(0, 0.0)

    def begin(self, spans: int, seconds: float) -> None:
        """Begin with a batch of so many spans, and look into refusals for so many seconds."""
        self._is_of_several = spans > 1
        self._most_spans: float = math.inf
        self._suspects = 0
        """How many of the first spans that are left are suspects: the backend refuses at least one of them."""
        self._refused_alone = (math.inf, math.inf)
        self._refusals = 0
        self._has_accepted = False
        self._patience = 2 * spans.bit_length() + 2
        """Refusals in vain that the search for one span is worth."""
        self._give_up_at = time.monotonic() + seconds

    def next(self, records: Sequence[bytes]) -> int:
        """Return how many of `records`, from the first on, make the next request: at least one."""
        if time.monotonic() >= self._forget_at:
            self._bearable, self._forget_at = self._most_bytes, math.inf
        count = len(records)
        if sum(map(len, records)) > self._bearable:
            count = max(bisect_right(list(accumulate(map(len, records))), self._bearable), 1)
        return int(min(count, self._most_spans))

    def admit(self, spans: int, size: int) -> bool:
        """Tell whether a request of so many spans may have this size. If not, the next request has half of them."""
        if spans == 1 or size <= self._most_bytes:
            return True
        self._most_spans = (spans + 1) // 2
        return False

    def is_hopeless(self, spans: int, size: int, packed: int) -> bool:
        """Tell whether this is one span, and no smaller than one of its batch that was refused for its size.

        Nobody knows whether the backend counts compressed bytes. So both sizes must be as large.
        """
        return spans == 1 and size >= self._refused_alone[0] and packed >= self._refused_alone[1]

    def note_accepted(self, spans: int) -> None:
        """Note a request that was accepted."""
        self._has_accepted, self._in_vain = True, 0
        self._suspects = max(self._suspects - spans, 0)
        if self._suspects:
            self._most_spans = (self._suspects + 1) // 2
        elif self._most_spans < math.inf:
            self._most_spans = 2 * spans

    def note_too_large(self, spans: int, size: int, packed: int) -> bool:
        """Note a request that was refused for its size. Return whether a part of it is worth an attempt."""
        self._bearable = min(self._bearable, size // 2)
        self._forget_at = time.monotonic() + self._remembered_for
        self._most_spans = (spans + 1) // 2
        if spans == 1:
            self._refused_alone = min(self._refused_alone, (size, packed))
        return spans > 1

    def note_invalid(self, spans: int) -> bool:
        """Note a request that was refused for its content. Return whether a part of it is worth an attempt."""
        self._refusals += 1
        self._in_vain += self._is_of_several
        is_worth_it = (
            (self._in_vain <= self._patience or self._has_accepted)
            and self._refusals <= _MOST_REFUSALS
            and time.monotonic() < self._give_up_at
        )
        # A span that is refused alone is to blame, and its neighbours are likely to be like it.
        self._most_spans = (spans + 1) // 2 if is_worth_it else math.inf
        self._suspects = spans if is_worth_it and spans > 1 else 0
        return is_worth_it and spans > 1
