"""The processes that take turns: each module sets contestants of one kind up."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

Burst = Callable[[int], dict[str, float]]
"""Does so many operations and tells what they came to, by unit."""


def cpu(prepare: Callable[[int], Callable[[], object]]) -> Burst:
    """Return a burst whose sample is this process's CPU time for each operation, its exporting threads included.

    Args:
        prepare: Is given the number of operations and returns what does them; only the latter is on the clock.
    """

    def burst(operations: int) -> dict[str, float]:
        work = prepare(operations)
        gc.collect()
        started = time.process_time()
        work()
        return {"us": (time.process_time() - started) / operations * 1e6}

    return burst
