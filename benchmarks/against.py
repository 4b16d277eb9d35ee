"""Two checkouts of tracemw beside each other: is a row slower here than there?

Both run the benchmarks of this checkout, in processes that differ in their PYTHONPATH alone and take turns as always.
One process may be faster than the next by a few per cent with the same code in it, as its memory happens to lie: the
processes are started anew several times, and each start draws its lot again.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path

from benchmarks.counts import Tool, count
from benchmarks.measure import Contestant, Counts, Row, Sink, Turns

BOUND = 1.03
"""How much slower a row may be here."""

_STARTS = {False: 5, True: 3}
_LEAST_ROUNDS = {False: 5, True: 3}
"""For each start."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a row came to in both checkouts."""

    row: Row
    here: float
    there: float
    slower: float
    """The median of the rounds' ratios: what an operation costs here over what it costs there."""
    interval: tuple[float, float]
    """Where that median lies with a probability of 95 %."""
    counts: tuple[Counts, Counts] | None
    rounds: int
    ratios: Sequence[float]

    @property
    def fewer(self) -> float | None:
        """Instructions here over those there."""
        return self.counts[0].instructions / self.counts[1].instructions if self.counts else None

    @property
    def verdict(self) -> str:
        """`slower` when time or instructions are beyond the bound for sure, `unclear` when time may be."""
        if self.interval[0] > BOUND or (self.fewer or 0) > BOUND:
            return "slower"
        return "unclear" if self.interval[1] > BOUND else "fine"


def compare(
    row: Row, path: Path, sink: Sink, tool: Tool, *, quick: bool, seconds: float, progress: Callable[[str], None]
) -> Comparison:
    """Let this checkout and the one at `path` take turns at a row for about `seconds`."""
    ours = row.contestants[0]
    base = [row.contestants[-1]] if row.base is not None else []
    row = replace(row, contestants=[replace(ours, name="here"), _elsewhere(ours, path), *base])
    burst = row.burst[quick]
    rounds: list[list[float]] = []
    starts = _STARTS[quick] if row.warm_up else 1
    for start in range(starts):
        with ExitStack() as stack:
            turns = [Turns(contestant, row, sink) for contestant in row.contestants]
            for turn in turns:
                stack.callback(turn.close)
            if row.warm_up:
                for turn in turns:
                    turn.sample(burst)
            started, done = time.monotonic(), 0
            least = min(_LEAST_ROUNDS[quick], row.most_rounds)
            while done < least or (done < row.most_rounds and time.monotonic() - started < seconds / starts):
                values = [0.0] * len(turns)
                for index in random.sample(range(len(turns)), len(turns)):
                    values[index] = turns[index].sample(burst)[row.unit]
                rounds.append(values)
                done += 1
                progress(f"{row.name}: start {start + 1}, round {done}")
    return _compared(row, rounds, count(row, sink, tool, ("here", "there"), progress=progress))


def check(path: Path) -> None:
    """Raise a ValueError unless a process that is told to takes tracemw from the checkout at `path`."""
    told = subprocess.run(
        [sys.executable, "-c", "import tracemw; print(tracemw.__file__)"],
        env={**os.environ, **_environment(path)},
        capture_output=True,
        text=True,
    )
    if not Path(told.stdout.strip()).is_relative_to(path.resolve()):
        raise ValueError(f"no checkout of tracemw: {path} {told.stderr}")


def _environment(path: Path) -> dict[str, str]:
    # Stands before the editable installation of this checkout, whose path is appended.
    return {"PYTHONPATH": str(path.resolve() / "src")}


def _elsewhere(ours: Contestant, path: Path) -> Contestant:
    return replace(ours, name="there", env={**ours.env, **_environment(path)})


def _compared(row: Row, rounds: Sequence[Sequence[float]], counts: Mapping[str, Counts]) -> Comparison:
    # Throughput and what is kept of it are the better the higher.
    costs = [[1 / value for value in values] if row.base == "divide" else list(values) for values in rounds]
    if row.base == "subtract":
        costs = [[values[0] - values[-1], values[1] - values[-1]] for values in costs]
    ratios = sorted(values[0] / values[1] for values in costs if values[1] > 0)
    if not ratios:
        raise RuntimeError("the other checkout adds nothing that could be compared with")
    here, there = (
        statistics.median(values[index] - (values[-1] if row.base == "subtract" else 0) for values in rounds)
        for index in (0, 1)
    )
    return Comparison(
        row=row,
        here=here,
        there=there,
        slower=statistics.median(ratios),
        interval=_interval(ratios),
        counts=(counts["here"], counts["there"]) if counts else None,
        rounds=len(rounds),
        ratios=ratios,
    )


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the order statistics between which the median lies with 95 %, whatever the values are distributed like."""
    number = len(values)
    low, beyond = 0, 1 / 2**number
    while (beyond := beyond + comb(number, low + 1) / 2**number) <= 0.025:
        low += 1
    return values[low], values[number - 1 - low]
