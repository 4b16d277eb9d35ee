"""The batch that is being sent."""

from __future__ import annotations

from tracemw._export.losses import EXPORTED, UNKNOWN
from tracemw._export.stats import SHUTDOWN


class InFlight:
    """The batch that is being sent, or waits for the next attempt.

    A span leaves the batch, and is counted, in steps with no call among them (see docs/architecture.md). So whoever
    looks sees each span in one place. The worker and a shutdown may both want to settle a batch. The first one does.

    Args:
        counts: Where spans are counted, by what becomes of them.
    """

    batch: list[bytes]
    """The records. Each time that some are settled, this is a new list."""

    under_way: int
    """How many records, from the first on, are in a request that has not been answered."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.batch = []
        self.under_way = 0
        self._counts = counts

    def settle(self, batch: list[bytes], count: int, cause: str, lost: int) -> None:
        """Count the first spans of a batch: `lost` of them by `cause`, the others as exported."""
        counts, exported, rest = self._counts, count - lost, batch[count:]
        # No call from here to the end: the spans leave the batch and are counted together.
        if self.batch is batch:
            counts[EXPORTED] += exported
            counts[cause] += lost
            self.batch = rest
            self.under_way = 0

    def give_up(self) -> None:
        """Count the batch at the end of the process. Spans that are under way may have arrived: they are unknown."""
        while batch := self.batch:
            counts, size, nothing = self._counts, len(batch), list[bytes]()
            # No call from here to the end: the spans leave the batch and are counted together.
            if self.batch is batch:
                counts[UNKNOWN] += self.under_way
                counts[SHUTDOWN] += size - self.under_way
                self.batch = nothing
                self.under_way = 0
