"""How long a thread has waited for a processor, as Linux counts it.

On a machine that is too busy, or in a container that has used its share of the processor, a thread stands still
although nobody blocks it.
"""

from __future__ import annotations

from pathlib import Path


class RunQueue:
    """The time that one thread has been ready to run, and had no processor. Elsewhere than on Linux, there is none.

    Args:
        thread: The operating system's number of the thread, which is of this process.
    """

    def __init__(self, thread: int) -> None:
        # The kernel's documentation, scheduler/sched-stats.rst: the second number is the time in the run queue.
        self._file = Path(f"/proc/self/task/{thread}/schedstat")

    def waited(self) -> int:
        """Return the nanoseconds that the thread has waited so far; 0 if nobody counts them."""
        try:
            return int(self._file.read_bytes().split()[1])
        except (OSError, ValueError, IndexError):
            return 0
