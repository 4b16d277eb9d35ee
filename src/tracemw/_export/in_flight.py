"""The batch that is being sent."""

from __future__ import annotations

from tracemw._export.losses import EXPORTED, UNKNOWN
from tracemw._export.stats import SHUTDOWN


class InFlight:
    """The batch that is being sent, or waits for the next attempt.

    A span leaves the batch, and is counted, in steps with no call among them: whoever looks sees each span in one
    place. The worker and a shutdown may both want to settle a batch; the first one does.

    Args:
        counts: Where spans are counted, by what becomes of them.
    """

    batch: list[bytes]
    """The records; a new list each time that some are settled."""

    under_way: int
    """How many of the batch, the first ones, are in a request that has not been answered."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.batch = []
        self.under_way = 0
        self._counts = counts

    def settle(self, batch: list[bytes], count: int, cause: str, lost: int) -> None:
        """Count the first spans of a batch: `lost` of them by `cause`, the others as exported."""
        counts, exported, rest = self._counts, count - lost, batch[count:]
        if self.batch is batch:  # no call from here on
            counts[EXPORTED] += exported
            counts[cause] += lost
            self.batch = rest
            self.under_way = 0

    def give_up(self) -> None:
        """Count the batch at the end of the process: what is under way may have arrived, whatever comes of it."""
        while batch := self.batch:
            counts, size, nothing = self._counts, len(batch), list[bytes]()
            if self.batch is batch:  # no call from here on
                counts[UNKNOWN] += self.under_way
                counts[SHUTDOWN] += size - self.under_way
                self.batch = nothing
                self.under_way = 0
