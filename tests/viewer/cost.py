"""What a viewer's process costs: its CPU time and memory, as Linux counts them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .running import Viewer

MEGABYTE = 1_000_000

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="costs are measured by Linux's /proc"
)


@dataclass
class Cost:
    """What a block of code has cost: seconds of CPU time, and the bytes by which memory grew at its most."""

    seconds: float = 0.0
    memory: int = 0


@contextmanager
def cost(viewer: Viewer) -> Iterator[Cost]:
    """Measure the viewer from here to the end of the block."""
    process = Path(f"/proc/{viewer.process.pid}")
    (process / "clear_refs").write_text("5")  # the peak begins anew, see proc(5)
    result, seconds, memory = Cost(), _seconds(process), _memory(process, "VmRSS")
    yield result
    result.seconds = _seconds(process) - seconds
    result.memory = _memory(process, "VmHWM") - memory


def descriptors(viewer: Viewer) -> int:
    """How many descriptors the viewer has open."""
    return len(os.listdir(f"/proc/{viewer.process.pid}/fd"))  # noqa: PTH208  # they come and go


def _seconds(process: Path) -> float:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(process: Path, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", (process / "status").read_text())
    assert found is not None
    return int(found[1]) * 1024
