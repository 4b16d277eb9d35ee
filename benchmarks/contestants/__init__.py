"""The processes that take turns: each module sets contestants of one kind up."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

Burst = Callable[[int], dict[str, float]]
"""Does so many operations and tells what they came to, by unit."""

Meter = Callable[[Callable[[], object]], dict[str, float]]
"""Does the work that it is given, and tells what the work came to."""


def cpu(prepare: Callable[[int], Callable[[], object]]) -> Burst:
    """Return a burst whose sample is what the meter in use tells, for each operation.

    The meter is CPU time of the whole process, exporting threads included, unless the parent asks for another.

    Args:
        prepare: Is given the number of operations and returns what does them; only the latter is measured.
    """

    def burst(operations: int) -> dict[str, float]:
        work = prepare(operations)
        gc.collect()
        return {unit: total / operations for unit, total in _meter(work).items()}

    return burst


def cpu_time(work: Callable[[], object]) -> dict[str, float]:
    """Measure the CPU time of the process, in microseconds."""
    started = time.process_time()
    work()
    return {"us": (time.process_time() - started) * 1e6}


def calls(work: Callable[[], object]) -> dict[str, float]:
    """Count the Python frames that this thread enters; a coroutine enters its frame each time it goes on."""
    counted = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return {"calls": counted}


def bytecodes(work: Callable[[], object]) -> dict[str, float]:
    """Count the bytecodes that this thread executes."""
    counted = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal counted
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        counted += event == "opcode"
        return count

    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(None)
    return {"bytecodes": counted}


def use(meter: Meter) -> None:
    """Measure with this from now on."""
    global _meter
    _meter = meter


_meter: Meter = cpu_time
