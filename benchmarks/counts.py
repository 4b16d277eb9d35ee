"""Calls and instructions an operation: figures that a busy machine does not change.

A contestant does few operations and then many, and the difference is divided: what a burst costs once, its last export
among it, is in neither. Counting runs in processes of its own, with a fixed hash seed.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

from benchmarks.measure import Contestant, Counts, Row, Sink, Turns

_AT_ONCE = 2
_WARM_UP = 128
_ATTACHING = 0.3
"""Seconds that perf is given to find the process's threads."""

Ask = tuple[Turns, Callable[[int], float]]
"""A contestant, and what returns the instructions of so many operations."""


class Tool(Protocol):
    """A way to count instructions."""

    name: str
    """What is counted, and with what."""

    def counted(self, contestant: Contestant, row: Row, sink: Sink) -> AbstractContextManager[Ask]:
        """Start a contestant that is to be counted."""


class Callgrind:
    """The whole process, all threads. Valgrind is told at run time, so that only the work is counted."""

    def __init__(self) -> None:
        version = subprocess.run(["valgrind", "--version"], capture_output=True, text=True).stdout.strip()
        self.name = f"instructions by callgrind ({version})"

    @contextmanager
    def counted(self, contestant: Contestant, row: Row, sink: Sink) -> Iterator[Ask]:
        """Start a contestant under valgrind."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            counter = _Callgrind(Path(folder))
            with closing(Turns(contestant, row, sink, under=counter.under, counting=True)) as turn:
                yield turn, lambda operations: turn.count(operations, counter)


class _Callgrind:
    def __init__(self, folder: Path) -> None:
        self._pipes = f"--vgdb-prefix={folder / 'vgdb'}"
        self._out = folder / "out"
        self._dumps = 0
        self.under = (
            *("valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", self._pipes),
            f"--callgrind-out-file={self._out}",
        )

    def begin(self, pid: int) -> None:
        # Counting stays on from the first work to the last: what a second start counts is wrong.
        self._pid = pid
        self._tell(*(("zero",) if self._dumps else ("instrumentation", "on")))

    def end(self) -> float:
        self._tell("dump")
        self._dumps += 1
        return float(_found(r"^summary: (\d+)", Path(f"{self._out}.{self._dumps}").read_text()))

    def _tell(self, *command: str) -> None:
        subprocess.run(["vgdb", self._pipes, f"--pid={self._pid}", *command], check=True, capture_output=True)


class Perf:
    """The whole process, all threads, by the processor's own counter."""

    name = "instructions by perf stat"
    event = "instructions:u"

    @contextmanager
    def counted(self, contestant: Contestant, row: Row, sink: Sink) -> Iterator[Ask]:
        """Start a contestant."""
        counter = _Perf(self.event)
        with closing(Turns(contestant, row, sink, counting=True)) as turn:
            yield turn, lambda operations: turn.count(operations, counter)

    def works(self) -> bool:
        """Tell whether perf is there, and the processor shows its counter: virtual machines often do not."""
        if shutil.which("perf") is None:
            return False
        told = subprocess.run(["perf", "stat", "-x,", "-e", self.event, "true"], capture_output=True, text=True).stderr
        return re.search(r"^\d", told, re.MULTILINE) is not None


class _Perf:
    def __init__(self, event: str) -> None:
        self._event = event

    def begin(self, pid: int) -> None:
        command = ["perf", "stat", "-x,", "-e", self._event, "-p", str(pid)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        time.sleep(_ATTACHING)

    def end(self) -> float:
        self._process.send_signal(signal.SIGINT)
        return float(_found(r"^([\d.]+),", self._process.communicate()[1]))


class Bytecodes:
    """What the requests' thread executes of Python; what stands in C, and the exporting threads, is not seen."""

    name = "bytecodes by sys.settrace"

    @contextmanager
    def counted(self, contestant: Contestant, row: Row, sink: Sink) -> Iterator[Ask]:
        """Start a contestant."""
        with closing(Turns(contestant, row, sink, counting=True)) as turn:
            yield turn, lambda operations: turn.sample(operations, meter="bytecodes")["bytecodes"] * operations


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"no count in {text[:200]!r}")
    return match[1]


def find_tool() -> tuple[Tool, str]:
    """Return the best tool that this machine has, and what to say of those that it lacks."""
    if shutil.which("valgrind") and shutil.which("vgdb"):
        return Callgrind(), ""
    lacking = "valgrind is not installed (apt-get install valgrind)"
    perf = Perf()
    if perf.works():
        return perf, f"{lacking}: perf counts instructions in its place."
    return Bytecodes(), (
        f"{lacking}, and perf is not installed or cannot count here: bytecodes are counted in place of instructions."
    )


def count(
    row: Row, sink: Sink, tool: Tool, names: Collection[str], *, progress: Callable[[str], None]
) -> Mapping[str, Counts]:
    """Return what an operation of each contestant comes to, less the untraced one's where a row subtracts that.

    Args:
        row: The row, which may be one that cannot be counted.
        sink: Where contestants deliver to.
        tool: What counts.
        names: The contestants to count; the untraced one is counted with them.
        progress: Is told what goes on.
    """
    if row.counted is None:
        return {}
    few, many = row.counted
    progress(f"{row.name}: counting")
    base = row.contestants[-1] if row.base is not None else None
    counted = [contestant for contestant in row.contestants if contestant.name in names or contestant is base]

    def one(contestant: Contestant) -> Counts:
        return _count(contestant, row, sink, tool, few, many)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        counts = {each.name: count for each, count in zip(counted, pool.map(one, counted), strict=True)}
    if base is None:
        return counts
    untraced = counts.pop(base.name)
    return {
        **{
            name: Counts(calls=each.calls - untraced.calls, instructions=each.instructions - untraced.instructions)
            for name, each in counts.items()
        },
        base.name: untraced,
    }


def _count(contestant: Contestant, row: Row, sink: Sink, tool: Tool, few: int, many: int) -> Counts:
    with tool.counted(contestant, row, sink) as (turn, instructions):
        turn.sample(max(_WARM_UP, many))
        calls = [turn.sample(operations, meter="calls")["calls"] * operations for operations in (few, many)]
        counted = [instructions(operations) for operations in (few, many)]
    return Counts(calls=(calls[1] - calls[0]) / (many - few), instructions=(counted[1] - counted[0]) / (many - few))
